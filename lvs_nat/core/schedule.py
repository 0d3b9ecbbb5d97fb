"""When a real server is asked next, with what patience, so that probes never come in waves."""

from __future__ import annotations

from typing import NamedTuple

from lvs_nat.core.health import MAX_PENALTY, Outcome
from lvs_nat.core.setup import Check
from lvs_nat.model import Endpoint

# Members of an enumeration are looked up by a function before Python 3.11; these are asked for
# with every answer.
PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN
REFUSED = Outcome.REFUSED
# The first refusal, or wrong answer, is looked at again this much later (seconds): soon enough to
# remove a dead server before its clients give up, late enough that one lost socket is not asked
# about twice.  Silence has taken its time already, and packets are lost in bursts.
CONFIRM = 0.03
# Sooner where a client has seen it before us.
CONFIRM_CLIENTS = 0.01
# While failures are counted, a server that answers within r gets max(SHORTEST, TRIPS x r) s.
SHORTEST = 0.05
TRIPS = 8
# The weight of a new round trip in the smoothed one (RFC 6298, 2.3: alpha = 1/8).
SMOOTHING = 0.125
# By what health.needed may multiply `rise`.
PENALTIES = frozenset(1 << further for further in range(MAX_PENALTY.bit_length()))
# First probes leave at this rate (a second), so that 10,000 servers are no burst at start.
FIRST_RATE = 4000.0
# Knuth's multiplicative hashing (TAOCP 3, 6.4): 2**64 over the golden ratio.  Neighbouring
# addresses, and neighbouring ports, fall as far apart as their number allows.
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 1 << 64


class Pace(NamedTuple):
    """How far the counting of one target's verdicts has come.

    well is what the last settled streak said, None before there is one; streak counts the
    verdicts in a row that say otherwise.  A first pass settles it, a first failure does not:
    whoever asked this target before us may have it for well, and count on.  Or it is down for
    that failure, and the passes after it are counted.
    """

    well: bool | None = None
    streak: int = 0

    @property
    def counting(self) -> bool:
        return self.streak > 0


# The two that nearly every target is in; kept so that a probe without news makes no object.
WELL = Pace(True)
ILL = Pace(False)


def follow(pace: Pace, outcome: Outcome, check: Check) -> Pace:
    """Return the pace after one more verdict; an unknown one changes nothing."""
    if outcome is PASS and pace.well:
        return WELL
    if outcome is UNKNOWN:
        return pace
    passed = outcome is PASS
    well, streak = pace
    if passed and well is None:
        well, streak = not streak, 0
    if passed is well or streak + 1 >= (check.rise if passed else check.fall):
        return WELL if passed else ILL
    return Pace(well, streak + 1)


def decides(passes: int, check: Check) -> bool:
    """Say whether so many passes in a row may be what brings a server back (health.needed)."""
    penalty, rest = divmod(passes, check.rise)
    return not rest and penalty in PENALTIES


def patience(pace: Pace, check: Check, round_trip: float, suspected: bool = False) -> float:
    """Return how many seconds the next probe may take; round_trip is 0 while not known.

    A server that is *suspected*, for what its clients' packets tell, has used up a part of our
    patience before it is asked.
    """
    if pace.well and (pace.streak or suspected) and round_trip:
        return min(check.timeout, max(SHORTEST, TRIPS * round_trip))
    return check.timeout


def smoothed(round_trip: float, sample: float) -> float:
    """Return the round trip in seconds once *sample* is known; 0 means nothing is known yet."""
    return round_trip + SMOOTHING * (sample - round_trip) if round_trip else sample


def due(
    pace: Pace,
    outcome: Outcome,
    check: Check,
    phase: float,
    began: float,
    now: float,
    suspected: bool = False,
    newcomers: int = 0,
) -> float:
    """Return when a target is asked again, the probe that began at *began* having ended *now*.

    A settled target keeps to its own moments: those that lie *phase* of an interval after
    the multiples of the interval.  Moments that have passed are let go, never caught up on.
    Of *newcomers* that fail all at once the second round follows the first, at the same rate.
    """
    if not pace.streak:
        down = check.down_interval if pace.well is False else 0.0
        return moment(phase, down or check.interval, now)
    if pace.well and pace.streak == 1 and (suspected or outcome is REFUSED or outcome is FAIL):
        return now + min(CONFIRM_CLIENTS if suspected else CONFIRM, check.fast)
    pause = check.fast if pace.well is not None else max(check.fast, newcomers / FIRST_RATE)
    return max(now, began + min(pause, check.interval))


def moment(phase: float, interval: float, now: float) -> float:
    """Return the next moment that lies *phase* of an interval after a multiple of it."""
    offset = phase * interval
    return ((now - offset) // interval + 1.0) * interval + offset


def phase(endpoint: Endpoint) -> float:
    """Return the endpoint's own place (0 <= place < 1) in every interval."""
    number = int(endpoint.address) + (endpoint.port << 32)
    return (number + (number >> 64)) * _GOLDEN % _WORD / _WORD


def first(number: int, total: int, check: Check) -> float:
    """Return the seconds from now to the first probe of new target *number* of *total*.

    A few are asked at once; thousands are spread over at most one interval.
    """
    return min(check.interval, total / FIRST_RATE) * number / total
