import select
import socket
import struct
import time
from contextlib import ExitStack, closing

import pytest

from lvs_nat.checks import sockets, stream
from lvs_nat.checks.kind import Answer
from lvs_nat.checks.secure import WHOLE_BUDGET
from lvs_nat.checks.stream import BUDGET, PIECE, PIECES, End, Line
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Http
from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon.engine import Engine
from tests.checks.asking import ask_by, here, serving

DONE = Answer(Outcome.PASS, "done")
LATE = 0.2
RESET = struct.pack("ii", 1, 0)


class Talk:
    """A dialogue that says what it is given, and is done when it has heard *enough* bytes."""

    def __init__(self, outgoing=b"", enough=1, ends=()):
        self.outgoing = outgoing
        self.heard = b""
        self._enough = enough
        self._ends = dict(ends)

    def hear(self, data):
        self.heard += data
        return DONE if len(self.heard) >= self._enough else None

    def end(self, why):
        return self._ends.get(why, Answer(Outcome.FAIL, why.value))


def talk(conduct, dialogue, timeout=5.0, **more):
    """Return the answer of *dialogue* with a server that behaves as *conduct*."""
    with serving(conduct) as endpoint:
        where = sockets.where(Target(endpoint, Check()))
        line = Line(where, lambda: dialogue, **more)
        return ask_by(stream.kind(None), line, timeout)


def test_what_is_said_arrives_whole_and_so_does_what_is_heard():
    heard = bytearray()

    def echo(client):
        while len(heard) < 1 << 22:
            heard.extend(client.recv(65536))
        client.sendall(bytes(heard[:60_000]))

    dialogue = Talk(bytes(range(256)) * (1 << 14), 60_000)

    assert talk(echo, dialogue) == DONE
    assert bytes(heard) == bytes(range(256)) * (1 << 14)
    assert dialogue.heard == bytes(heard[:60_000])


def test_a_server_that_speaks_first_is_heard():
    assert talk(lambda client: client.sendall(b"hello"), Talk()) == DONE


@pytest.mark.parametrize("budget", [BUDGET, 100])
def test_no_more_is_read_than_may_be(budget):
    def flood(client):
        while True:
            client.sendall(bytes(1 << 16))

    dialogue = Talk(enough=1 << 30)

    assert talk(flood, dialogue, budget=budget) == (Outcome.FAIL, "no more is read", None)
    assert len(dialogue.heard) == budget


class Goading(Talk):
    """A dialogue whose server has always said one more piece when one has been heard."""

    def __init__(self, server, enough):
        super().__init__(enough=enough)
        self._server = server

    def hear(self, data):
        heard = super().hear(data)
        if heard is None:
            self._server.sendall(b"x")
        return heard


@pytest.mark.parametrize("pieces", [1, PIECES, 5 * PIECES])
def test_a_server_that_never_stops_talking_leaves_others_their_turn(pieces):
    """It is heard on: what has come since a turn began is told by the next poll."""
    assert PIECES * PIECE > WHOLE_BUDGET
    turns = []
    kind = stream.kind(None)

    def proceed(asking, events):
        turns.append(events)
        return kind.proceed(asking, events)

    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as ends:
        where = sockets.where(Target(here(server), Check()))

        def begin():
            client = ends.enter_context(server.accept()[0])
            client.sendall(b"x")
            return Goading(client, pieces)

        line = Line(where, begin)
        assert ask_by(kind._replace(proceed=proceed), line, 5.0) == DONE

    assert len(turns) >= pieces / PIECES


@pytest.mark.parametrize(
    "answer", [Answer(Outcome.FAIL, "half"), Answer(Outcome.PASS, "enough"), None]
)
def test_the_dialogue_says_what_it_means_that_time_is_up(answer):
    dialogue = Talk(enough=9, ends={End.LATE: answer})
    verdict = talk(lambda client: (client.sendall(b"hello"), client.recv(1)), dialogue, LATE)

    assert verdict == (answer or (Outcome.SILENT, "no answer in time", None))


def reset(client):
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize(
    "ends, answer",
    [
        ({End.BROKEN: None}, (Outcome.FAIL, "connection reset by peer", None)),
        ({End.BROKEN: DONE}, DONE),
    ],
)
def test_the_dialogue_may_say_what_a_reset_means(ends, answer):
    assert talk(reset, Talk(b"x", ends=ends)) == answer


def until_left(client, seen):
    """Note how the client leaves."""
    client.sendall(b"hello")
    try:
        while client.recv(65536):
            pass
        seen.append("closed")
    except ConnectionResetError:
        seen.append("reset")


@pytest.mark.parametrize(
    "enough, seen", [(5, ["closed"]), (6, ["reset"])], ids=["an answer", "no answer"]
)
def test_a_conversation_at_its_end_is_closed_and_one_that_is_given_up_is_reset(enough, seen):
    """A reset lets neither side keep anything of it."""
    left = []
    talk(lambda client: until_left(client, left), Talk(enough=enough), LATE)
    deadline = time.monotonic() + 5.0
    while not left and time.monotonic() < deadline:
        time.sleep(0.005)

    assert left == seen


def test_nothing_is_said_to_a_server_that_refuses():
    begun = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = here(server)
    line = Line(sockets.where(Target(endpoint, Check())), lambda: begun.append(1) or Talk())
    with closing(stream.start(line)) as asking, select.epoll() as poll:
        poll.register(asking.fileno(), asking.events)
        [(_, events)] = poll.poll(5.0)
        assert asking.proceed(events) == (Outcome.REFUSED, "connection refused", None)
    assert begun == []


def test_the_engine_follows_a_question_to_its_next_connection():
    """A redirect is asked for over a new connection, within the same deadline."""
    asked = []

    def conduct(client):
        asked.append(client.recv(65536).split()[1])
        location = f"/{len(asked)}" if len(asked) < 4 else ""
        status = 302 if location else 200
        client.sendall(
            f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    seen = []
    engine = Engine(lambda probe, news: seen.append((probe.outcome, probe.words)), 10)
    with serving(conduct) as endpoint, closing(engine):
        engine.ask([Target(endpoint, Check(Http(redirects=3), timeout=5.0))])
        while not seen:
            engine.turn(5.0)

    assert seen == [(Outcome.PASS, "status 200")]
    assert asked == [b"/", b"/1", b"/2", b"/3"]
