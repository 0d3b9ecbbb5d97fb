"""How the last probes of a target went: what a glance at a server is worth."""

from __future__ import annotations

from dataclasses import dataclass

from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.schedule import smoothed

# How many probes are remembered.
LAST = 30
MARKS = {Outcome.PASS: "+", Outcome.UNKNOWN: "?"}
FAILED = "-"


@dataclass(frozen=True)
class Warmth:
    """The last probes as marks, oldest first, and their latencies in seconds.

    + has passed, - has failed, ? was our own fault.  mean is smoothed as RFC 6298 does;
    latencies are of passed probes only, and 0 before the first.
    """

    marks: str = ""
    mean: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def after(self, verdict: Verdict, times: int = 1) -> Warmth:
        """Return the warmth once a verdict is known, *times* being as many as ended so."""
        marks = (self.marks + MARKS.get(verdict.outcome, FAILED) * times)[-LAST:]
        if not verdict.passed:
            return Warmth(marks, self.mean, self.least, self.most)
        latency = verdict.latency
        return Warmth(
            marks,
            smoothed(self.mean, latency),
            min(self.least or latency, latency),
            max(self.most, latency),
        )
