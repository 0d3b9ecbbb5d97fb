"""DNS questions, to servers that answer well and to some that answer as nobody should."""

import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lvs_nat.checks import dns as check
from lvs_nat.checks import effort
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Dns
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import LATE, ask, here, sparing
from tests.checks.ports import HOSTS, family, reserved

NAME = "www.Example.org"
ASKED = Dns(NAME, "A")
WANTED = Dns(NAME, "A", "192.0.2.1")
NOERROR = (Outcome.PASS, "answered NOERROR", None)
SILENT = (Outcome.SILENT, LATE, None)


@contextmanager
def answering(*conducts, host="127.1.2.3"):
    """Yield the endpoint of a server of datagrams; each conduct makes one answer to a question."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as server:
        server.bind((host, 0))

        def serve():
            with suppress(OSError):
                while True:
                    query, client = server.recvfrom(65535)
                    if not query:
                        return
                    for conduct in conducts:
                        server.sendto(conduct(query), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield here(server)
        finally:
            with socket.socket(family(host), socket.SOCK_DGRAM) as end:
                end.sendto(b"", server.getsockname())
            thread.join()


@contextmanager
def streaming(conduct, port=0, host="127.1.2.3", stays=True):
    """Yield the endpoint of a server of streams; conduct makes what is sent for a question.

    It hangs up after its answer, unless it *stays*.
    """
    with socket.create_server((host, port), family=family(host)) as server:

        def serve():
            with suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.settimeout(5)
                    length = int.from_bytes(client.recv(2), "big")
                    client.sendall(conduct(client.recv(length)))
                    if stays:
                        client.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield here(server)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(*records, rcode="NOERROR", flags=0):
    """Return a conduct: answering with *records*, such as "A 192.0.2.1"."""

    def conduct(query):
        asked = dns.message.from_wire(query)
        response = dns.message.make_response(asked)
        response.set_rcode(dns.rcode.from_text(rcode))
        response.flags |= flags
        for record in records:
            kind, _, data = record.partition(" ")
            rrset = dns.rrset.from_text(asked.question[0].name, 60, "IN", kind, data)
            response.answer.append(rrset)
        return response.to_wire()

    return conduct


def changed(place, *values):
    """Return a conduct: a good answer with some bytes written over at *place*."""

    def conduct(query):
        whole = bytearray(answer("A 192.0.2.1")(query))
        whole[place : place + len(values)] = bytes(values)
        return bytes(whole)

    return conduct


def other_id(query):
    return bytes((query[0] ^ 1, query[1])) + answer("A 192.0.2.1")(query)[2:]


def no_answer(query):
    return query


def other_letters(query):
    return answer("A 192.0.2.1")(query[:13] + query[13:].swapcase())


def other_question(query):
    message = dns.message.make_query(
        "elsewhere.example.org", "A", id=int.from_bytes(query[:2], "big")
    )
    return answer("A 192.0.2.1")(message.to_wire())


def looping(query):
    """Point the name of the first record at itself (RFC 1035, 4.1.4)."""
    place = len(query)
    return changed(place, 0xC0 | place >> 8, place & 0xFF)(query)


def entangled(most):
    """Return a conduct: up to *most* bytes of names that all point at one of 127 labels."""

    def conduct(query):
        letters = [bytes((1, 97 + number % 26)) for number in range(126)]
        pointer = (0xC000 | len(query)).to_bytes(2, "big")
        records = [b"".join(letters) + b"\0" + struct.pack("!HHIH", 2, 1, 1, 2) + pointer]
        another = struct.pack("!HHIH", 2, 1, 1, 4)
        room = most - len(query) - len(records[0])
        for number in range(room // (4 + len(pointer) + len(another))):
            records.append(pointer + another + letters[number % 26] + pointer)
        head = query[:2] + struct.pack("!BBHHHH", 0x84, 0, 1, len(records), 0, 0)
        return head + query[12:] + b"".join(records)

    return conduct


def curt(rcode):
    """Return a conduct: nothing but a header."""

    def conduct(query):
        return query[:2] + bytes((0x80, rcode)) + bytes(8)

    return conduct


def framed(conduct):
    def stream(query):
        message = conduct(query)
        return len(message).to_bytes(2, "big") + message

    return stream


@pytest.mark.parametrize("host", HOSTS)
def test_an_answer_passes(host):
    with answering(answer(), host=host) as endpoint:
        assert ask(ASKED, endpoint) == NOERROR


@pytest.mark.parametrize("host", HOSTS)
def test_a_closed_port_refuses(host):
    with reserved(host) as endpoint:
        assert ask(ASKED, endpoint) == (Outcome.REFUSED, "connection refused", None)
        tcp = (Outcome.REFUSED, "connection refused", None)
        assert ask(Dns(tcp=True), endpoint) == tcp


def test_silence_is_silence():
    with answering() as endpoint:
        assert ask(ASKED, endpoint, 0.05) == SILENT


@pytest.mark.parametrize(
    "question, conduct, outcome, words",
    [
        (Dns(), answer("SOA a. b. 1 2 3 4 5"), Outcome.PASS, "answered NOERROR"),
        (ASKED, answer(rcode="SERVFAIL"), Outcome.FAIL, "answered SERVFAIL, not NOERROR"),
        (ASKED, answer(rcode="NXDOMAIN"), Outcome.FAIL, "answered NXDOMAIN, not NOERROR"),
        (Dns(NAME, rcode="NXDOMAIN"), answer(rcode="NXDOMAIN"), Outcome.PASS, "answered NXDOMAIN"),
        (Dns(NAME, rcode="NXDOMAIN"), answer(), Outcome.FAIL, "answered NOERROR, not NXDOMAIN"),
        (ASKED, curt(5), Outcome.FAIL, "answered REFUSED, not NOERROR"),
        (ASKED, curt(1), Outcome.FAIL, "answered FORMERR, not NOERROR"),
        (WANTED, answer("A 192.0.2.1"), Outcome.PASS, "answered NOERROR"),
        (
            WANTED, answer("CNAME web.example.org.", "A 192.0.2.9", "A 192.0.2.1"), Outcome.PASS,
            "answered NOERROR",
        ),
        (WANTED, answer("A 192.0.2.9"), Outcome.FAIL, "answered 192.0.2.9, not 192.0.2.1"),
        (WANTED, answer(), Outcome.FAIL, "answered nothing of type A, not 192.0.2.1"),
        (
            Dns(NAME, "MX", "10 mail.example.org"), answer("MX 10 MAIL.example.org."), Outcome.PASS,
            "answered NOERROR",
        ),
        (Dns(NAME, "TXT", '"a b"'), answer('TXT "a b"'), Outcome.PASS, "answered NOERROR"),
        (
            Dns(NAME, "AAAA", "2001:DB8::0"), answer("AAAA 2001:db8::"), Outcome.PASS,
            "answered NOERROR",
        ),
        # Cut short, but what is wanted is in it.
        (ASKED, answer(flags=dns.flags.TC), Outcome.PASS, "answered NOERROR"),
        (
            WANTED, answer(rcode="REFUSED", flags=dns.flags.TC), Outcome.FAIL,
            "answered REFUSED, not NOERROR",
        ),
    ],
)  # fmt: skip
def test_what_an_answer_must_be(question, conduct, outcome, words):
    with answering(conduct) as endpoint:
        assert ask(question, endpoint) == (outcome, words, None)
    with streaming(framed(conduct)) as endpoint:
        assert ask(replace(question, tcp=True), endpoint) == (outcome, words, None)


STRANGE = [
    (other_id, "a message that answers nothing of ours"),
    (no_answer, "a message that answers nothing of ours"),
    (lambda query: query[:11], "a message that answers nothing of ours"),
    (other_question, "the answer to another one"),
    (changed(5, 0), "a message that cannot be read"),
    (other_letters, "one that does not repeat its letters as they were"),
    (looping, "a message that cannot be read"),
    (changed(7, 9), "a message that cannot be read"),
]


@pytest.mark.parametrize("conduct, words", STRANGE)
def test_answers_to_something_else_are_not_listened_to(conduct, words):
    with answering(conduct, answer("A 192.0.2.1")) as endpoint:
        assert ask(WANTED, endpoint) == NOERROR
    with answering(conduct) as endpoint:
        fail = (Outcome.FAIL, f"no answer to the question, but {words}", None)
        assert ask(WANTED, endpoint, 0.1) == fail
    with streaming(framed(conduct)) as endpoint:
        assert ask(replace(WANTED, tcp=True), endpoint) == fail


TOO_SLOW = (Outcome.FAIL, "what it sent takes too long to read", None)


@pytest.mark.parametrize("question", [ASKED, WANTED], ids=["no answer wanted", "one wanted"])
def test_an_answer_that_takes_for_ever_to_read_fails_the_server(question):
    with answering(entangled(4096)) as endpoint, sparing():
        assert ask(question, endpoint) == TOO_SLOW
    with streaming(framed(entangled(65535))) as endpoint, sparing():
        assert ask(replace(question, tcp=True), endpoint) == TOO_SLOW


def test_many_answers_together_take_no_longer_than_one_may():
    torn = [lambda query, cut=cut: entangled(700)(query)[:-cut] for cut in range(1, 11)]
    with answering(*torn) as endpoint, sparing():
        assert ask(ASKED, endpoint) == TOO_SLOW


def test_an_answer_longer_than_was_asked_for_is_not_read():
    with answering(entangled(8000), answer()) as endpoint, sparing():
        assert ask(ASKED, endpoint) == NOERROR
    long = answer(*(f"A 192.0.2.{number}" for number in range(1, 101)))
    with answering(long) as endpoint:
        assert ask(ASKED, endpoint) == NOERROR
    with answering(entangled(8000)) as endpoint, sparing():
        words = "no answer to the question, but one of 7994 bytes, for which nobody has asked"
        assert ask(ASKED, endpoint, 0.1) == (Outcome.FAIL, words, None)


def test_an_answer_that_was_cut_short_is_asked_for_over_tcp():
    with answering(answer(flags=dns.flags.TC)) as endpoint:
        with streaming(framed(answer("A 192.0.2.1")), endpoint.port):
            assert ask(WANTED, endpoint) == NOERROR
        assert ask(WANTED, endpoint) == (Outcome.REFUSED, "connection refused", None)


@pytest.mark.parametrize("cut", [0, 1, 2, 20])
def test_a_stream_that_ends_in_the_middle_fails(cut):
    with streaming(lambda query: framed(answer())(query)[:cut], stays=False) as endpoint:
        torn = (Outcome.FAIL, "the connection or the time ended before its answer was whole", None)
        assert ask(replace(ASKED, tcp=True), endpoint) == torn


@pytest.mark.parametrize(
    "heard, outcome, words",
    [
        (0, Outcome.MUTE, "connected, but no answer in time"),
        (20, Outcome.FAIL, "the connection or the time ended before its answer was whole"),
    ],
)
def test_a_stream_that_stops_fails_and_says_where(heard, outcome, words):
    with streaming(lambda query: framed(answer())(query)[:heard]) as endpoint:
        assert ask(replace(ASKED, tcp=True), endpoint, 0.1) == (outcome, words, None)


@pytest.mark.parametrize(
    "question, words",
    [
        (Dns("a" * 64), "a" * 64 + " SOA"),
        (Dns("a..b"), "a..b SOA"),
        (Dns(type="NONSENSE"), ". NONSENSE"),
        (Dns(rcode="NONSENSE"), ". SOA"),
        (Dns(NAME, "A", "no"), "www.Example.org A no"),
    ],
)
def test_what_cannot_be_asked_is_said_beforehand(question, words):
    with pytest.raises(ValueError, match=re.escape(f"{words} is no question of DNS: ")):
        check.prepare(Target(at("127.0.0.1:53"), Check(question)))


def test_no_two_questions_are_alike():
    plan = check.prepare(Target(at("127.0.0.1:53"), Check(ASKED)))
    asked = {check.shuffled(plan) for _ in range(50)}

    assert len({message[:2] for message in asked}) > 40
    assert len({message[2:] for message in asked}) > 40
    assert {message[2:].lower() for message in asked} == {plan.message[2:].lower()}


@pytest.mark.fuzz
@given(some.binary(max_size=600), some.integers(0, 60))
def test_no_bytes_end_the_prober(noise, place):
    plan = check.prepare(Target(at("127.0.0.1:53"), Check(WANTED)))
    query = check.shuffled(plan)
    received = answer("A 192.0.2.1")(query)[: len(query) + place] + noise
    with effort.patience():
        read = check._read(received, query, effort.Effort(effort.READING))

    assert isinstance(read, str) or check.judged(read, plan).words
