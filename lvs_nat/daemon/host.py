"""The director's own machine is kept fit for NAT: its sysctls, through changes of its links."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.sysctls import wanted
from lvs_nat.core.targets import Here
from lvs_nat.daemon.loop import Loop
from lvs_nat.errors import LvsNatError
from lvs_nat.model import Address, Forwarding, Listener, Ruleset
from lvs_nat.system.addresses import arrives, here
from lvs_nat.system.sysctl import Sysctls

if TYPE_CHECKING:
    from lvs_nat.system.links import Links

log = logging.getLogger(__name__)

# The kernel tells changes of forwarding and of links, but none of send_redirects.
LOOK = 10.0
# Between two looks whether the library for links is loaded.
LOADED = 0.1


class Host:
    """Sets what NAT needs, and sets it again when a link appears or somebody undoes it.

    moved is called with what the machine is now, whenever that may have changed.
    """

    def __init__(
        self,
        sysctls: Sysctls,
        cluster: Callable[[], Cluster],
        moved: Callable[[Here], None] = lambda _: None,
    ) -> None:
        self._sysctls = sysctls
        self._cluster = cluster
        self._moved = moved
        self._absent: frozenset[Address] = frozenset()
        self._links: Links | None = None

    def set(self) -> None:
        """Bring every setting to what the rules need; log each that changed.

        Where the operator wants none set, those of before stay until `restore`.
        """
        cluster = self._cluster()
        if not cluster.setup.sysctl:
            return
        needed = wanted(self._sysctls.interfaces(), _routes_ipv6(cluster.rules))
        for line in self._sysctls.set(needed):
            log.info("%s", line)

    def here(self) -> Here:
        """Return what clients' packets meet on this machine, nothing where it is not told."""
        try:
            return here()
        except (LvsNatError, OSError) as error:
            log.warning("the clients' way back is not tried: %s", error)
            return Here()

    def restore(self) -> list[str]:
        """Give back what was there before us; return and log a line for each."""
        return _told(self._sysctls.restore())

    def keep(self) -> list[str]:
        """Leave all as it is set, for a table that is kept; return and log a line for each."""
        return _told(self._sysctls.keep())

    def listen(self, loop: Loop) -> None:
        """From now on look again at every event of links and forwarding, and now and then."""
        self._again(loop)
        # pyroute2 takes longer to import than all of the start, and the loop must not wait for it.
        loading = threading.Thread(target=_load)
        loading.start()
        self._open(loop, loading)

    def _open(self, loop: Loop, loading: threading.Thread) -> None:
        if loading.is_alive():
            loop.after("links", LOADED, lambda: self._open(loop, loading))
            return
        try:
            from lvs_nat.system.links import Links

            self._links = links = Links()
        except (ImportError, LvsNatError, OSError) as error:
            log.warning("no events of links, looking every %g s instead: %s", LOOK, error)
            return

        loop.watch(links.fileno(), lambda: self._hear(loop, links))

    def _hear(self, loop: Loop, links: Links) -> None:
        try:
            news = links.events()
        except (LvsNatError, OSError) as error:
            log.warning("no more events of links, looking every %g s instead: %s", LOOK, error)
            loop.unwatch(links.fileno())
            self.close()
            return
        if news:
            self._set()
            self.look_around()

    def close(self) -> None:
        """Listen no more."""
        if self._links:
            self._links.close()
            self._links = None

    def _again(self, loop: Loop) -> None:
        self._set()
        self.look_around()
        loop.after("sysctls", LOOK, lambda: self._again(loop))

    def look_around(self) -> None:
        """Take note of what this machine is now; say which virtual addresses are not on it."""
        found = self.here()
        self._moved(found)
        virtual = {
            name.endpoint.address
            for name in self._cluster().rules.services
            if isinstance(name, Listener)
        }
        absent = frozenset(it for it in virtual - found.networks.keys() if not arrives(it))
        for address in sorted(absent - self._absent, key=str):
            log.error("%s", ABSENT.format(address))
        for address in sorted(self._absent - absent, key=str):
            if address in virtual:
                log.warning("the virtual address %s is on this machine again", address)
        self._absent = absent

    def _set(self) -> None:
        try:
            self.set()
        except (LvsNatError, OSError) as error:
            log.error("%s", error)


ABSENT = (
    "the virtual address {0} is on no interface of this machine, so no client reaches it: "
    "`ip address add {0} dev ...` adds it"
)


def _told(lines: list[str]) -> list[str]:
    for line in lines:
        log.info("%s", line)
    return lines


def _load() -> None:
    with suppress(ImportError):  # who asks for it next is told why
        import lvs_nat.system.links  # noqa: F401


def _routes_ipv6(rules: Ruleset) -> bool:
    return any(
        destination.forwarding is Forwarding.MASQUERADE and name.version == 6
        for name, service in rules.services.items()
        for destination in service.destinations.values()
    )
