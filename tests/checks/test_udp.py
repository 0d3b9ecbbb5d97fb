import socket
import threading
from contextlib import contextmanager

import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Udp
from lvs_nat.core.setup import Way
from tests.builders import at
from tests.checks.asking import LATE, ask, here
from tests.checks.ports import HOSTS, family, reserved

UNCHECKED = (Outcome.PASS, "nothing refused it: not checked", None)


@contextmanager
def answering(*answers, host="127.1.2.3", elsewhere=False):
    """Yield the endpoint of a server that gives *answers* to one question, and what it heard."""
    with (
        socket.socket(family(host), socket.SOCK_DGRAM) as server,
        socket.socket(family(host), socket.SOCK_DGRAM) as other,
    ):
        server.bind((host, 0))
        server.settimeout(5)
        heard = []

        def serve():
            data, client = server.recvfrom(65535)
            heard.append(data)
            for answer in answers:
                (other if elsewhere else server).sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield here(server), heard
        finally:
            thread.join()


@pytest.mark.parametrize("host", HOSTS)
def test_an_answer_passes_and_the_question_is_what_was_given(host):
    with answering(b"pong", host=host) as (endpoint, heard):
        question = Udp(send=b"pi\x00ng", reply=True)
        assert ask(question, endpoint) == (Outcome.PASS, "answered with 4 bytes", None)

    assert heard == [b"pi\x00ng"]


def test_a_question_may_be_empty_and_so_may_an_answer():
    with answering(b"") as (endpoint, heard):
        assert ask(Udp(reply=True), endpoint) == (Outcome.PASS, "answered with 0 bytes", None)

    assert heard == [b""]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("reply", [False, True])
def test_a_closed_port_refuses_whether_an_answer_is_wanted_or_not(host, reply):
    with reserved(host) as endpoint:  # of TCP
        refused = (Outcome.REFUSED, "connection refused", None)
        assert ask(Udp(send=b"?", reply=reply), endpoint) == refused


@pytest.mark.parametrize(
    "reply, answer",
    [(True, (Outcome.SILENT, LATE, None)), (False, UNCHECKED)],
)
def test_silence_fails_only_where_an_answer_is_wanted(reply, answer):
    with answering() as (endpoint, _):
        assert ask(Udp(send=b"?", reply=reply), endpoint, 0.05) == answer


def test_an_answer_from_elsewhere_is_none():
    with answering(b"pong", elsewhere=True) as (endpoint, _):
        silent = (Outcome.SILENT, LATE, None)
        assert ask(Udp(send=b"?", reply=True), endpoint, 0.1) == silent


@pytest.mark.parametrize(
    "question, answer, outcome, words",
    [
        (Udp(expect=b"\x01\x02"), b"\x01\x02\x03", Outcome.PASS, "answered with 3 bytes"),
        (
            Udp(expect=b"\x01\x02"), b"\x01\x03", Outcome.FAIL,
            "answered with 2 bytes that do not begin as they should: '\\x01\\x03'",
        ),
        (
            Udp(expect=b"\x01\x02"), b"\x01", Outcome.FAIL,
            "answered with 1 bytes that do not begin as they should: '\\x01'",
        ),
        (
            Udp(expect=b"\x01"), b"z" * 20, Outcome.FAIL,
            "answered with 20 bytes that do not begin as they should: 'zzzzzzzzzzzzzzzz'...",
        ),
        (
            Udp(expect=b"\x01\x80", mask=b"\xff\x80"), b"\x01\xff", Outcome.PASS,
            "answered with 2 bytes",
        ),
        (
            Udp(expect=b"\x01\x80", mask=b"\xff\x80"), b"\x01\x7f", Outcome.FAIL,
            "answered with 2 bytes that do not begin as they should: '\\x01\\x7f'",
        ),
        (Udp(least=20), b"no", Outcome.FAIL, "answered with 2 bytes, fewer than 20"),
        (Udp(least=2), b"ok", Outcome.PASS, "answered with 2 bytes"),
        (Udp(most=2), b"long", Outcome.FAIL, "answered with 4 bytes, more than 2"),
        (Udp(most=60000), bytes(60001), Outcome.FAIL, "answered with 60001 bytes, more than 60000"),
        (Udp(reply=False, most=4), b"long", Outcome.PASS, "answered with 4 bytes"),
        (Udp(reply=False, most=3), b"long", Outcome.FAIL, "answered with 4 bytes, more than 3"),
    ],
)  # fmt: skip
def test_what_an_answer_must_be(question, answer, outcome, words):
    with answering(answer) as (endpoint, _):
        assert ask(question, endpoint) == (outcome, words, None)


def test_a_source_address_that_is_not_ours_is_not_the_servers_fault():
    way = Way(source=at("192.0.2.1:1").address)
    with answering() as (endpoint, _):
        answer = ask(Udp(send=b"?", reply=True), endpoint, way=way)
        ask(Udp(), endpoint, 0.01)

    words = "this director could not ask: cannot assign requested address"
    assert answer == (Outcome.UNKNOWN, words, None)
