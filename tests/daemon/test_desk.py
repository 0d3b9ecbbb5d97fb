import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.daemon.desk import EACH, EACH_OPERATOR, STRANGERS, Desk, Later
from lvs_nat.daemon.loop import Loop
from lvs_nat.errors import ConfigError, LvsNatError, NotRunning, Problem
from lvs_nat.system.control import REQUEST_LIMIT, Control, Conversation, ask
from tests.hostile import altered, damaged


class Desktop:
    """A desk that echoes and refuses, served here while a client asks from a thread."""

    def __init__(self, path, **people):
        self.path = path
        self.people = people
        self.verbs = {}
        self.operators = {"change": lambda request: {}}

    def while_serving(self, client):
        loop = Loop()
        end = {"end": lambda request: {}}
        verbs = {**VERBS, **self.verbs}
        desk = Desk(Control(self.path), loop, verbs, self.operators, end, **self.people)
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(client, self.path)

            def until_answered():
                if answer.done():
                    loop.stop()
                loop.after("poll", 0.001, until_answered)

            until_answered()
            loop.run()
        desk.close()
        loop.close()
        return answer.result()


def refuse(_request):
    raise ConfigError([Problem("file", 3, "bad")])


VERBS = {
    "echo": lambda request: {"heard": request.get("text")},
    "long": lambda request: {"text": "x" * 3_000_000},
    "refuse": refuse,
}


@pytest.fixture
def desk(tmp_path):
    return Desktop(tmp_path / "control").while_serving


@pytest.fixture
def strangers_desk(tmp_path):
    """A desk to which the user of the test is a stranger."""
    return Desktop(tmp_path / "control", trusted=()).while_serving


@pytest.fixture
def operators_desk(tmp_path):
    """A desk to which the user of the test is an operator, and not trusted."""
    return Desktop(tmp_path / "control", trusted=(), admins=(os.getegid(),)).while_serving


