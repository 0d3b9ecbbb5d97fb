"""Rescue is switched for each real server as the kernel's table allows it."""

from __future__ import annotations

import logging
from contextlib import suppress
from operator import is_
from pathlib import Path

from lvs_nat.core.rescue import rescued
from lvs_nat.core.setup import Setup
from lvs_nat.core.sysctls import EXPIRE
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.loop import Loop
from lvs_nat.errors import LvsNatError
from lvs_nat.model import Endpoint
from lvs_nat.system.child import SECONDS
from lvs_nat.system.rescue import Rescue

log = logging.getLogger(__name__)

# What has failed is tried again after so long, in seconds.
AGAIN = 5.0
NOBODY: frozenset[Endpoint] = frozenset()


def prepared(setup: Setup, record: Path) -> Rescue | None:
    """Make the rules, with the privileges of a start, if a service wants rescue.

    Otherwise those are removed that a crashed director has left.
    """
    rescue = Rescue(record)
    try:
        if wanted(setup):
            log.info("refusals can be kept from clients, by %s", rescue.set_up())
            return rescue
        if rescue.remove():
            log.info("rules that kept refusals from clients are removed: nobody asks for them now")
    except (LvsNatError, OSError) as error:
        log.warning("rescue cannot be had: %s; install nftables, or iptables and ipset", error)
    return None


def adopted(record: Path) -> Rescue | None:
    """Return the rules that the image of this process before us has made, if it has made any."""
    rescue = Rescue(record)
    try:
        return rescue if rescue.adopt() else None
    except (LvsNatError, OSError) as error:
        log.warning("rescue ends: %s", error)
        return None


def withdrawn(rescue: Rescue) -> None:
    """Take the rules away again, as far as that can be without the privileges of a start."""
    with suppress(LvsNatError, OSError):  # they do nothing; the next start or stop removes them
        rescue.remove()


def wanted(setup: Setup) -> bool:
    """Say whether any service wants rescue."""
    return any(it.rescue for it in (setup.default, *setup.services.values()))


class Rescuing:
    """Keeps rescue switched on for the servers that the table allows it for, beside the loop."""

    def __init__(
        self,
        rescue: Rescue | None,
        loop: Loop,
        director: Director,
        root: Path = Path("/proc/sys"),
    ) -> None:
        self._rescue = rescue
        self._loop = loop
        self._director = director
        self._expire = root / EXPIRE
        self._seen: list[object] = []
        self._wanted = NOBODY
        self._said = ""

    def follow(self) -> None:
        """Switch rescue on and off as the table has changed."""
        cluster, services = self._director.cluster, self._director.actual.services
        seen = [cluster.members, cluster.setup, cluster.departures, *services.values()]
        if len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return
        self._seen = seen
        found = rescued(cluster, services)
        if found and not self._rescue:
            self._say("rescue = yes needs root: it begins with the next restart")
        elif found and not self._retried():
            self._say("nobody is rescued: that needs net.ipv4.vs.expire_nodest_conn = 1")
            found = NOBODY
        self._wanted = found
        self._begin()

    def _begin(self) -> None:
        if not self._rescue:
            return
        try:
            begun = self._rescue.begin(self._wanted)
        except (LvsNatError, OSError) as error:
            self._fail(str(error))
            return
        if begun:
            self._loop.watch(self._rescue.fileno(), self._hear)
            self._loop.after("rescue", SECONDS, self._give_up)

    def _hear(self) -> None:
        assert self._rescue
        fd = self._rescue.fileno()
        try:
            ended = self._rescue.ended()
        except LvsNatError as error:
            self._loop.unwatch(fd)
            self._fail(str(error))
            return
        if ended:
            self._loop.unwatch(fd)
            self._loop.forget("rescue")
            self._begin()  # more may have changed meanwhile

    def _give_up(self) -> None:
        assert self._rescue
        self._loop.unwatch(self._rescue.fileno())
        self._rescue.give_up()
        self._fail(f"no end within {SECONDS:g} s")

    def _fail(self, words: str) -> None:
        self._say(f"rescue cannot be switched: {words}")
        self._loop.after("rescue", AGAIN, self._begin)

    def _say(self, words: str) -> None:
        if words != self._said:
            log.error("%s", words)
        self._said = words

    def _retried(self) -> bool:
        """Whether the kernel lets a client that tries again go to another server."""
        try:
            return self._expire.read_text().strip() == "1"
        except OSError:
            return False
