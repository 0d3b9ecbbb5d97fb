"""What clients' traffic shows makes the check come at once: it takes nobody out by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from lvs_nat.core.setup import Setup, Target, Watch
from lvs_nat.core.suspicion import Flows, awaited, busy, in_turn, suspects, whom
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.loop import Loop
from lvs_nat.model import Endpoint
from lvs_nat.system.watcher import Watcher

log = logging.getLogger(__name__)

# A server that does not serve is not reported again for so many seconds, or until it serves.
HUSH = 10.0
# Between two looks at the connections, in seconds, while some come and no packets are seen.
EAGER = 0.05
# As many are asked at one look as cost a prober little; where more get clients at once, the
# checks find the dead ones as soon.
MOST = 128
# After a flood of reports nothing more is read for so long.
REST = 0.02


def opened(setup: Setup) -> Watcher | None:
    """Return a watcher, where one is wanted and may be had: with the privileges of a start."""
    if setup.watch is not Watch.AUTO:
        return None
    try:
        watcher = Watcher.opened()
    except OSError as error:
        log.warning("clients' packets cannot be seen: %s; watching connections", error.strerror)
        return None
    if watcher.lacking:
        log.warning("only refusals are seen of clients' packets: %s", watcher.lacking)
    return watcher


class Watching:
    """Turns what is seen into orders to the prober.

    Packets are seen by *watcher*, if there is one; unless it sees all of them, connections are
    looked at too.
    """

    def __init__(
        self,
        watcher: Watcher | None,
        loop: Loop,
        director: Director,
        link: Link,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watcher = watcher
        self._loop = loop
        self._director = director
        self._link = link
        self._clock = clock
        self._known: object = None
        self._whom: Mapping[Endpoint, tuple[Target, ...]] = {}
        self._hushed: set[Endpoint] = set()
        self._flows: Flows = {}
        self._turn = 0
        self._listen()

    def follow(self) -> None:
        """Watch the servers of the rules that run, and nobody else."""
        cluster = self._director.cluster
        if cluster.members is self._known:
            return
        self._known = cluster.members
        self._whom = whom(cluster) if cluster.setup.watch is not Watch.NO else {}
        self._hushed &= self._whom.keys()
        if self._watcher:
            left_out = self._watcher.watch(self._whom.keys())
            if left_out:
                log.warning("no room to watch the packets of %d real servers", len(left_out))

    def look(self) -> bool:
        """Take a look at connections, where that is needed; return whether to look again soon."""
        for endpoint in [it for it in self._hushed if self._serving(it)]:
            self._hushed.discard(endpoint)
            if self._watcher:
                self._watcher.hush(endpoint, 0.0)
        if not self._whom or (self._watcher and not self._watcher.lacking):
            return False
        before, self._flows = self._flows, self._director.flows()
        rows = suspects(before, self._flows)
        found = [row.endpoint for row in rows if row.endpoint in self._whom]
        self._turn += 1
        self._suspect(in_turn(found, self._turn, MOST))
        return busy(before, self._flows)

    @property
    def waiting(self) -> bool:
        """Whether a failed server may be given up in a moment, for nothing is heard of it."""
        return any(self.silent_since(it) is not None for it in awaited(self._director.cluster))

    def silent_since(self, endpoint: Endpoint) -> float | None:
        """Return since when *endpoint* has owed an answer and sent nothing; None if not known."""
        return self._watcher.silent_since(endpoint) if self._watcher else None

    def _listen(self) -> None:
        if self._watcher:
            self._loop.watch(self._watcher.fileno(), self._hear)

    def _hear(self) -> None:
        assert self._watcher
        found = self._watcher.suspicions()
        for endpoint, sign in found:
            log.debug("real server %s is suspected: %s", endpoint, sign.value)
        self._suspect(it.endpoint for it in found)
        if self._watcher.lacking:  # then nobody holds a flood of reports up
            self._loop.unwatch(self._watcher.fileno())
            self._loop.after("watch", REST, self._listen)

    def _suspect(self, endpoints: Iterable[Endpoint]) -> None:
        asked: list[Target] = []
        for endpoint in endpoints:
            if self._serving(endpoint):
                asked += self._whom[endpoint]
            elif self._watcher:
                self._watcher.hush(endpoint, self._clock() + HUSH)
                self._hushed.add(endpoint)
        if asked:
            self._link.hasten(asked)

    def _serving(self, endpoint: Endpoint) -> bool:
        healths = self._director.cluster.healths
        return any(healths[who].serving for who in self._whom[endpoint] if who in healths)
