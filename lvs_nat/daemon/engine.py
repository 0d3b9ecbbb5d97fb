"""Probes are started when due, ended at their answer or deadline, and told if they are news."""

from __future__ import annotations

import heapq
import select
import socket
import time
from collections.abc import Callable, Sequence

from lvs_nat.checks import tcp
from lvs_nat.core import schedule
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.schedule import Pace
from lvs_nat.core.setup import Target
from lvs_nat.core.wire import Told

# Verdicts that are no news are told again after this many seconds, so that status is fresh.
REFRESH = 5.0
# A turn of the loop that comes later than this (seconds) has been kept waiting by the machine:
# deadlines that passed meanwhile say nothing about the servers.
LATE = 0.1
# Due times within one slot (seconds) are served in one turn.
SLOT = 0.01


class Asked:
    """One target and what the timing of its probes depends on."""

    __slots__ = (
        "began", "deadline", "due", "gone", "number", "outcome", "pace", "probes", "socket",
        "target", "told_at", "total",
    )  # fmt: skip

    def __init__(self, target: Target, number: int, total: int, now: float) -> None:
        self.target = target
        self.number = number
        self.total = total
        self.pace = Pace()
        self.due = now + schedule.first(number, total, target.check)
        self.began = 0.0
        self.deadline = 0.0
        self.socket: socket.socket | None = None
        self.outcome: Outcome | None = None
        self.probes = 0
        self.told_at = 0.0
        self.gone = False


class Engine:
    """Asks its targets for ever; `turn` is one step of the loop that its owner runs.

    limit is how many probes may be under way at once; lag the worst lateness of a turn, in
    seconds, since it was last set to 0.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.lag = 0.0
        self._limit = limit
        self._clock = clock
        self._asked: dict[Target, Asked] = {}
        self._heap: list[tuple[float, int, Asked]] = []
        self._count = 0
        self._open: dict[int, Asked] = {}
        self._poll = select.epoll()
        self._news: dict[Asked, Verdict] = {}
        self._planned = clock()

    def register(self, fd: int) -> None:
        """Let a turn end also when *fd* can be read."""
        self._poll.register(fd, select.EPOLLIN)

    def ask(self, targets: Sequence[Target]) -> None:
        """Ask *targets* and nobody else; those asked already keep their schedule."""
        now = self._clock()
        before, self._asked = self._asked, {}
        fresh = sum(target not in before for target in targets)
        order = 0
        for number, target in enumerate(targets):
            asked = before.pop(target, None)
            if asked is None:
                asked = Asked(target, order, fresh, now)
                order += 1
                self._push(asked.due, asked)
            asked.number = number
            self._asked[target] = asked
        for asked in before.values():
            asked.gone = True
            self._news.pop(asked, None)
            self._close(asked)

    def news(self) -> tuple[Told, ...]:
        """Return the verdicts worth telling; they stay until `forget_news`."""
        now = self._clock()
        return tuple(
            Told(asked.number, verdict, max(0.0, asked.due - now))
            for asked, verdict in self._news.items()
        )

    def forget_news(self) -> None:
        self._news = {}

    def turn(self, longest: float) -> bool:
        """Wait for an answer or a due time, at most *longest* seconds, and see to it.

        Returns whether a registered descriptor can be read.
        """
        now = self._clock()
        until = min(self._heap[0][0] if self._heap else now + longest, now + longest)
        self._planned = max(now, until + SLOT)
        others = False
        for fd, _ in self._poll.poll(max(0.0, until - now), 512):
            asked = self._open.get(fd)
            if asked is None:
                others = True
            else:
                self._answered(asked)
        now = self._clock()
        late = now - self._planned
        self.lag = max(self.lag, late)
        self._serve(now, late > LATE)
        return others

    def _serve(self, now: float, late: bool) -> None:
        while self._heap and self._heap[0][0] <= now + SLOT / 2:
            when, _, asked = heapq.heappop(self._heap)
            if asked.gone:
                continue
            if asked.socket is None and when == asked.due:
                self._begin(asked, now)
            elif asked.socket is not None and when == asked.deadline:
                self._overdue(asked, now, late)

    def _push(self, when: float, asked: Asked) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, asked))

    def _begin(self, asked: Asked, now: float) -> None:
        if len(self._open) >= self._limit:
            asked.due = now + SLOT
            self._push(asked.due, asked)
            return
        asked.began = now
        try:
            asked.socket = tcp.begin(asked.target.endpoint)
        except OSError as error:
            self._judged(asked, tcp.unasked(error.errno or 0))
            return
        fd = asked.socket.fileno()
        self._open[fd] = asked
        self._poll.register(fd, select.EPOLLOUT)
        asked.deadline = now + schedule.deadline(asked.pace, asked.target.check)
        self._push(asked.deadline, asked)

    def _answered(self, asked: Asked) -> None:
        asking = self._take(asked)
        if asking is not None:
            self._judged(asked, tcp.finish(asking, self._clock() - asked.began))

    def _overdue(self, asked: Asked, now: float, late: bool) -> None:
        waited = asked.deadline - asked.began
        self._close(asked)
        if late:
            # We were not running when the answer may have come: ask again before it counts.
            self._begin(asked, now)
            return
        words = f"no answer within {waited:.2g} s"
        self._judged(asked, Verdict(Outcome.SILENT, words, waited))

    def _judged(self, asked: Asked, verdict: Verdict) -> None:
        check = asked.target.check
        now = self._clock()
        settled = not asked.pace.counting and asked.outcome is verdict.outcome
        asked.pace = schedule.follow(asked.pace, check, verdict.outcome, verdict.latency)
        asked.outcome = verdict.outcome
        asked.probes += 1
        if asked.probes == 1 and not asked.pace.counting:
            pause = schedule.second(asked.number, max(asked.total, 1), check)
        else:
            pause = schedule.delay(asked.pace, check, verdict.outcome)
        # From the start of this probe, so that the answer's lateness does not shift the phase.
        asked.due = max(asked.began + pause, now + schedule.CONFIRM / 2)
        self._push(asked.due, asked)
        if not settled or asked.pace.counting or now - asked.told_at >= REFRESH:
            asked.told_at = now
            self._news[asked] = verdict

    def _take(self, asked: Asked) -> socket.socket | None:
        asking, asked.socket = asked.socket, None
        if asking is not None:
            self._poll.unregister(asking.fileno())
            del self._open[asking.fileno()]
        return asking

    def _close(self, asked: Asked) -> None:
        asking = self._take(asked)
        if asking is not None:
            asking.close()
