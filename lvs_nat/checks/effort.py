"""What a server says is made sense of in a bounded time of the processor.

Some regular expressions take exponential time for some texts, some libraries minutes for a few
kilobytes, and a server may send just such ones, or many that take half as long.  Python looks
for signals while it works, so a timer can end it; this one runs on the time of our own process
alone, so that a busy machine makes no server fail.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from lvs_nat.errors import LvsNatError

# What one question may cost, in seconds of processor time.  Most take microseconds.
LIMIT = 0.1
# Should the library at work take what ends it for its own error, and go on, it is ended again.
AGAIN = 0.05
# A shorter timer than this would be none.
SHORTEST = 0.001
# For what the time is spent, as TooSlow says it.
SEARCHING = "search for the regular expression"
READING = "read"

T = TypeVar("T")


class TooSlow(LvsNatError):
    """The work was given up, which is for *what*."""

    def __init__(self, what: str) -> None:
        super().__init__(f"what it sent takes too long to {what}")


class Effort:
    """What may still be spent on the answers to one question, for *what*."""

    __slots__ = ("_left", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._left = LIMIT

    def spend(self, work: Callable[..., T], *given: Any) -> T:
        """Return what *work* returns for what it is *given*; raise TooSlow.

        To be called in the main thread, where Python takes signals.
        """
        if self._left <= 0:
            raise TooSlow(self._what)
        over = False

        def give_up(number: int, frame: FrameType | None) -> None:
            nonlocal over
            over = True
            raise TooSlow(self._what)

        began = time.thread_time()
        before = signal.signal(signal.SIGVTALRM, give_up)
        try:
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, max(self._left, SHORTEST), AGAIN)
                made = work(*given)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if not over:
                return made
        except Exception:
            if not over:
                raise
            # It may have been ended on the very way out, before the timer was stopped.
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        finally:
            signal.signal(signal.SIGVTALRM, before)
            self._left -= time.thread_time() - began
        raise TooSlow(self._what)
