"""Questions under way are polled, and heard in such turns that none keeps the others waiting."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lvs_nat.checks.effort import LIMIT, MOMENT, TooSlow, patience
from lvs_nat.checks.kind import Answer
from lvs_nat.core.health import Outcome
from lvs_nat.daemon.mishaps import Mishaps
from lvs_nat.daemon.probe import Probe

# A turn hears answers for so many seconds; what is left then is set aside.
TURN = 0.04
# What costs more waits longer: this many times its cost, 20 s at most, behind all that comes
# within that time and costs less.
BEHIND = 200

Events = list[tuple[int, int]]


class UnderWay:
    """The questions that wait on a descriptor each, and what of theirs was set aside.

    ended is called with a probe that is answered, how, and twice with when; again with one
    that is to be asked anew, where its answer may take longer; late with one that had come to
    its deadline before it was heard, and goes on.  seconds is what the last turn spent on one
    that costs much, of our own process's time, which worked measures.
    """

    def __init__(
        self,
        poll: select.epoll,
        clock: Callable[[], float],
        mishaps: Mishaps,
        ended: Callable[[Probe, Answer, float, float], None],
        again: Callable[[Probe, float], None],
        late: Callable[[Probe, float], None],
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self.seconds = 0.0
        self._poll = poll
        self._clock = clock
        self._worked = worked
        self._mishaps = mishaps
        self._ended = ended
        self._again = again
        self._late = late
        self._probes: dict[int, Probe] = {}
        # For a descriptor: its turn among those that were set aside, and its events.
        self._aside: dict[int, tuple[float, int]] = {}
        # Whether some were only for want of time; until when those that cost much must wait.
        self._behind = False
        self._rested = 0.0

    def __len__(self) -> int:
        return len(self._probes)

    def unheard(self, probe: Probe) -> bool:
        """Say whether something that was said to *probe* is still to be heard."""
        return bool(self._aside) and probe.batch is None and probe.asking.fileno() in self._aside

    def leisure(self) -> float:
        """Return for how many seconds nothing of what was set aside is to be heard."""
        if self._behind:
            return 0.0
        return max(0.0, self._rested - self._clock()) if self._aside else math.inf

    def wait_for(self, probe: Probe, asking: Any) -> None:
        """Poll for what *asking* waits for, which is the question of *probe* from now on."""
        probe.asking = asking
        fd = asking.fileno()
        self._probes[fd] = probe
        probe.events = events = asking.events if probe.steps else select.EPOLLOUT
        self._poll.register(fd, events)

    def over(self, probe: Probe, fd: int) -> None:
        """Close the question that waits on *fd*; one that cannot be closed is over as well."""
        del self._probes[fd]
        if self._aside:
            self._aside.pop(fd, None)
        asking, probe.asking = probe.asking, None
        try:
            asking.close()  # and the poll forgets it by itself
        except Exception as error:
            self._mishaps.answer(error)
            with suppress(OSError):
                self._poll.unregister(fd)

    def hear(self, ready: Events, now: float) -> Events:
        """Hear what is *ready* in the turn that began *now*; return what is no question's.

        What would keep the rest, or the next turn, waiting is set aside.
        """
        others = []
        began, until = now, now + TURN
        for fd, events in ready:
            probe = self._probes.get(fd)
            if probe is None:
                others.append((fd, events))
            elif probe.cost or began >= until:
                self._set_aside(probe, fd, events, now)
            else:
                self._proceed(probe, fd, events, now)
                ended = self._clock()
                if ended - began > MOMENT:
                    _weigh(probe, max(probe.cost, ended - began))
                began = ended
        return others

    def catch_up(self, began: float) -> None:
        """Hear what was set aside: one at least, more while the turn that *began* then lasts.

        Those that cost much are heard one by one, and as long as that took, only others are then.
        """
        if not self._aside or self.leisure():
            return
        self._behind = False
        for fd in sorted(self._aside, key=self._aside.__getitem__):
            probe, now = self._probes[fd], self._clock()
            if probe.cost and now < self._rested:
                continue
            _, events = self._aside.pop(fd)
            if probe.cost:
                self._hear_patiently(probe, fd, events, now)
            else:
                self._proceed(probe, fd, events, now)
            ended = self._clock()
            if probe.asking is not None and probe.wake == 0:
                self._late(probe, ended)
            if ended >= began + TURN:
                self._behind = True
                return

    def _set_aside(self, probe: Probe, fd: int, events: int, now: float) -> None:
        turn, before = self._aside.get(fd, (now + BEHIND * probe.cost, 0))
        self._aside[fd] = turn, events | before
        if not probe.cost:
            self._behind = True

    def _hear_patiently(self, probe: Probe, fd: int, events: int, now: float) -> None:
        """Hear one that costs much, and note what it costs by now; the past counts for less."""
        began = self._worked()
        with patience():
            self._proceed(probe, fd, events, now)
        self.seconds = spent = self._worked() - began
        self._rested = self._clock() + spent
        _weigh(probe, max(spent, probe.cost / 2 if probe.asking is None else probe.cost))

    def _proceed(self, probe: Probe, fd: int, events: int, now: float) -> None:
        asking = probe.asking
        try:
            answer = probe.proceed(asking, events)
        except TooSlow as error:
            if not probe.cost:
                _weigh(probe, LIMIT)
                self.over(probe, fd)
                self._again(probe, now)
                return
            answer = Answer(Outcome.FAIL, str(error))
        except Exception as error:
            answer = self._mishaps.answer(error)
        if answer is None:
            if probe.steps and asking.events != probe.events:
                probe.events = asking.events
                self._poll.modify(fd, probe.events)
            return
        self.over(probe, fd)
        if type(answer) is Answer:
            self._ended(probe, answer, now, now)
        else:
            self.wait_for(probe, answer)


def _weigh(probe: Probe, cost: float) -> None:
    probe.cost = cost if cost > MOMENT else 0.0
