"""What is known of one target: how it is asked, when, and how that last ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lvs_nat.checks.kind import Kind, Sentinel
from lvs_nat.core import schedule
from lvs_nat.core.health import Outcome, Verdict, Weight
from lvs_nat.core.questions import CheckKind
from lvs_nat.core.setup import Target


class Probe:
    """One target, and all that its next probe depends on.

    wake is the slot at which the engine must look at it again: its deadline while asking is
    a question under way, else the moment it is due; told is for whoever tells the verdicts.
    Where its kind cannot be used, barred says why.
    """

    __slots__ = (
        "again", "asking", "barred", "began", "due", "events", "kind", "latency", "number",
        "outcome", "pace", "phase", "round_trip", "sentinel", "target", "times", "told",
        "told_at", "verdicts", "wake", "weight", "where", "words",
    )  # fmt: skip

    def __init__(self, target: Target, load: Callable[[CheckKind], Kind]) -> None:
        self.target = target
        self.barred = ""
        self.where: Any = None
        self.sentinel: Sentinel | None = None
        try:
            self.kind = load(target.check.kind)
            self.where = self.kind.prepare(target)
            if self.kind.sentinel:
                self.sentinel = self.kind.sentinel(self.where)
        except (ImportError, OSError, ValueError) as error:
            self.barred = f"this director cannot ask: {error}"
        self.phase = schedule.phase(target.endpoint)
        self.number = 0
        self.pace = schedule.Pace()
        self.round_trip = 0.0
        self.asking: Any = None
        self.events = 0
        self.again = False
        self.began = 0.0
        self.due = 0.0
        self.wake = -1
        self.outcome = Outcome.UNKNOWN
        self.words = ""
        self.weight: Weight | None = None
        self.latency = 0.0
        self.times = 0
        self.verdicts = 0
        self.told: Outcome | None = None
        self.told_at = 0.0

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.outcome, self.words, self.latency, self.weight)
