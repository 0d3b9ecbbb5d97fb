import socket
import ssl
import time

import pytest

from lvs_nat.checks.kind import Answer
from lvs_nat.core import presets
from lvs_nat.core.health import Outcome
from lvs_nat.core.phrasing import conversation
from lvs_nat.core.questions import Expect, Step, Tls, Verb, Verify
from tests.checks.asking import ask, serving, sparing
from tests.checks.certificates import NAME, Authority, inside

LATE = 0.2
DONE = Answer(Outcome.PASS, "conversation complete")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def talk(*words, **more):
    return Expect(conversation(words), **more)


def failed(words):
    return Answer(Outcome.FAIL, words)


def answer(conduct, question, timeout=5.0):
    with serving(conduct) as endpoint:
        return ask(question, endpoint, timeout)


class Lines:
    """A server that greets, and answers each line by its first word; it remembers all."""

    def __init__(self, greeting, replies, stay=False):
        self.greeting = greeting
        self.replies = replies
        self.stay = stay
        self.heard = []

    def __call__(self, client):
        client.sendall(self.greeting)
        with client.makefile("rb") as lines:
            for line in lines:
                self.heard.append(line.rstrip(b"\r\n").decode())
                reply = self.replies.get(line.split()[0], b"500 what?\r\n")
                client.sendall(reply)
                if line.startswith(b"QUIT") and not self.stay:
                    return


WELL = {
    b"EHLO": b"250-mail.example.org\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
    b"STARTTLS": b"220 go ahead\r\n",
    b"AUTH": b"235 welcome\r\n",
    b"QUIT": b"221 bye\r\n",
}
GREETING = b"220 mail.example.org ESMTP\r\n"
SMTP = presets.conversation("smtp")


def test_each_step_is_done_in_turn():
    server = Lines(b"hello\n", {b"a": b"b\n", b"c": b"d\ne\n"})
    steps = ("expect", "^hello", "send", "a\n", "expect", "b", "send", "c\n", "expect", "e")

    assert answer(server, talk(*steps)) == DONE
    assert server.heard == ["a", "c"]


def test_what_has_matched_is_not_found_again():
    steps = ("expect", "ok", "expect", "ok")

    assert answer(lambda client: client.sendall(b"ok, ok"), talk(*steps)) == DONE
    assert answer(lambda client: client.sendall(b"ok"), talk(*steps)) == failed(
        "connection closed before ok"
    )


def test_what_comes_in_pieces_is_put_together():
    def conduct(client):
        for letter in b"220 hello\r\n":
            client.sendall(bytes([letter]))

    assert answer(conduct, talk("expect", r"^220 hello\r\n$")) == DONE


def test_any_bytes_can_be_said_and_expected():
    def conduct(client):
        client.sendall(client.recv(100)[::-1])

    assert answer(conduct, talk("send", r"\x00\xffA\r", "expect", r"^\rA\xff\x00$")) == DONE


def test_a_mail_server_passes_and_is_taken_leave_of():
    server = Lines(GREETING, WELL)

    assert answer(server, SMTP) == (Outcome.PASS, "smtp conversation complete", None)
    assert server.heard == ["EHLO lvs-nat.localdomain", "QUIT"]


@pytest.mark.parametrize(
    "greeting, replies, words",
    [
        (b"554 No mail here\r\n", {}, "expected ^220, got '554 No mail here'"),
        (b"421-Too\r\n421 busy\r\n", {}, "expected ^220, got '421 busy'"),
        (GREETING, {b"EHLO": b"502 what?\r\n"}, "expected ^250, got '502 what?'"),
    ],
)
def test_a_refusal_fails_at_once(greeting, replies, words):
    assert answer(Lines(greeting, replies, stay=True), SMTP, timeout=60.0) == failed(words)


@pytest.mark.parametrize(
    "words, said, verdict",
    [
        ("^220", b"", Answer(Outcome.MUTE, "connected, but no answer in time")),
        ("^220", b"554 no\r\n", failed("time is up before ^220, got '554 no'")),
        ("^220|(?P<fail>^5)", b"554 no\r\n", failed("expected ^220, got '5'")),
        ("(?P<word>2)|(?P<fail>5)", b"5", failed("expected (?P<word>2), got '5'")),
        ("^\\x00", b"\x01\x1b[2J", failed(r"time is up before ^\x00, got '\x01\x1b[2J'")),
    ],
)
def test_what_came_instead_is_said(words, said, verdict):
    def conduct(client):
        client.sendall(said)
        while client.recv(65536):
            pass

    assert answer(conduct, talk("expect", words), LATE) == verdict


