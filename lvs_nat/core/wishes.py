"""What the operator has asked of real servers, by name and until when.

In the file that keeps wishes their times are wall time, which outlives a boot; elsewhere they are
monotonic.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lvs_nat.core.pool import Wish
from lvs_nat.core.settings import service_name
from lvs_nat.model import Endpoint, ServiceName


class Whom(NamedTuple):
    """A real server under one virtual service, or, where service is None, under all."""

    service: ServiceName | None
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.endpoint} under {self.service}" if self.service else str(self.endpoint)


@dataclass(frozen=True)
class Wanted:
    """One wish.

    cut is when the connections that are left are given up, ends when the server comes back by
    itself; both are monotonic seconds, None for never.
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


def come_due(wishes: Wishes, since: float | None, now: float) -> list[tuple[Whom, Wanted]]:
    """Return the wishes that have ended, and those whose cut has come after *since*, if given."""
    return [
        (whom, it)
        for whom, it in wishes.items()
        for present in (it.at(now),)
        if present is Wish.NOTHING or (since is not None and it.at(since) is not present)
    ]


def without(
    wishes: Wishes,
    endpoints: Collection[Endpoint],
    service: ServiceName | None,
    rows: Iterable[tuple[ServiceName, Endpoint]],
) -> dict[Whom, Wanted]:
    """Return *wishes* without those about *endpoints* under *service*, None for under all.

    A wish for a server under all services holds on under the others, of which *rows* tells.
    """
    left = {
        whom: it
        for whom, it in wishes.items()
        if whom.endpoint not in endpoints or (service and whom.service not in (None, service))
    }
    for other, endpoint in rows if service else ():
        for_all = wishes.get(Whom(None, endpoint))
        if for_all and endpoint in endpoints and other != service:
            left.setdefault(Whom(other, endpoint), for_all)
    return left


def spell(wishes: Wishes, ahead: float, boot: str) -> str:
    """Return *wishes* as text; wall time is *ahead* of the monotonic time of *boot*."""
    entries = [
        {
            "service": str(whom.service) if whom.service else None,
            "server": str(whom.endpoint),
            "wish": it.wish.value,
            "cut": None if it.cut is None else it.cut + ahead,
            "ends": None if it.ends is None else it.ends + ahead,
        }
        for whom, it in wishes.items()
    ]
    told = {"format": 1, "boot": boot, "ahead": ahead, "wishes": entries}
    return json.dumps(told, indent=1) + "\n"


def parse(text: str, boot: str, ahead: float) -> tuple[Wishes, float | None]:
    """Return the wishes in *text*, and by how much wall time was ahead when they were written.

    That is None where they are not known to be of *boot*: then *ahead*, as it is now, is taken
    for it.  Raises ValueError for anything that `spell` did not make.
    """
    try:
        data: Any = json.loads(text)
        if data["format"] != 1:
            raise ValueError(f"it has format {data['format']!r}")
        was = float(data["ahead"]) if boot and data.get("boot") == boot else None
        ahead = ahead if was is None else was
        return dict(_wish(entry, ahead) for entry in data["wishes"]), was
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a file of wishes: {error}") from error


def _wish(entry: Any, ahead: float) -> tuple[Whom, Wanted]:
    service = None if entry["service"] is None else service_name(entry["service"])
    cut, ends = (
        None if entry[key] is None else float(entry[key]) - ahead for key in ("cut", "ends")
    )
    return Whom(service, Endpoint.parse(entry["server"])), Wanted(Wish(entry["wish"]), cut, ends)
