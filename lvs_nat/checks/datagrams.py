"""A datagram is sent, and the one that answers it is picked out of whatever comes."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target

LONGEST = 65535  # no datagram is longer

# Is called with a datagram: returns the answer, or the question that goes on, or, in words,
# what it is that answers something else.
Read = Callable[[bytes], Any]


class Datagrams:
    """A question over UDP.  Answers to something else change nothing before the deadline.

    silence is the answer where none at all has come, None where that is what it is for all
    kinds.
    """

    __slots__ = ("_read", "_silence", "_socket", "_strange")
    events = select.EPOLLIN

    def __init__(
        self, towards: sockets.Where, message: bytes, read: Read, silence: Answer | None = None
    ) -> None:
        self._socket = sockets.datagram(towards, message)
        self._read = read
        self._silence = silence
        self._strange = ""

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def proceed(self, events: int) -> Any:
        """Return the answer, or the question that goes on in place of this one."""
        try:
            read = self._read(self._socket.recv(LONGEST))
        except BlockingIOError:
            return None  # a datagram whose checksum was wrong
        except OSError as error:
            return judge(error.errno or 0)
        if not isinstance(read, str):
            return read
        self._strange = read
        return None

    def reached(self) -> bool:
        """Take the machine to have answered: where nothing comes, nothing tells."""
        return True

    def overdue(self) -> Answer | None:
        """Return what silence means, or what is to be said of answers that were none."""
        return unanswered(self._strange) if self._strange else self._silence


def kind(prepare: Callable[[Target], Any], start: Callable[[Any], Any]) -> Kind:
    """Return the kind of check whose *start* sends the datagram that *prepare* makes ready."""
    said = Datagrams.overdue, Datagrams.reached
    return Kind(prepare, start, Datagrams.proceed, True, *said)


def unanswered(what: str) -> Answer:
    """Return the answer where nothing but *what* has come."""
    return Answer(Outcome.FAIL, f"no answer to the question, but {what}")
