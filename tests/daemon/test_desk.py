import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from lvs_nat.daemon.desk import Desk
from lvs_nat.daemon.loop import Loop
from lvs_nat.errors import ConfigError, LvsNatError, NotRunning, Problem
from lvs_nat.system.control import REQUEST_LIMIT, Control, ask


class Desktop:
    """A desk that echoes and refuses, served here while a client asks from a thread."""

    def __init__(self, path):
        self.path = path

    def while_serving(self, client):
        loop = Loop()
        desk = Desk(Control(self.path), loop, VERBS, {"end": lambda request: {}})
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


def test_nobody_listening_is_not_running(tmp_path):
    with pytest.raises(NotRunning, match="not running"):
        ask(tmp_path / "control", "status")
