"""What watches real servers between their probes is polled along with the questions."""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress

from lvs_nat.daemon.mishaps import Mishaps
from lvs_nat.daemon.probe import Probe
from lvs_nat.model import Endpoint


class Sentinels:
    """The sentinels of all probes; hasten is called with the endpoint that one has to tell of.

    At most half of *room* descriptors are theirs, so that questions are never crowded out.
    """

    def __init__(
        self,
        poll: select.epoll,
        room: int,
        hasten: Callable[[Endpoint], None],
        mishaps: Mishaps,
    ) -> None:
        self._mishaps = mishaps
        self._poll = poll
        self._room = room
        self._hasten = hasten
        self._probes: dict[int, Probe] = {}

    def __len__(self) -> int:
        return len(self._probes)

    def sees_to(self, fd: int) -> bool:
        """See to an event of a descriptor that is a sentinel's; say whether it is."""
        probe = self._probes.get(fd)
        if probe is None or probe.sentinel is None:
            return False
        try:
            stirred = probe.sentinel.stirred()
        except Exception as error:
            self._fail(probe, error)
            return True
        if stirred:
            self._hasten(probe.target.endpoint)
        if probe.sentinel.fileno() != fd:  # closed, so the poll has forgotten it
            del self._probes[fd]
        self._attend(probe)
        return True

    def passed(self, probe: Probe) -> None:
        """Tell the probe's sentinel, if it has one, that its server is well."""
        sentinel = probe.sentinel
        if sentinel and (sentinel.fileno() >= 0 or len(self) < self._room // 2):
            try:
                sentinel.passed()
            except Exception as error:
                self._fail(probe, error)
                return
            self._attend(probe)

    def dismiss(self, probe: Probe) -> None:
        """Watch no more for a probe that is given up."""
        if probe.sentinel:
            self._probes.pop(probe.sentinel.fileno(), None)
            probe.sentinel.close()

    def _fail(self, probe: Probe, error: Exception) -> None:
        """Do without a sentinel that has a fault of its own: its server is asked all the same."""
        self._mishaps.answer(error)
        sentinel, probe.sentinel = probe.sentinel, None
        self._probes = {fd: it for fd, it in self._probes.items() if it is not probe}
        with suppress(Exception):
            if sentinel:
                sentinel.close()

    def _attend(self, probe: Probe) -> None:
        fd = probe.sentinel.fileno() if probe.sentinel else -1
        if fd >= 0 and fd not in self._probes:
            self._probes[fd] = probe
            self._poll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
