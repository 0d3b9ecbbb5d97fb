"""What is known of one target: how it is asked, when, and how that last ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lvs_nat.checks.kind import Answer, Batch, Kind, Sentinel
from lvs_nat.core import schedule
from lvs_nat.core.health import MAX_PENALTY, Outcome, Verdict, Weight
from lvs_nat.core.questions import CheckKind
from lvs_nat.core.setup import OnUnknown, Target
from lvs_nat.daemon.mishaps import Mishaps

# Members of an enumeration are looked up by a function before Python 3.11; these are asked for
# with every answer.
PASS, UNKNOWN = Outcome.PASS, Outcome.UNKNOWN


class Probe:
    """One target, and all that its next probe depends on.

    wake is the slot at which the engine must look at it again: its deadline while asking is
    a question under way, else the moment it is due; told is for whoever tells the verdicts.
    kind is None until it is first asked, as what it needs may be missing or not be had now.
    suspected says that it is asked for a suspicion, and suspected_at when it last was.  While
    it is settled, and well, the same answer once more changes nothing but its times.
    returning says that it may be down, for its failures or because it could not be asked;
    passes is how often it has passed in a row, which nobody needs of one that is settled, and
    unknowns how often in a row it could not be asked.  cost is what its answers take us, in
    seconds, 0 while they take no more than a moment (UnderWay).
    """

    __slots__ = (
        "_load", "_mishaps", "again", "answer", "asking", "batch", "began", "check", "cost",
        "due", "events", "kind", "latency", "number", "outcome", "pace", "passes", "phase",
        "proceed", "returning", "round_trip", "sentinel", "settled", "start", "steps",
        "suspected", "suspected_at", "target", "times", "told", "told_at", "unknowns",
        "verdicts", "wake", "weight", "where", "words",
    )  # fmt: skip

    def __init__(self, target: Target, load: Callable[[CheckKind], Kind], mishaps: Mishaps) -> None:
        self.target = target
        self.check = target.check
        self._load = load
        self._mishaps = mishaps
        self.kind: Any = None
        self.batch: Batch | None = None
        self.where: Any = None
        self.sentinel: Sentinel | None = None
        self.phase = schedule.phase(target.endpoint)
        self.number = 0
        self.pace = schedule.Pace()
        self.round_trip = 0.0
        self.asking: Any = None
        self.events = 0
        self.again = False
        self.cost = 0.0
        self.began = 0.0
        self.due = 0.0
        self.wake = -1
        self.suspected = False
        self.suspected_at = -math.inf
        self.settled = False
        self.answer: Answer | None = None
        self.outcome = Outcome.UNKNOWN
        self.words = ""
        self.weight: Weight | None = None
        self.latency = 0.0
        self.times = 0
        self.verdicts = 0
        self.passes = 0
        self.unknowns = 0
        self.returning = False
        self.told: Outcome | None = None
        self.told_at = 0.0

    def prepare(self) -> Answer | None:
        """Make the question ready to be asked; return why it cannot be, if so."""
        try:
            kind = self._load(self.check.kind)
            self.where = kind.prepare(self.target)
            self.sentinel = kind.sentinel(self.where) if kind.sentinel else None
        except (ImportError, OSError, ValueError) as error:
            return Answer(Outcome.UNKNOWN, f"this director cannot ask: {error}")
        except Exception as error:
            return self._mishaps.answer(error)
        self.kind, self.batch = kind, kind.batch
        self.start, self.proceed, self.steps = kind.start, kind.proceed, kind.steps
        return None

    def overdue(self) -> Answer | None:
        """Return what it means that the deadline has passed, None for silence."""
        try:
            return self.kind.overdue(self.asking) if self.kind.overdue else None
        except Exception as error:
            return self._mishaps.answer(error)

    def reached(self) -> bool:
        """Say whether the server's machine has answered, so that the server is at work."""
        try:
            return self.kind.reached is not None and self.kind.reached(self.asking)
        except Exception as error:
            self._mishaps.answer(error)
            return False

    def next(self, now: float, newcomers: int) -> float:
        """Return when it is to be asked again, one of *newcomers* or not, having ended *now*."""
        ended = (self.outcome, self.check, self.phase, self.began, now)
        return schedule.due(self.pace, *ended, self.suspected, newcomers)

    def judge(self, answer: Answer) -> bool:
        """Take *answer* for the verdict; say whether that is news."""
        outcome, words, weight = answer
        alike = outcome is self.outcome or (
            UNKNOWN not in (outcome, self.outcome) and PASS not in (outcome, self.outcome)
        )
        self.times = self.times + 1 if alike else 1
        before, self.pace = self.pace, schedule.follow(self.pace, outcome, self.check)
        reweighed = weight != self.weight
        self.outcome, self.words, self.weight = outcome, words, weight
        decides = self._decides(outcome)
        # The director may have counted before this prober came: what confirms a first verdict
        # is news as well.
        self.verdicts += 1
        young = self.verdicts <= self.check.rise or self.verdicts <= self.check.fall
        moved = self.pace is not before or outcome is not self.told
        return young or reweighed or moved or decides

    def _decides(self, outcome: Outcome) -> bool:
        """Count passes and unknowns as the director may; say whether one more may move it."""
        if outcome is UNKNOWN:
            self.unknowns += 1
            if self.unknowns >= self.check.fall and self.check.on_unknown is OnUnknown.DOWN:
                self.passes, self.returning = 0, True
            return self.unknowns <= self.check.fall
        self.unknowns = 0
        if outcome is not PASS:
            self.passes = 0
            self.returning = self.returning or not self.pace.well
            return False
        self.passes += 1
        decides = self.returning and schedule.decides(self.passes, self.check)
        self.returning = self.returning and self.passes < self.check.rise * MAX_PENALTY
        return decides

    def settle(self, answer: Answer, news: bool) -> None:
        """Take note of the answer that has been judged, and whether that was news."""
        self.suspected = self.suspected and self.pace.counting
        self.answer = answer
        well = self.pace is schedule.WELL and self.sentinel is None
        self.settled = well and not (news or self.suspected or self.returning)

    @property
    def patience(self) -> float:
        """How many seconds the question may take."""
        return schedule.patience(self.pace, self.check, self.round_trip, self.suspected)

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.outcome, self.words, self.latency, self.weight)