@contextmanager
def idle(path, count):
    """Hold *count* connections that say nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        yield


def say(path, text):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
    return heard


def test_a_verb_is_answered(desk):
    assert desk(lambda path: ask(path, "echo", text="hello")) == {"heard": "hello"}


def test_an_answer_longer_than_the_sockets_buffer_arrives_whole(desk):
    assert len(desk(lambda path: ask(path, "long"))["text"]) == 3_000_000


def test_a_refusal_keeps_its_words_and_its_exit_code(desk):
    with pytest.raises(LvsNatError, match="file:3: bad") as caught:
        desk(lambda path: ask(path, "refuse"))

    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    "request_text, words",
    [
        (b"nonsense\n", "not JSON"),
        (b"[1]\n", "one JSON object with a verb"),
        (b'{"verb": 1}\n', "one JSON object with a verb"),
        (b'{"verb": "fly"}\n', "does not know 'fly'"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 5000 + b"\n", "not JSON"),
        (b"x" * (REQUEST_LIMIT + 10), "longer than 64 KiB"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(desk, request_text, words):
    assert words in json.loads(desk(lambda path: say(path, request_text)))["error"]


def test_a_client_that_says_nothing_gets_nothing_and_the_next_is_served(desk):
    def two(path):
        return say(path, b""), ask(path, "echo")

    assert desk(two) == (b"", {"heard": None})


PEOPLE = {
    "root": ({}, {"echo": 0, "change": 0, "end": 0}),
    "operator": ({"trusted": (), "admins": (os.getegid(),)}, {"echo": 0, "change": 0, "end": 4}),
    "stranger": ({"trusted": (), "admins": (2**31,)}, {"echo": 0, "change": 4, "end": 4}),
}


@pytest.mark.parametrize("who", PEOPLE)
def test_who_may_do_what(tmp_path, who):
    people, codes = PEOPLE[who]

    def each(path):
        return {verb: code(path, verb) for verb in codes}

    def code(path, verb):
        try:
            ask(path, verb)
        except LvsNatError as error:
            return error.exit_code
        return 0

    assert Desktop(tmp_path / "control", **people).while_serving(each) == codes


def test_who_may_not_is_told_who_may(strangers_desk):
    def both(path):
        for verb in ("change", "end"):
            with pytest.raises(LvsNatError) as caught:
                ask(path, verb)
            yield str(caught.value)

    assert strangers_desk(lambda path: list(both(path))) == [
        "only root and the group lvs-admin may change",
        "only root may end",
    ]


@pytest.mark.parametrize(
    "verb, more, command",
    [
        ("wish", {"wish": "drain"}, "drain"),
        ("wish", {"wish": "enable"}, "enable"),
        ("wish", {"wish": ["drain"]}, "wish"),
        ("wish", {"wish": "\033[2J"}, "wish"),
        ("weigh", {}, "weight"),
        ("connections", {}, "drain"),
        ("running", {}, "save"),
        ("judge", {}, "reload"),
        ("reload", {}, "reload"),
    ],
)
def test_who_may_not_is_told_so_of_the_command_that_he_typed(tmp_path, verb, more, command):
    desk = Desktop(tmp_path / "control", trusted=())
    desk.operators = {verb: lambda _: {}}
    with pytest.raises(LvsNatError) as caught:
        desk.while_serving(lambda path: ask(path, verb, **more))

    assert str(caught.value) == f"only root and the group lvs-admin may {command}"


@pytest.mark.parametrize("words", [("answer", "wait"), ("wait", "answer")], ids=str)
def test_an_answer_may_come_later_and_others_are_heard_meanwhile(tmp_path, words):
    later = Later()
    desktop = Desktop(tmp_path / "control")
    desktop.verbs = {"wait": lambda _: later, "answer": lambda _: later.give({"late": 1}) or {}}

    def both(path):
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(ask, path, words[0])
            while words[0] == "wait" and not later.wanted:
                assert ask(path, "echo") == {"heard": None}
            second = threads.submit(ask, path, words[1])
            return {words[0]: first.result(), words[1]: second.result()}

    assert desktop.while_serving(both) == {"wait": {"late": 1}, "answer": {}}


@pytest.mark.parametrize(
    "who, most, verb, answer",
    [
        ("strangers_desk", EACH, "echo", {"heard": None}),
        ("operators_desk", EACH_OPERATOR, "change", {}),
    ],
)
def test_a_user_who_holds_connections_is_kept_out_by_them(request, who, most, verb, answer):
    def crowd(path):
        with idle(path, most - 1):
            heard = ask(path, verb)
        with idle(path, most), pytest.raises(LvsNatError, match="too many ask at once"):
            ask(path, verb)
        return heard

    assert request.getfixturevalue(who)(crowd) == answer


def test_the_trusted_are_heard_however_many_hold_connections(desk):
    def crowd(path):
        with idle(path, 2 * STRANGERS):
            return ask(path, "end")

    assert desk(crowd) == {}


def served(path, answer):
    """Ask a server that gives the bytes *answer*, however little it makes of the request."""
    with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor(1) as thread:
        listening.bind(str(path))
        listening.listen(1)
        asked = thread.submit(ask, path, "status", timeout=0.2)
        with listening.accept()[0] as client:
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            asked.exception()
        return asked.result()


@pytest.mark.parametrize(
    "answer, words",
    [
        (b"", "broke off before its answer was whole"),
        (b'{"rules": "-A -t', "broke off before its answer was whole"),
        (b"\xff\n", "cannot be read: not JSON"),
        (b"[]\n", "not one of this version"),
    ],
)
def test_an_answer_that_is_none_is_said_to_be_none(tmp_path, answer, words):
    with pytest.raises(LvsNatError, match=words):
        served(tmp_path / "control", answer)


def test_a_director_that_never_answers_is_waited_for_no_longer_than_asked(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control"))
        listening.listen(0)
        for _ in range(2):  # the second finds no room in the queue
            with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
                ask(tmp_path / "control", "status", timeout=0.1)


def test_nobody_listening_is_not_running(tmp_path):
    with pytest.raises(NotRunning, match="not running"):
        ask(tmp_path / "control", "status")


ASKED = {"verb": "wish", "server": "192.168.122.10", "wish": "drain", "cut_after": 30.0}


@pytest.mark.fuzz
@given(
    st.lists(
        (altered(ASKED) | damaged(json.dumps(ASKED))).map(
            lambda text: text.encode(errors="surrogatepass")
        )
        | st.binary(max_size=40),
        max_size=4,
    )
)
def test_whatever_comes_in_by_the_socket_is_a_request_or_is_refused(pieces):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conversation = Conversation(ours)
        for piece in [*pieces, b"\n"]:
            theirs.sendall(piece)
            with suppress(ValueError):
                request = conversation.hear()
                assert request is None or isinstance(request["verb"], str)
                if request is not None:
                    return


@pytest.mark.parametrize(
    ("people", "made"), [({}, 6), ({"trusted": ()}, 1)], ids=["ours", "strangers"]
)
def test_an_answer_that_takes_long_is_made_for_strangers_now_and_then_only(tmp_path, people, made):
    calls = []

    def slow(_):
        time.sleep(0.1)  # of which they are told the same for twenty times as long
        calls.append(1)
        return {"made": len(calls)}

    desk = Desktop(tmp_path / "control", **people)
    desk.verbs = {"status": slow}
    told = desk.while_serving(lambda path: [ask(path, "status")["made"] for _ in range(6)])

    assert (len(calls), told[-1]) == (made, made)
