"""A TCP connection carries a dialogue: what a question says and hears, which owns no socket."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Protocol, Union

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target

# The most that is read of one server for one question, in bytes.
BUDGET = 1 << 16
# What one call reads: the longest record of TLS fits, and a common answer is in one piece.
PIECE = 1 << 14
# So many pieces at most a turn hears: a server that never stops talking leaves others theirs.
# They are more than any budget, so what is left then has come since, and is told by the next poll.
PIECES = 16
# Each of the two is told once, when it begins to be so: the poll need never be changed, and
# whoever is told reads, and sends, until the kernel has no more.
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_QUIETLY = socket.MSG_NOSIGNAL
_ERROR, _READABLE, _WRITABLE = select.EPOLLERR, select.EPOLLIN, select.EPOLLOUT


class End(Enum):
    """Why a dialogue hears no more, in words that go on "after ..." or "before ..."."""

    CLOSED = "connection closed"
    FULL = "no more is read"
    LATE = "time is up"
    BROKEN = "connection reset"


class Again(NamedTuple):
    """The question goes on over a new connection, by this dialogue, within the same deadline."""

    dialogue: Dialogue


Heard = Union[Answer, Again, None]
# Of whom nothing has been heard by the deadline but that the connection was taken.
MUTE = Answer(Outcome.MUTE, "connected, but no answer in time")


class Dialogue(Protocol):
    """One side of a conversation: bytes in, bytes out, an answer at the end.

    outgoing is what is to be said next; whoever sends a part of it leaves the rest.  `hear` is
    given whatever comes, and `end` why nothing more will; for LATE and BROKEN that may return
    None, where these mean what they mean for all kinds.
    """

    outgoing: bytes

    def hear(self, data: bytes) -> Heard: ...

    def end(self, why: End) -> Answer | None: ...


class Line(NamedTuple):
    """Whom to connect to, the dialogue to begin once connected, and how much it may hear.

    Where the dialogue speaks *first*, the last packet of the handshake waits for that and goes
    with it.
    """

    where: sockets.Where
    begin: Callable[[], Dialogue]
    budget: int = BUDGET
    first: bool = False


class Stream:
    """A question under way on a TCP connection.

    A conversation that came to its end is closed as any client closes it: the server, which
    as a rule has closed already, logs nothing, and whoever closed first keeps the pair of
    ports for a minute.  One that did not is reset: a server that hangs, or never stops, is
    spared what the connection would still cost it, and the director thousands of orphans.
    """

    __slots__ = ("_answered", "_dialogue", "_left", "_line", "_next", "_socket", "events")

    def __init__(self, line: Line, made: socket.SocketType, following: Dialogue | None) -> None:
        self.events = EVENTS
        self._line = line
        self._socket = made
        self._next = following
        self._dialogue: Dialogue | None = None
        self._left = line.budget
        self._answered = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        if self._dialogue is not None and not self._answered:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockets.ABORT)
        self._socket.close()

    def proceed(self, events: int) -> Answer | Stream | None:
        """Say and hear what can be, and return the answer, or the question that goes on."""
        dialogue = self._dialogue
        if dialogue is None:
            if events & _ERROR:
                number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    return judge(number)
            self._dialogue = dialogue = self._next or self._line.begin()
        if dialogue.outgoing and not self._say(dialogue):
            events |= _READABLE  # why it would not hear may stand in what it said
        if events == _WRITABLE:
            return None
        heard = self._hear(dialogue)
        return start(self._line, heard.dialogue) if isinstance(heard, Again) else heard

    def overdue(self) -> Answer | None:
        """Return what it means that the deadline has passed."""
        return self._dialogue.end(End.LATE) if self._dialogue else None

    def reached(self) -> bool:
        """Say whether the connection was made, so that whoever owes an answer is at work."""
        return self._dialogue is not None

    def _say(self, dialogue: Dialogue) -> bool:
        """Send what there is to say, as far as it goes; return False if nobody listens."""
        try:
            sent = self._socket.send(dialogue.outgoing, _QUIETLY)
        except BlockingIOError:
            return True
        except OSError:
            dialogue.outgoing = b""
            return False
        dialogue.outgoing = dialogue.outgoing[sent:]
        return True

    def _hear(self, dialogue: Dialogue) -> Heard:
        for _ in range(PIECES):
            try:
                data = self._socket.recv(PIECE if self._left > PIECE else self._left)
            except BlockingIOError:
                return None
            except OSError as error:
                return self._broken(dialogue, error.errno or 0)
            if not data:
                self._answered = True
                return dialogue.end(End.CLOSED)
            self._left -= len(data)
            heard = dialogue.hear(data)
            if dialogue.outgoing:
                self._say(dialogue)  # whether or not it listens, there may be more to hear
            if heard is not None:
                self._answered = True
                return heard
            if not self._left:
                return dialogue.end(End.FULL)
        return None

    def _broken(self, dialogue: Dialogue, number: int) -> Answer:
        answer = dialogue.end(End.BROKEN)
        if answer is not None:
            return answer
        outcome, words, _ = judge(number)
        heard = self._line.budget - self._left
        return Answer(outcome, f"{words} after {heard} bytes" if heard else words)


def start(line: Line, following: Dialogue | None = None) -> Stream:
    """Connect, for the dialogue that the line begins or for *following*; raise OSError."""
    where = line.where
    made = sockets.make(where)
    if line.first:
        made.setsockopt(*sockets.LATE_ACK)
    sockets.connect(made, where.place)
    return Stream(line, made, following)


def kind(prepare: Callable[[Target], Any]) -> Kind:
    """Return the kind of check that asks whom *prepare* gives a Line for."""
    said = Stream.overdue, Stream.reached
    return Kind(prepare, start, Stream.proceed, True, *said)
