"""What a server says is made sense of in a bounded time of the processor.

Some regular expressions take exponential time for some texts, some libraries minutes for a few
kilobytes, and a server may send just such ones, or many that take half as long.  Python looks
for signals while it works, so a timer can end it.  What counts is the time of our own thread alone,
so that a busy machine makes no server fail.  The timer only has us look at it: a timer of the
kernel's for our own time counts whole ticks, and on a busy machine misses most of them.

Even so fifty servers together could keep all others waiting for seconds.  So a question has but a
moment at first, in which nearly all are answered.  Whoever asks has to ask again where that was
too short, behind the others, and with patience.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

from lvs_nat.errors import LvsNatError

# What one question may cost, in seconds of processor time.  Most take microseconds.
LIMIT = 0.1
# What it may cost without patience.
MOMENT = 0.002
# How often to look, in seconds that pass: others may have had the processor meanwhile.  Should the
# library at work take what ends it for its own error, and go on, it is ended again.
AGAIN = 0.002
# A shorter timer than this would be none.
SHORTEST = 0.001
# For what the time is spent, as TooSlow says it.
SEARCHING = "search for the regular expression"
READING = "read"
# So many bytes, of whatever form, are read within a moment.
SHORT = 1024

T = TypeVar("T")
_patient = ContextVar("patient", default=False)


class TooSlow(LvsNatError):
    """The work was given up, which is for *what*: it is the answer where there was patience."""

    def __init__(self, what: str) -> None:
        super().__init__(f"what it sent takes too long to {what}")


@contextmanager
def patience() -> Iterator[None]:
    """Let questions have their LIMIT inside, not only a MOMENT."""
    before = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(before)


def read(work: Callable[[bytes], T], data: bytes) -> T:
    """Return what *work* makes of *data*; raise TooSlow."""
    return work(data) if len(data) <= SHORT else Effort(READING).spend(work, data)


class Effort:
    """What may still be spent on the answers to one question, for *what*.

    That is a MOMENT in all, and with patience the LIMIT.
    """

    __slots__ = ("_spent", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._spent = 0.0

    def spend(self, work: Callable[..., T], *given: Any) -> T:
        """Return what *work* returns for what it is *given*; raise TooSlow.

        To be called in the main thread, where Python takes signals.
        """
        left = (LIMIT if _patient.get() else MOMENT) - self._spent
        if left <= 0:
            raise TooSlow(self._what)
        over = done = False
        began = time.thread_time()

        def give_up(number: int, frame: FrameType | None) -> None:
            nonlocal over
            if not done and time.thread_time() - began >= left:
                over = True
                raise TooSlow(self._what)

        others = signal.getitimer(signal.ITIMER_REAL)
        before = signal.signal(signal.SIGALRM, give_up)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(left, SHORTEST), AGAIN)
                made = work(*given)
            finally:
                done = True
                signal.setitimer(signal.ITIMER_REAL, *others)
            if not over:
                return made
        except Exception:
            if not over:
                raise
            # It may have been ended on the very way out, before the timer was stopped.
            signal.setitimer(signal.ITIMER_REAL, *others)
        finally:
            signal.signal(signal.SIGALRM, before)
            self._spent += time.thread_time() - began
        raise TooSlow(self._what)
