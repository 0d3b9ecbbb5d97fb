"""Agents as HAProxy knows them, and some that nobody should listen to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.checks.agent import MOST, Dialogue
from lvs_nat.checks.file import SHARE
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import Agent
from tests.checks.asking import ask, serving
from tests.checks.ports import HOSTS, reserved
from tests.hostile import damaged


def saying(*parts, stays=False):
    """Return the conduct of an agent that says *parts*, and then hangs up, or stays."""

    def conduct(client):
        for part in parts:
            client.sendall(part)
        if stays:
            client.recv(1)

    return conduct


@pytest.mark.parametrize(
    "line, outcome, weight",
    [
        ("up", Outcome.PASS, None),
        ("ready", Outcome.PASS, None),
        ("75%", Outcome.PASS, Weight(0.75)),
        ("0%", Outcome.PASS, Weight(0)),
        ("150%", Outcome.PASS, Weight(1.5)),
        ("up 75%", Outcome.PASS, Weight(0.75)),
        ("75%,UP", Outcome.PASS, Weight(0.75)),
        ("ready\tup,, 100%", Outcome.PASS, Weight(1)),
        ("50% 20%", Outcome.PASS, Weight(0.2)),
        ("down", Outcome.FAIL, None),
        ("fail", Outcome.FAIL, None),
        ("stopped", Outcome.FAIL, None),
        ("Down#no disk, up again at 100%", Outcome.FAIL, None),
        ("down\t75%", Outcome.FAIL, None),
        ("down up", Outcome.PASS, None),
        ("up down", Outcome.FAIL, None),
        ("drain", Outcome.PASS, Weight(0)),
        ("maint", Outcome.PASS, Weight(0)),
        ("maint#new kernel", Outcome.PASS, Weight(0)),
        ("drain 75%", Outcome.PASS, Weight(0)),
        ("drain ready 75%", Outcome.PASS, Weight(0.75)),
        ("maxconn:30", Outcome.PASS, None),
        ("up maxconn:30 50%", Outcome.PASS, Weight(0.5)),
        ("up and well", Outcome.PASS, None),
    ],
)
def test_words_of_haproxys(line, outcome, weight):
    with serving(saying(line.encode() + b"\n")) as endpoint:
        words = f"the agent says {line}".replace("\t", " ")
        assert ask(Agent(), endpoint) == (outcome, words, weight)


@pytest.mark.parametrize(
    "line, words",
    [
        ("", "nothing"),
        ("well", "well"),
        ("75", "75"),
        ("75 %", "75 %"),
        ("-5%", "-5%"),
        ("10001%", "10001%"),
        ("maxconn:many", "maxconn:many"),
        ("#down", "#down"),
        ("HTTP/1.1 400 Bad Request", "HTTP/1.1 400 Bad Request"),
        ("\0\x1b[2J", "??[2J"),
    ],
)
def test_what_is_no_word_of_haproxys_moves_nothing(line, words):
    with serving(saying(line.encode() + b"\r\n")) as endpoint:
        expected = f"the agent says {words}, no word of HAProxy's"
        assert ask(Agent(), endpoint) == (Outcome.UNKNOWN, expected, None)


@pytest.mark.parametrize("host", HOSTS)
def test_a_line_may_come_in_pieces_and_has_not_to_be_the_last(host):
    with serving(saying(b"u", b"p 7", b"5%\r\ndown\n", stays=True), host) as endpoint:
        assert ask(Agent(), endpoint) == (Outcome.PASS, "the agent says up 75%", Weight(0.75))


def test_an_agent_is_told_first_what_it_wants_to_hear():
    def conduct(client):
        client.sendall(b"75%\n" if client.recv(100) == b"state\n" else b"down\n")

    with serving(conduct) as endpoint:
        passed = (Outcome.PASS, "the agent says 75%", Weight(0.75))
        assert ask(Agent(send=b"state\n"), endpoint) == passed


@pytest.mark.parametrize(
    "said, words",
    [(b"", ""), (b"up 1", "up 1"), (b"u" * 100_000, "u" * 160)],
)
def test_a_line_without_end_moves_nothing(said, words):
    with serving(saying(said)) as endpoint:
        expected = f"the agent's line has no end: {words}"
        assert ask(Agent(), endpoint) == (Outcome.UNKNOWN, expected, None)


def test_an_agent_that_only_takes_calls_is_mute():
    with serving(saying(stays=True)) as endpoint:
        mute = (Outcome.MUTE, "connected, but no answer in time", None)
        assert ask(Agent(), endpoint, 0.1) == mute


def test_an_agent_that_is_not_there_refuses():
    with reserved() as endpoint:
        assert ask(Agent(), endpoint) == (Outcome.REFUSED, "connection refused", None)


@pytest.mark.fuzz
@given(
    damaged(b"up ready 75% maxconn:10 #because\n") | st.binary(max_size=MOST),
    st.integers(0, MOST),
)
def test_whatever_an_agent_says_is_an_answer_of_printable_words_the_same_however_it_is_cut(
    said, cut
):
    whole, pieces = Dialogue(b""), Dialogue(b"")
    answer = whole.hear(said + b"\n")
    first = pieces.hear(said[:cut])

    assert answer is not None
    assert answer == (first or pieces.hear(said[cut:] + b"\n"))
    assert answer.words.isprintable()
    assert answer.weight is None or 0 <= answer.weight.value <= SHARE / 100
