"""What the operator has asked of real servers, by name and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lvs_nat.core.pool import Wish
from lvs_nat.model import Endpoint, ServiceName


class Whom(NamedTuple):
    """A real server under one virtual service, or, where service is None, under all."""

    service: ServiceName | None
    endpoint: Endpoint


@dataclass(frozen=True)
class Wanted:
    """One wish.  cut is when the connections that are left are given up, ends when the server
    comes back by itself; both are monotonic seconds, None for never.
    """

    wish: Wish
    cut: float | None = None
    ends: float | None = None

    def at(self, now: float) -> Wish:
        """Return what is wanted now."""
        if self.ends is not None and now >= self.ends:
            return Wish.NOTHING
        return Wish.OUT if self.cut is not None and now >= self.cut else self.wish


Wishes = Mapping[Whom, Wanted]


def wanted(wishes: Wishes, service: ServiceName, endpoint: Endpoint) -> Wanted | None:
    """Return the wish about a row: the one for its service goes before the one for all."""
    return wishes.get(Whom(service, endpoint)) or wishes.get(Whom(None, endpoint))


def lasting(wishes: Wishes, now: float) -> Wishes:
    """Return the wishes that have not ended; the same object where none has."""
    ended = [whom for whom, it in wishes.items() if it.at(now) is Wish.NOTHING]
    return {whom: it for whom, it in wishes.items() if whom not in ended} if ended else wishes
