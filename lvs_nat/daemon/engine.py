"""Probes are started when they are due and end at their answer or at their deadline."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from lvs_nat.checks.kind import NOTHING_LENT, Answer, Batch, Lent
from lvs_nat.core import schedule
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target
from lvs_nat.daemon.agenda import Agenda
from lvs_nat.daemon.mishaps import Mishaps
from lvs_nat.daemon.probe import Probe
from lvs_nat.daemon.sentinels import Sentinels
from lvs_nat.daemon.sharing import LOAD, Load, Sharing
from lvs_nat.daemon.underway import UnderWay
from lvs_nat.model import Endpoint

# A turn that comes later than this (seconds) was kept from running: deadlines that passed
# meanwhile say nothing about the servers.
LATE = 0.05
# Members of an enumeration are looked up by a function before Python 3.11; this one is asked for
# with every answer.
PASS = Outcome.PASS
# How many answers one call of poll may bring.
ANSWERS = 1024
# A server that is heard after its deadline, which is our fault, may go on; for all of its answer
# it has so many times its time-out.
RESPITE = 10


class Engine:
    """Asks its targets for ever; `turn` is one round of the loop that its owner runs.

    ended is called with each probe that has a verdict, and whether that is news: the target
    was not settled before it, or is not after it.  room is how many questions may be under
    way at once.  worst_lag is the worst lateness of a turn in seconds; its owner may set it
    back to 0.  mishaps hears of faults in a check's own code, which end that probe alone.
    worked measures the time of our own process.
    """

    def __init__(
        self,
        ended: Callable[[Probe, bool], None],
        room: int,
        clock: Callable[[], float] = time.monotonic,
        lent: Lent = NOTHING_LENT,
        mishaps: Mishaps | None = None,
        load: Load = LOAD,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self.worst_lag = 0.0
        self.room = room
        self.probes = 0
        self.looked_again = 0
        self._ended = ended
        self._clock = clock
        self._targets: dict[Target, Probe] = {}
        self._newcomers = 0
        self._waiting: deque[Probe] = deque()
        # Who is to be asked in one go, and how many have been and not answered yet.
        self._due: dict[Batch, list[Probe]] = {}
        self._batched = 0
        self._agenda = Agenda()
        self._look_at = self._agenda.look_at
        self._poll = select.epoll()
        self._mishaps = mishaps or Mishaps()
        acts = self._end, self._begin, self._heard_late
        self._under_way = UnderWay(self._poll, clock, self._mishaps, *acts, worked)
        self._sentinels = Sentinels(self._poll, room, self.hasten_all, self._mishaps)
        self._sharing = Sharing(
            lent, self._poll, self.hasten, self._answered, self._fail_together, self._mishaps, load
        )

    @property
    def in_flight(self) -> int:
        return len(self._under_way) + self._batched

    def close(self) -> None:
        """Withdraw every question and ask no more."""
        self.ask(())
        self._sharing.close()
        self._poll.close()

    def listen(self, fd: int, events: int = select.EPOLLIN) -> None:
        """Have `turn` return when one of *events* happens to *fd*, which is not a probe's."""
        try:
            self._poll.modify(fd, events)
        except FileNotFoundError:
            self._poll.register(fd, events)

    def ask(self, targets: Sequence[Target]) -> None:
        """Ask *targets* and nobody else; those that stay keep their schedule."""
        now = self._clock()
        before, self._targets = self._targets, {}
        new = [target for target in targets if target not in before]
        self._newcomers = len(new)
        for number, target in enumerate(targets):
            if target in before:
                self._targets[target] = probe = before[target]
                probe.number = number
        places = {target: number for number, target in enumerate(targets)}
        for order, target in enumerate(new):
            self._targets[target] = probe = Probe(target, self._sharing.kind, self._mishaps)
            probe.number = places[target]
            self._look_at(probe, now + schedule.first(order, len(new), target.check))
        for target, probe in before.items():
            if target not in self._targets:
                self._give_up(probe)
                self._sentinels.dismiss(probe)
                probe.wake = -1

    def hasten(self, targets: Iterable[Target]) -> None:
        """Ask *targets* now; one that is being asked, or was within `fast`, is left alone."""
        now = self._clock()
        for target in targets:
            probe = self._targets.get(target)
            if probe is None or probe.asking is not None or probe.wake == 0:
                continue
            soonest = max(now, probe.began + target.check.fast)
            if soonest < probe.due:
                self._look_at(probe, soonest)

    def hasten_all(self, endpoint: Endpoint) -> None:
        """Ask now whatever is asked of *endpoint*."""
        self.hasten([target for target in self._targets if target.endpoint == endpoint])

    def suspect(self, targets: Iterable[Target]) -> None:
        """Ask *targets* now, and impatiently: something says that they may have failed.

        That may be said over and over: it is heard once in a target's `fast` at most.  Those of
        which failures are counted already, or that are down, keep their schedule.
        """
        now = self._clock()
        for target in targets:
            probe = self._targets.get(target)
            if probe is None or not probe.pace.well or probe.pace.streak or probe.wake <= 0:
                continue
            probe.suspected, probe.settled = True, False
            if probe.asking is None:
                soon = max(now, probe.suspected_at + target.check.fast)
            else:
                soon = max(now, probe.began + probe.patience)
            if soon >= probe.due:
                continue
            if probe.asking is None:
                probe.suspected_at = soon
            self._look_at(probe, soon)

    def turn(self, longest: float) -> list[tuple[int, int]]:
        """Wait for an answer or a due moment, at most *longest* seconds, and see to it.

        Returns the events of descriptors that are not a probe's.
        """
        self._agenda.skip_answered()
        wait = min(max(0.0, self._agenda.soonest - self._clock()), longest)
        ready = self._poll.poll(min(wait, self._under_way.leisure()), ANSWERS)
        now = self._clock()
        others = self._hear(ready, now)
        if len(ready) == ANSWERS:
            others += self._hear(self._all_ready(), now)
        self._pass_time(now, others)
        self._under_way.catch_up(now)
        return others

    def _hear(self, ready: list[tuple[int, int]], now: float) -> list[tuple[int, int]]:
        return [
            (fd, events)
            for fd, events in self._under_way.hear(ready, now)
            if not (self._sentinels.sees_to(fd) or self._sharing.sees_to(fd, now))
        ]

    def _all_ready(self) -> list[tuple[int, int]]:
        return self._poll.poll(0.0, len(self._under_way) + len(self._sentinels) + ANSWERS)

    def _full(self) -> bool:
        return len(self._under_way) + len(self._sentinels) >= self.room

    def _pass_time(self, now: float, others: list[tuple[int, int]]) -> None:
        """See to all slots up to *now*; nothing is overdue of which the answer was not read."""
        lag = now - self._agenda.soonest
        self.worst_lag = max(self.worst_lag, lag)
        # While we heard what had been set aside, we did run.
        if late := lag - self._under_way.seconds > LATE:
            # The machine may have stood still between the poll and the look at the clock.
            others += self._hear(self._all_ready(), now)
        self._under_way.seconds = 0.0
        for probe in self._agenda.due(now):
            if probe.asking is not None:
                self._overdue(probe, now, late)
            else:
                self._begin(probe, now)
        while self._waiting and not self._full():
            probe = self._waiting.popleft()
            if probe.wake == 0:
                self._begin(probe, now)
        if self._due:
            self._ask_together()

    def _begin(self, probe: Probe, now: float) -> None:
        if probe.kind is None and (cannot := probe.prepare()):
            probe.began = self._clock()
            self._end(probe, cannot, probe.began, now)
            return
        if probe.batch is not None:
            self._due.setdefault(probe.batch, []).append(probe)
            return
        if self._full():
            probe.wake = 0
            self._waiting.append(probe)
            return
        probe.began = self._clock()
        try:
            asking = probe.start(probe.where)
        except Exception as error:
            asking = self._mishaps.answer(error)
        if type(asking) is Answer:
            self._end(probe, asking, self._clock(), now)
            return
        self._under_way.wait_for(probe, asking)
        patience = probe.check.timeout if probe.settled else probe.patience
        self._look_at(probe, probe.began + patience)

    def _ask_together(self) -> None:
        """Ask those that are due, of each batch in one go."""
        due, self._due = self._due, {}
        for batch, probes in due.items():
            began = self._clock()
            for probe in probes:
                probe.asking = batch
                probe.began = began
                patience = probe.check.timeout if probe.settled else probe.patience
                self._look_at(probe, began + patience)
            self._batched += len(probes)
            try:
                answers = batch.ask([(probe.where, probe) for probe in probes])
            except Exception as error:
                self._fail_together(batch, error, self._clock())
            else:
                self._answered(answers, self._clock())

    def _fail_together(self, batch: Batch, error: Exception, now: float) -> None:
        """End all questions of a batch that has failed: whose fault it was, nobody knows."""
        answer = self._mishaps.answer(error)
        asked = [probe for probe in self._targets.values() if probe.asking is batch]
        for probe in asked:
            with suppress(Exception):  # it may not have come to note this one
                batch.forget(probe.where)
        self._answered([(probe, answer) for probe in asked], now)

    def _answered(self, answers: Iterable[tuple[Any, Answer]], now: float) -> None:
        for probe, answer in answers:
            probe.asking = None
            self._batched -= 1
            self._end(probe, answer, now, now)

    def _overdue(self, probe: Probe, now: float, late: bool) -> None:
        if self._under_way.unheard(probe):
            probe.wake = 0  # that is heard first, and `_heard_late` called
            return
        whole = probe.began + probe.check.timeout
        if probe.due < whole and probe.reached():
            self._look_at(probe, whole)
            return
        answer = probe.overdue()
        self._give_up(probe)
        if late and not probe.again:
            probe.again = True
            self.looked_again += 1
            self._begin(probe, now)
            return
        if answer is None:
            words = f"no answer within {round(probe.due - probe.began, 2):g} s"
            answer = Answer(Outcome.SILENT, words)
        self._end(probe, answer, now, now)

    def _heard_late(self, probe: Probe, now: float) -> None:
        """Let a probe go on of which something was heard after its deadline only."""
        last = probe.began + RESPITE * probe.check.timeout
        if now < last:
            self._look_at(probe, min(now + probe.check.timeout, last))
        else:
            self._overdue(probe, now, False)

    def _give_up(self, probe: Probe) -> None:
        """Close the question under way, if there is one."""
        if probe.asking is None:
            return
        if probe.batch is None:
            self._under_way.over(probe, probe.asking.fileno())
            return
        self._batched -= 1
        probe.asking = None
        try:
            probe.batch.forget(probe.where)
        except Exception as error:
            self._mishaps.answer(error)

    def _end(self, probe: Probe, answer: Answer, ended: float, now: float) -> None:
        """Take *answer* for the verdict of the probe that ended at *ended*; set the next."""
        self.probes += 1
        probe.latency = latency = ended - probe.began
        check = probe.check
        if probe.settled and answer is probe.answer:
            probe.round_trip += schedule.SMOOTHING * (latency - probe.round_trip)
            probe.times += 1
            probe.again = False
            self._look_at(probe, schedule.moment(probe.phase, check.interval, now))
            self._ended(probe, False)
            return
        probe.again = False
        if answer.outcome is PASS:
            probe.round_trip = schedule.smoothed(probe.round_trip, latency)
            if probe.sentinel:
                self._sentinels.passed(probe)
        news = probe.judge(answer)
        self._look_at(probe, probe.next(now, self._newcomers))
        probe.settle(answer, news)
        self._ended(probe, news)
