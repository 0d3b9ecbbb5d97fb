"""An operator's regular expression is searched for in what a server says, for a bounded time.

Some expressions take exponential time for some texts, and a server may send just such a text.
Python's `re` looks for signals while it searches, so a timer can end it; this one runs on the
time of our own process alone, so that a busy machine makes no server fail.
"""

from __future__ import annotations

import re
import signal
from types import FrameType

from lvs_nat.errors import LvsNatError

# How long one search may take, in seconds of processor time.  Most take microseconds.
LIMIT = 0.1


class TooSlow(LvsNatError):
    """The search was given up."""

    def __init__(self) -> None:
        super().__init__("what it sent takes too long to search for the regular expression")


def search(pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes] | None:
    """Return where *pattern* is found in *data*, if it is; raise TooSlow.

    To be called in the main thread, where Python takes signals.
    """
    before = signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        return pattern.search(data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _give_up(number: int, frame: FrameType | None) -> None:
    raise TooSlow
