"""A fault in the code of one check is a verdict of that check alone, and is told once."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from lvs_nat.checks.kind import Answer, unasked
from lvs_nat.core.health import Outcome


def described(error: Exception) -> str:
    """Return what went wrong, and in which line of ours."""
    where = _place(error)
    return f"{type(error).__name__} in {where.name}, line {where.lineno}: {error}"


def _place(error: Exception) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


# Takes words, and says whether they could be told now.
Tell = Callable[[str], bool]


class Mishaps:
    """What went wrong while servers were asked; *tell* is given each fault of ours once.

    A fault is known by its place, not by its words: a server may have a part in those, and is
    not to fill anybody's log.
    """

    def __init__(self, tell: Tell = lambda _: True) -> None:
        self._tell = tell
        self._told: set[tuple[str, int]] = set()

    def answer(self, error: Exception) -> Answer:
        """Return what it means that asking ended in *error*.

        What the system refused may be the server's doing; anything else is a fault of ours,
        which says nothing about the server.
        """
        if isinstance(error, OSError):
            return unasked(error.errno or 0)
        where, words = _place(error), described(error)
        place = (where.filename, where.lineno or 0)
        if place not in self._told and self._tell(f"a check failed, please report it: {words}"):
            self._told.add(place)
        return Answer(Outcome.UNKNOWN, f"a fault of lvs-nat itself: {words}")