@pytest.mark.parametrize(
    "said, words",
    [
        (b"well\n", "conversation complete"),
        (b"more\nwell\n", "conversation complete"),
        (b"more\nill\n", "time is up before ^well, got 'ill'"),
    ],
)
def test_what_is_not_needed_any_more_is_left_out(said, words):
    steps = (
        Step(Verb.EXPECT, rb"^well\n(?P<done>)|^more\n"),
        Step(Verb.SEND, b"what?\n"),
        Step(Verb.EXPECT, rb"^well\n"),
    )

    def conduct(client):
        client.sendall(said)
        while client.recv(65536):
            pass

    assert answer(conduct, Expect(steps), LATE).words == words


def test_a_server_that_falls_silent_later_on_fails():
    server = Lines(b"hello\n", {b"a": b""})
    question = talk("expect", "hello\n", "send", "a\n", "expect", "b")

    assert answer(server, question, LATE) == failed("time is up before b")


@pytest.mark.parametrize("said", [b"220-x\r\n" * 100_000, b"220 " + b"x" * (1 << 22)])
def test_a_greeting_without_end_is_given_up(said):
    verdict = answer(lambda client: client.sendall(said), SMTP)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith("no more is read before ^220, got '220")


@pytest.mark.parametrize("text", ["(a+)+b", "^(a|a)*$"])
def test_an_expression_that_takes_for_ever_fails_the_server(text):
    verdict = answer(lambda client: client.sendall(b"a" * 40 + b"c"), talk("expect", text))

    assert verdict == failed("what it sent takes too long to search for the regular expression")


