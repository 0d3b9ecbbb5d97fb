"""RADIUS requests and answers: those of the RFCs, and those that nobody should believe."""

import re
import socket
import threading
from contextlib import contextmanager, suppress
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lvs_nat.checks import radius
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Radius
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import LATE, ask, here
from tests.checks.ports import HOSTS, family, reserved

SECRET = "xyzzy5461"  # of all examples in the RFCs
ASKED = Radius(SECRET)
LOGIN = Radius(SECRET, "nemo:arctangent")
ACCEPTED = (Outcome.PASS, "answered Access-Accept", None)


@contextmanager
def answering(*conducts, host="127.1.2.3"):
    """Yield the endpoint of a server, and what it hears; each conduct answers each request."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        heard = []

        def serve():
            with suppress(OSError):
                while True:
                    message, client = server.recvfrom(65535)
                    if not message:
                        return
                    heard.append(message)
                    for conduct in conducts:
                        server.sendto(conduct(message), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield here(server), heard
        finally:
            with socket.socket(family(host), socket.SOCK_DGRAM) as end:
                end.sendto(b"", server.getsockname())
            thread.join()


def code(number, attributes=b"", secret=SECRET, **changed):
    """Return a conduct: an answer with *number*, made with the secret."""

    def conduct(request):
        identifier = changed.get("identifier", request[1])
        length = changed.get("length", 20 + len(attributes))
        head = bytes((number, identifier)) + length.to_bytes(2, "big")
        authenticator = md5(head + request[4:20] + attributes + secret.encode()).digest()
        return head + authenticator + attributes

    return conduct


def signed(number, key=SECRET):
    """Return a conduct: an answer with a signature of its own, made with *key*."""

    def conduct(request):
        head = bytes((number, request[1])) + (40).to_bytes(2, "big") + request[4:20]
        message = radius.attribute(18, b"")
        unsigned = head + message + radius.attribute(80, bytes(16))
        attributes = message + radius.attribute(80, radius.signature(key.encode(), unsigned))
        return code(number, attributes)(request)

    return conduct


def test_the_request_of_rfc_5997_is_signed_as_there():
    request = bytes.fromhex(
        "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3"
    )
    unsigned = request[:22] + bytes(16)

    assert radius.signature(SECRET.encode(), unsigned) == request[22:]


def test_the_password_of_rfc_2865_is_hidden_as_there():
    authenticator = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    hidden = radius.hide(b"arctangent", SECRET.encode(), authenticator)

    assert hidden.hex() == "0dbe708d93d413ce3196e43f782a0aee"


@pytest.mark.parametrize(
    "plan, asked, answer",
    [
        (
            radius.Plan(None, SECRET.encode()),
            "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3",
            "02da0014ef0d552a4bf2d693ec2b6fe8b5411d66",
        ),
        (
            radius.Plan(None, SECRET.encode(), b"nemo", b"arctangent"),
            "010000380f403f9473978057bd83d5cb98f4227a",
            "0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103",
        ),
    ],
)
def test_the_answers_of_the_rfcs_are_believed(plan, asked, answer):
    assert radius._read(plan, bytes.fromhex(asked), bytes.fromhex(answer)) == ACCEPTED


@pytest.mark.parametrize("host", HOSTS)
def test_a_server_that_is_well_passes(host):
    with answering(code(2), host=host) as (endpoint, heard):
        assert ask(ASKED, endpoint) == ACCEPTED

    (request,) = heard
    signature = request[22:38]
    assert (request[0], len(request), request[20:22]) == (12, 47, b"\x50\x12")
    assert request[38:] == b"\x20\x09lvs-nat"
    unsigned = request[:22] + bytes(16) + request[38:]
    assert radius.signature(SECRET.encode(), unsigned) == signature


def test_a_login_is_sent_hidden_and_must_be_accepted():
    with answering(code(2)) as (endpoint, heard):
        assert ask(LOGIN, endpoint) == ACCEPTED

    (request,) = heard
    hidden = radius.hide(b"arctangent", SECRET.encode(), request[4:20])
    assert request[0] == 1
    assert request[38:] == b"\x20\x09lvs-nat\x01\x06nemo\x02\x12" + hidden


@pytest.mark.parametrize(
    "question, number, outcome, words",
    [
        (ASKED, 2, Outcome.PASS, "answered Access-Accept"),
        (ASKED, 5, Outcome.PASS, "answered Accounting-Response"),
        (ASKED, 3, Outcome.FAIL, "answered Access-Reject"),
        (ASKED, 99, Outcome.FAIL, "answered with code 99"),
        (LOGIN, 3, Outcome.FAIL, "answered Access-Reject"),
        (LOGIN, 5, Outcome.FAIL, "answered Accounting-Response"),
        (LOGIN, 11, Outcome.FAIL, "answered Access-Challenge"),
    ],
)
def test_what_a_code_means(question, number, outcome, words):
    with answering(code(number)) as (endpoint, _):
        assert ask(question, endpoint) == (outcome, words, None)


def test_an_answer_may_be_signed_twice_and_padded():
    with answering(lambda request: signed(2)(request) + b"padding") as (endpoint, _):
        assert ask(ASKED, endpoint) == ACCEPTED


def another(request):
    return code(2, identifier=request[1] ^ 1)(request)


@pytest.mark.parametrize(
    "conduct, words",
    [
        (lambda request: request[:19], "a message that answers nothing of ours"),
        (another, "a message that answers nothing of ours"),
        (code(2, secret="guessed"), "one that was not made with the secret"),
        (lambda request: request, "one that was not made with the secret"),
        (code(2, length=21), "a message that is cut short"),
        (code(2, length=19), "a message that is cut short"),
        (signed(2, "guessed"), "one that was not signed with the secret"),
        (code(2, b"\x12"), "a message that cannot be read"),
        (code(2, b"\x12\x01"), "a message that cannot be read"),
        (code(2, b"\x12\x00"), "a message that cannot be read"),
        (code(2, b"\x12\x05ab"), "a message that cannot be read"),
    ],
)  # fmt: skip
def test_what_the_server_cannot_have_said_is_not_listened_to(conduct, words):
    with answering(conduct, code(2)) as (endpoint, _):
        assert ask(ASKED, endpoint) == ACCEPTED
    with answering(conduct) as (endpoint, _):
        fail = (Outcome.FAIL, f"no answer to the question, but {words}", None)
        assert ask(ASKED, endpoint, 0.1) == fail


def test_silence_and_refusal_are_what_they_are():
    with answering() as (endpoint, _):
        assert ask(ASKED, endpoint, 0.05) == (Outcome.SILENT, LATE, None)
    with reserved() as endpoint:
        assert ask(ASKED, endpoint) == (Outcome.REFUSED, "connection refused", None)


@pytest.mark.parametrize("login", ["u" * 254 + ":p", "u:" + "p" * 129])
def test_a_login_that_has_no_room_is_said_beforehand(login):
    words = "RADIUS has no room for a user of 254 bytes or a password of 129"
    with pytest.raises(ValueError, match=re.escape(words)):
        radius.prepare(Target(at("127.0.0.1:1812"), Check(Radius(SECRET, login))))


@pytest.mark.parametrize("length, hidden", [(0, 16), (1, 16), (16, 16), (17, 32), (128, 128)])
def test_a_password_is_padded_to_whole_blocks(length, hidden):
    assert len(radius.hide(b"p" * length, b"secret", bytes(16))) == hidden


@pytest.mark.fuzz
@given(some.binary(max_size=100))
def test_no_bytes_end_the_prober(noise):
    plan = radius.Plan(None, SECRET.encode())
    asked = radius.request(plan, 7, bytes(range(16)))
    for received in (noise, b"\x02\x07" + noise, code(2, noise)(asked)):
        assert radius._read(plan, asked, received)
