"""The operator's wishes are heard, and kept in a file over restarts and boots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.guard import objection
from lvs_nat.core.plan import SetDestination
from lvs_nat.core.pool import Wish
from lvs_nat.core.settings import service_name
from lvs_nat.core.wishes import Wanted, Whom, Wishes, parse, spell, without
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.ledger import Ledger
from lvs_nat.errors import ConfigError, LvsNatError
from lvs_nat.model import WEIGHT_MAX, ServiceName
from lvs_nat.system import files

log = logging.getLogger(__name__)

# A wish for longer would be one without an end, and is refused (seconds).
LONGEST = 10**9
# A clock that is set by more would mislead the next boot (seconds).
STEP = 1.0
WISHES = {"drain": Wish.QUIESCED, "disable": Wish.OUT, "enable": Wish.NOTHING}


class Wishing:
    """The wishes of one director's operator, and the file that keeps them.

    Deadlines are monotonic here and wall time in the file, which outlives a boot.  Within one
    boot a clock that is set moves none of them: the file tells what wall time was ahead.
    """

    def __init__(
        self,
        path: Path,
        director: Director,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot: str | None = None,
    ) -> None:
        self._path = path
        self._ledger = Ledger(path, "a restart would forget this")
        self._director = director
        self._clock = clock
        self._wall = wall
        self._boot = files.boot_id() if boot is None else boot
        self._written: Wishes = {}
        self._ahead = 0.0

    def recall(self) -> None:
        """Take up the wishes that were kept; a file that cannot be used is said."""
        try:
            text, now = files.read_text(self._path), self._wall() - self._clock()
            found, ahead = parse(text, self._boot, now)
        except ConfigError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                log.error("the operator's wishes are lost: %s", error)
            return
        except ValueError as error:
            log.error("the operator's wishes are lost, %s cannot be used: %s", self._path, error)
            return
        if ahead is not None:  # else they are written anew, as of this boot
            self._written, self._ahead = found, ahead
        self._director.cluster = self._director.cluster.wished(found, self._clock())

    def keep(self) -> list[str]:
        """Write the wishes down if they have changed: some end by themselves.

        Returns, where that cannot be, what to warn the operator of.
        """
        try:
            self.write()
        except OSError as error:
            return [self._ledger.complain(error)]
        return []

    def write(self) -> None:
        """Write the wishes down if they have changed; raise OSError where that cannot be."""
        wishes, ahead = self._director.cluster.wishes, self._wall() - self._clock()
        if wishes == self._written and (not wishes or abs(ahead - self._ahead) < STEP):
            return
        self._ledger.write(spell(wishes, ahead, self._boot))
        self._written, self._ahead = wishes, ahead

    def wish(self, request: dict[str, Any]) -> dict[str, Any]:
        """Drain, disable or enable a server; return what becomes of each of its rows.

        Raises LvsNatError where there is no such server, or where too few would be left.  It is
        done even where it cannot be written down: that is a warning.
        """
        wish = WISHES.get(str(request.get("wish")))
        if wish is None:
            raise LvsNatError(f"a wish is one of {', '.join(WISHES)}")
        cluster, now = self._director.cluster, self._clock()
        rows = _rows(cluster, request)
        endpoints = {key.endpoint for key in rows}
        everywhere = (*cluster.members, *cluster.sorries)
        wishes = without(cluster.wishes, endpoints, _service(request), everywhere)
        wanted = _wanted(wish, request, now)
        if wish is not Wish.NOTHING:
            wishes.update(dict.fromkeys((_whom(key, request) for key in rows), wanted))
        if not request.get("force"):
            _guard(cluster, cluster.wished(wishes, now), now)
        times = _times(wanted, now)
        log.info("the operator wants %s %s%s", _subject(request), WORDS[wish], times)
        self._director.wish(wishes)
        warnings = self.keep()
        return {"rows": self.standing(rows), "warnings": warnings}

    def weigh(self, request: dict[str, Any]) -> dict[str, Any]:
        """Set the configured weight of a server in what runs; `save` makes it last."""
        weight = request.get("weight")
        if type(weight) is not int or not 0 <= weight <= WEIGHT_MAX:
            raise LvsNatError(f"{weight} is no weight; write 0 to {WEIGHT_MAX}")
        self._director.reconcile()  # what was edited by hand a moment ago came first
        rows = _weighed(self._director.cluster, request)

        def allowed(before: Cluster, after: Cluster, now: float) -> None:
            if not request.get("force"):
                _guard(before, after, now)
            log.info("the operator gives %s the weight %d", _subject(request), weight)

        self._director.edit(
            tuple(
                SetDestination(
                    key.service, replace(self._director.cluster.meant(key), weight=weight)
                )
                for key in rows
            ),
            allowed,
        )
        return {"rows": self.standing(rows)}

    def connections(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the rows of a server and the connections that the kernel counts for them."""
        self._director.reconcile()
        return {"rows": self.standing(_rows(self._director.cluster, request))}

    def standing(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Return what the kernel holds of *rows* now."""
        director = self._director
        found = []
        for key in rows:
            service = director.actual.services.get(key.service)
            present = service.destinations.get(key.endpoint) if service else None
            counted = director.counters.get(key)
            found.append(
                {
                    "service": str(key.service),
                    "address": str(key.endpoint),
                    "weight": director.cluster.meant(key).weight,
                    "kernel_weight": present.weight if present else None,
                    "active_connections": counted.active if present and counted else 0,
                    "inactive_connections": counted.inactive if present and counted else 0,
                }
            )
        return found


WORDS = {
    Wish.QUIESCED: "drained: no new clients, those it has may finish",
    Wish.OUT: "out of service",
    Wish.NOTHING: "in service",
}


def _rows(cluster: Cluster, request: dict[str, Any]) -> list[Row]:
    """Return the rows of the server that *request* names, with its port or without.

    Those of sorry servers are among them.
    """
    name, service = str(request.get("server")), _service(request)
    if service is not None and service not in cluster.rules.services:
        raise LvsNatError(f"there is no virtual service {service}; see lvs-nat status")
    found = [
        key
        for key in (*cluster.members, *cluster.sorries)
        if name in (str(key.endpoint), str(key.endpoint.address)) and service in (None, key.service)
    ]
    if not found:
        where = f" under {service}" if service else ""
        raise LvsNatError(f"there is no real server {name}{where}; see lvs-nat status")
    return found


def _weighed(cluster: Cluster, request: dict[str, Any]) -> list[Row]:
    """Return those rows of the server that have a weight in the rules."""
    found = _rows(cluster, request)
    rows = [key for key in found if key in cluster.members]
    if not rows:
        raise LvsNatError(
            f"{found[0].endpoint} is a sorry server, which has no weight to set: `lvs-nat disable` "
            "it, or take it out of `sorry` in lvs-nat.conf"
        )
    return rows


def _service(request: dict[str, Any]) -> ServiceName | None:
    if request.get("service") is None:
        return None
    try:
        return service_name(str(request["service"]))
    except ValueError as error:
        raise LvsNatError(f"{error}; write for example 'tcp 172.25.0.10:80'") from error


def _subject(request: dict[str, Any]) -> str:
    service = _service(request)
    return f"{request['server']} under {service}" if service else str(request["server"])


def _wanted(wish: Wish, request: dict[str, Any], now: float) -> Wanted:
    if wish is Wish.NOTHING:
        return Wanted(wish)
    cut, ends = _later(now, request, "cut_after"), _later(now, request, "ends_after")
    if ends is not None and ends <= now:
        raise LvsNatError("--for 0 would end at once: give it a time, or leave it out")
    return Wanted(wish, cut, ends)


def _times(wanted: Wanted, now: float) -> str:
    """Return the times of a wish in words to add."""
    cut, ends = (None if at is None else at - now for at in (wanted.cut, wanted.ends))
    left = "" if cut is None else f"; what is left after {cut:g} s is given up"
    return left if ends is None else f"{left}; in service again after {ends:g} s"


def _whom(key: Row, request: dict[str, Any]) -> Whom:
    return Whom(None if request.get("service") is None else key.service, key.endpoint)


def _later(now: float, request: dict[str, Any], key: str) -> float | None:
    seconds = request.get(key)
    if seconds is None:
        return None
    if type(seconds) not in (int, float) or not 0 <= seconds <= LONGEST:
        raise LvsNatError(f"{key} is a number of seconds from 0 to {LONGEST}")
    return now + float(seconds)


def _guard(before: Cluster, after: Cluster, now: float) -> None:
    if words := objection(before, after, now):
        raise LvsNatError(words)