@pytest.mark.parametrize("text, said", [(r"\w+ ready", b"a" * 5300), (r"(?:\w+ ?)+OK", b"a" * 19)])
@pytest.mark.parametrize("within_tls", [False, True], ids=["plain", "inside TLS"])
def test_all_searches_together_take_no_longer_than_one_may(authority, text, said, within_tls):
    def dripping(client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(said)
        while True:
            client.sendall(b"!")
            time.sleep(0.005)

    steps, conduct = ("expect", text), dripping
    if within_tls:
        steps = ("expect", "ready\n", "tls", *steps)
        context = authority.server(authority.issue())

        def conduct(client):
            client.sendall(b"ready\n")
            inside(context, dripping)(client)

    with sparing():
        verdict = answer(conduct, talk(*steps, tls=Tls() if within_tls else None), 20.0)

    assert verdict == failed("what it sent takes too long to search for the regular expression")


def test_many_small_pieces_are_not_searched_for_ever():
    def conduct(client):
        client.setsockopt(6, 1, 1)  # TCP_NODELAY
        while True:
            client.sendall(b"x")

    verdict = answer(conduct, talk("expect", "^220"), 30.0)

    assert verdict.outcome is Outcome.FAIL


class Upgrading:
    """A server that goes over to TLS when it is told to, and is then *within*."""

    def __init__(self, context, within, greeting=GREETING, ready=b"220 go ahead\r\n"):
        self._outside = Lines(greeting, WELL)
        self._context = context
        self._within = within
        self._ready = ready

    def __call__(self, client):
        client.sendall(self._outside.greeting)
        heard = b""
        while not heard.startswith(b"STARTTLS"):
            heard = client.recv(65536)
            if not heard:
                return
            client.sendall(self._ready if heard.startswith(b"STARTTLS") else WELL[b"EHLO"])
        inside(self._context, self._within)(client)


def within(heard):
    """Return the conduct of a mail server inside TLS, whose greeting was outside."""
    server = Lines(b"", WELL)
    server.heard = heard
    return lambda tls: server(tls)


def upgraded(authority, **more):
    return presets.conversation("smtp", **{"tls": Tls(NAME, Verify.NAME, authority.path), **more})


def test_a_conversation_goes_over_to_tls_and_begins_anew(authority):
    heard = []
    server = Upgrading(authority.server(authority.issue()), within(heard))

    assert answer(server, upgraded(authority, user="me", password="x")).outcome is Outcome.PASS
    assert heard == ["EHLO lvs-nat.localdomain", "AUTH PLAIN AG1lAHg=", "QUIT"]


def test_nothing_is_said_to_a_server_whose_certificate_is_bad(authority):
    heard = []
    server = Upgrading(authority.server(authority.issue("a.example")), within(heard))
    verdict = answer(server, upgraded(authority, user="me", password="x"))

    assert verdict == failed("certificate is for other names: a.example")
    assert heard == []


@pytest.mark.parametrize(
    "ready, words",
    [
        (b"454 not now\r\n", "expected ^220, got '454 not now'"),
        (
            b"220 go ahead\r\n235 welcome\r\n",
            "more than was expected before TLS: '235 welcome'",
        ),
        (b"220 go ahead\r\nx", "more than was expected before TLS: 'x'"),
    ],
)
def test_whoever_speaks_out_of_turn_before_tls_is_not_believed(authority, ready, words):
    """Words from before the handshake may be anybody's (CVE-2011-0411)."""
    server = Upgrading(authority.server(authority.issue()), within([]), ready=ready)

    assert answer(server, upgraded(authority)) == failed(words)


def test_the_rest_of_a_line_may_come_before_tls(authority):
    server = Upgrading(authority.server(authority.issue()), within([]))
    steps = ("expect", "^220 mail", "send", r"STARTTLS\r\n", "expect", "^220", "tls")

    # The greeting's own line is behind "mail" as well.
    steps = (*steps[:2], "expect", r"\n", *steps[2:])
    assert answer(server, talk(*steps, tls=Tls())).outcome is Outcome.PASS


def test_a_handshake_may_be_the_last_that_is_asked(authority):
    server = Upgrading(authority.server(authority.issue()), lambda tls: tls.recv(1))
    steps = ("expect", "\n", "send", r"STARTTLS\r\n", "expect", "\n", "tls", "send", "bye")

    assert answer(server, talk(*steps, tls=Tls())) == DONE


def test_a_conversation_can_begin_inside_tls(authority):
    conduct = inside(authority.server(authority.issue()), Lines(GREETING, WELL))
    made = presets.conversation("smtps", tls=Tls(NAME, Verify.NAME, authority.path))

    assert answer(conduct, made) == (Outcome.PASS, "smtps conversation complete", None)


def test_a_silent_server_inside_tls_is_silent(authority):
    conduct = inside(authority.server(authority.issue()))
    made = presets.conversation("smtps", tls=Tls())

    verdict = answer(conduct, made, LATE)
    assert verdict == (Outcome.MUTE, "connected, but no answer in time", None)


SIP_OK = b"SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
NEWS = {b"AUTHINFO": b"381 go on\r\n", b"QUIT": b"205 bye\r\n"}


def asked_once(answer, heard):
    """Return the conduct of a server that answers one question of many lines."""

    def conduct(client):
        question = b""
        while not question.endswith(b"\r\n\r\n"):
            question += client.recv(65536) or b"\r\n\r\n"
        heard.append(question.splitlines()[0].decode())
        client.sendall(answer)
        client.recv(1)

    return conduct


@pytest.mark.parametrize(
    "name, said, words, question",
    [
        ("sip", SIP_OK, "", "OPTIONS sip:check SIP/2.0"),
        ("sip", b"SIP/2.0 503 Busy\r\n\r\n", "^SIP/2\\.0 200 , got 'SIP/2.0 503 Busy'", ""),
        ("rtsp", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "", "OPTIONS * RTSP/1.0"),
        ("rtsp", b"RTSP/1.0 400 Bad\r\n\r\n", "^RTSP/1\\.0 200 , got 'RTSP/1.0 400 Bad'", ""),
    ],
)
def test_a_media_server_is_asked_what_it_can_do(name, said, words, question):
    heard = []
    verdict = answer(asked_once(said, heard), presets.conversation(name))

    if words:
        assert verdict == failed(f"expected {words}")
    else:
        assert verdict == (Outcome.PASS, f"{name} conversation complete", None)
        assert heard == [question]


@pytest.mark.parametrize(
    "greeting, login, words, heard",
    [
        (b"200 posting allowed\r\n", (), "", ["QUIT"]),
        (b"201 no posting\r\n", (), "", ["QUIT"]),
        (b"400 overloaded\r\n", (), "^20[01], got '400 overloaded'", []),
        (
            b"200 hi\r\n",
            ("me", "x"),
            "^281, got '481 no'",
            ["AUTHINFO USER me", "AUTHINFO PASS x"],
        ),
    ],
)
def test_a_news_server_is_greeted_and_taken_leave_of(greeting, login, words, heard):
    said = []

    def strict(client):
        client.sendall(greeting)
        with client.makefile("rb") as lines:
            for line in lines:
                said.append(line.rstrip(b"\r\n").decode())
                passes = line.startswith(b"AUTHINFO PASS")
                client.sendall(b"481 no\r\n" if passes else NEWS[line.split()[0]])

    verdict = answer(strict, presets.conversation("nntp", *login))

    assert said == heard
    if words:
        assert verdict == failed(f"expected {words}")
    else:
        assert verdict == (Outcome.PASS, "nntp conversation complete", None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_wrong_inside_tls_is_said(authority, version):
    context = authority.server(authority.issue(), maximum_version=version)
    conduct = inside(context, lambda tls: tls.sendall(b"554 no\r\n"))
    made = presets.conversation("smtps", tls=Tls())

    assert answer(conduct, made) == failed("expected ^220, got '554 no'")
