"""When a real server counts as up: the whole of rise, fall and flap.

Two tables hold the machine.  EVENTS says what one verdict does; SETTLED says where a streak
ends once it is long enough.  How long is long enough is `needed`, and nothing else in the
house counts verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from lvs_nat.core.setup import Check

# A server that falls more often than once in this many seconds must pass longer to return.
FLAP_WINDOW = 300.0
MAX_PENALTY = 16


class Outcome(Enum):
    """How a probe ended, numbered as the prober's records number it."""

    PASS = 0
    REFUSED = 1  # the server itself said no: its process is gone
    SILENT = 2  # nothing came back before the deadline
    FAIL = 3  # it answered, but not as a well server would
    UNKNOWN = 4  # our own fault: no descriptor, no memory, no source address


@dataclass(frozen=True)
class Verdict:
    """What one probe found; latency in seconds, words for the operator."""

    outcome: Outcome
    words: str
    latency: float = 0.0

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS


class State(Enum):
    """Where a real server stands."""

    NEW = "new"  # no verdict yet
    UP = "up"
    FAILING = "failing"  # still served; failures are being counted
    DOWN = "down"
    RECOVERING = "recovering"  # not yet served; successes are being counted


SERVING = frozenset({State.UP, State.FAILING})

EVENTS = {
    # (state, passed): next state
    (State.NEW, True): State.UP,
    (State.NEW, False): State.DOWN,
    (State.UP, True): State.UP,
    (State.UP, False): State.FAILING,
    (State.FAILING, True): State.UP,
    (State.FAILING, False): State.FAILING,
    (State.DOWN, True): State.RECOVERING,
    (State.DOWN, False): State.DOWN,
    (State.RECOVERING, True): State.RECOVERING,
    (State.RECOVERING, False): State.DOWN,
}

SETTLED = {State.FAILING: State.DOWN, State.RECOVERING: State.UP}


@dataclass(frozen=True)
class Health:
    """What is believed of one real server, and why.

    since is when the state was entered, falls when it last fell (monotonic seconds, within
    FLAP_WINDOW).  last is the latest verdict; unknowns counts those in a row that told
    nothing.
    """

    state: State = State.NEW
    streak: int = 0
    since: float = 0.0
    falls: tuple[float, ...] = ()
    last: Verdict | None = None
    unknowns: int = 0

    @property
    def serving(self) -> bool:
        return self.state in SERVING


def step(health: Health, verdict: Verdict, now: float, check: Check) -> Health:
    """Return what to believe after one more verdict; an unknown one moves nothing."""
    if verdict.outcome is Outcome.UNKNOWN:
        return replace(health, last=verdict, unknowns=health.unknowns + 1)
    falls = tuple(at for at in health.falls if now - at < FLAP_WINDOW)
    state = EVENTS[health.state, verdict.passed]
    streak = health.streak + 1 if state in SETTLED else 0
    if state in SETTLED and streak >= needed(state, falls, check):
        if state is State.FAILING:
            falls += (now,)
        state, streak = SETTLED[state], 0
    since = health.since if state is health.state else now
    return Health(state, streak, since, falls, verdict)


def needed(state: State, falls: tuple[float, ...], check: Check) -> int:
    """Return how many verdicts in a row end the counting state *state*."""
    if state is State.FAILING:
        return check.fall
    # A server that keeps falling must prove itself for longer each time.
    penalty = 1 << max(0, len(falls) - 1)
    return int(check.rise * min(penalty, MAX_PENALTY))
