"""When a real server is asked next, and how long it may take to answer."""

from __future__ import annotations

from typing import NamedTuple

from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Check

# A refusal is looked at again this soon (seconds): a process that has just restarted
# listens again by then, one that is gone refuses again.
CONFIRM = 0.03
# While failures are counted, a server that used to answer within r gets max(SHORTEST, TRIPS * r).
SHORTEST = 0.05
TRIPS = 8
# How much of a new round trip goes into the smoothed one (RFC 6298, 2.3: alpha 1/8).
SMOOTHING = 0.125


class Pace(NamedTuple):
    """What the timing of one target depends on.

    well is the last settled belief; streak counts the verdicts in a row that say otherwise.
    round_trip is the smoothed latency of its passes in seconds, 0 before the first.
    """

    well: bool = True
    streak: int = 0
    round_trip: float = 0.0

    @property
    def counting(self) -> bool:
        return self.streak > 0


def follow(pace: Pace, check: Check, outcome: Outcome, latency: float) -> Pace:
    """Return the pace after one more verdict; one that tells nothing changes nothing."""
    if outcome is Outcome.UNKNOWN:
        return pace
    passed = outcome is Outcome.PASS
    trip = pace.round_trip
    if passed:
        trip = trip + SMOOTHING * (latency - trip) if trip else latency
    if passed == pace.well:
        return Pace(pace.well, 0, trip)
    streak = pace.streak + 1
    if streak >= (check.fall if pace.well else check.rise):
        return Pace(passed, 0, trip)
    return Pace(pace.well, streak, trip)


def delay(pace: Pace, check: Check, outcome: Outcome) -> float:
    """Return the seconds from the start of a probe that ended in *outcome* to the next."""
    if not pace.counting:
        return check.interval
    return CONFIRM if outcome is Outcome.REFUSED else min(check.fast, check.interval)


def deadline(pace: Pace, check: Check) -> float:
    """Return the seconds that the next probe may take in all."""
    if pace.well and pace.counting and pace.round_trip:
        return min(check.timeout, max(SHORTEST, TRIPS * pace.round_trip))
    return check.timeout


def first(number: int, total: int, check: Check) -> float:
    """Return the seconds until target *number* of *total* new ones is first asked.

    A few are asked at once; thousands are spread so that no wave of packets goes out.
    """
    return min(check.interval, total / 4000) * number / total


def second(number: int, total: int, check: Check) -> float:
    """Return the seconds from the first probe to the second, which spreads all later ones."""
    return check.interval * (0.5 + 0.5 * number / total)
