"""When each probe is to be looked at again: slots of time, the next of them first."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from lvs_nat.daemon.probe import Probe

# Whatever is due within one slot (seconds) is seen to in one turn.
SLOT = 0.01


class Agenda:
    """What is to be looked at in each slot, and a heap of the slots that exist.

    A probe that was put off, or answered, stays in its old slots; its wake tells that it is
    not meant any more.
    """

    def __init__(self) -> None:
        self._slots: dict[int, list[Probe]] = {}
        self._next: list[int] = []

    @property
    def soonest(self) -> float:
        """The moment of the next slot; infinite if there is none."""
        return self._next[0] * SLOT if self._next else math.inf

    def look_at(self, probe: Probe, when: float) -> None:
        """Look at *probe* at the moment *when*, and at no other."""
        probe.due = when
        probe.wake = slot = int(when / SLOT) + 1
        try:
            self._slots[slot].append(probe)
        except KeyError:
            self._slots[slot] = [probe]
            heapq.heappush(self._next, slot)

    def skip_answered(self) -> None:
        """Forget slots that hold nothing but deadlines of questions that were answered."""
        while self._next:
            slot = self._next[0]
            probes = self._slots[slot]
            while probes and probes[-1].wake != slot:
                probes.pop()
            if probes:
                return
            del self._slots[heapq.heappop(self._next)]

    def due(self, now: float) -> Iterator[Probe]:
        """Yield what is to be looked at up to *now*; more may be put there meanwhile."""
        slot = int(now / SLOT)
        while self._next and self._next[0] <= slot:
            current = heapq.heappop(self._next)
            for probe in self._slots.pop(current):
                if probe.wake == current:
                    probe.wake = 0  # it may be here twice: due now, and once its deadline
                    yield probe
