"""When a real server counts as up: the whole of rise, fall and flap.

Two tables hold the machine.  EVENTS says what one verdict does; SETTLED says where a streak
ends once it is long enough.  How long is long enough is `needed`, and nothing else in the
house counts verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from lvs_nat.core.setup import Check, OnUnknown
from lvs_nat.model import WEIGHT_MAX

# A weight that a server asks for is followed when it differs by this share of the present one.
DAMPING = 0.1
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
    MUTE = 5  # it took the connection, and said nothing before the deadline


class Weight(NamedTuple):
    """The weight that a server asks for: a share of its configured one, or a weight itself."""

    value: float
    share: bool = True

    def of(self, configured: int) -> int:
        """Return the kernel's weight; what asks for more than nothing never becomes 0."""
        wanted = configured * self.value if self.share else self.value
        return 0 if wanted <= 0 else min(max(1, round(wanted)), WEIGHT_MAX)


@dataclass(frozen=True)
class Verdict:
    """What one probe found; latency in seconds, words for the operator."""

    outcome: Outcome
    words: str
    latency: float = 0.0
    weight: Weight | None = None

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

# Of several questions the one that keeps a server out tells what becomes of it.
WORST = {
    state: place
    for place, state in enumerate(
        (State.DOWN, State.NEW, State.RECOVERING, State.FAILING, State.UP)
    )
}

SETTLED = {State.FAILING: State.DOWN, State.RECOVERING: State.UP}


@dataclass(frozen=True)
class Health:
    """What is believed of one real server, and why.

    since is when the state was entered, falls when it last fell (monotonic seconds, within
    FLAP_WINDOW).  last is the latest verdict; unknowns counts those in a row that told
    nothing.  weight is what the server asks for, if anything.
    """

    state: State = State.NEW
    streak: int = 0
    since: float = 0.0
    falls: tuple[float, ...] = ()
    last: Verdict | None = None
    unknowns: int = 0
    weight: Weight | None = None

    @property
    def serving(self) -> bool:
        return self.state in SERVING


def step(health: Health, verdict: Verdict, now: float, check: Check) -> Health:
    """Return what to believe after one more verdict.

    An unknown one moves nothing, but `fall` of them in a row do what the check says.
    """
    if verdict.outcome is Outcome.UNKNOWN:
        return _unknown(replace(health, last=verdict, unknowns=health.unknowns + 1), now, check)
    falls = tuple(at for at in health.falls if now - at < FLAP_WINDOW)
    state = EVENTS[health.state, verdict.passed]
    streak = health.streak + 1 if state in SETTLED else 0
    if state in SETTLED and streak >= needed(state, falls, check):
        if state is State.FAILING:
            falls += (now,)
        state, streak = SETTLED[state], 0
    since = health.since if state is health.state else now
    weight = damped(health.weight, verdict.weight) if verdict.passed else health.weight
    return Health(state, streak, since, falls, verdict, weight=weight)


def joined(healths: Sequence[Health], configured: int) -> Health:
    """Return the health of a server that several questions are asked: the worst of theirs.

    The weight is the one asked for that comes to the least of the *configured* one.
    """
    if len(healths) == 1:
        return healths[0]
    worst = min(healths, key=lambda health: WORST[health.state])
    asked = [health.weight for health in healths if health.weight is not None]
    return replace(worst, weight=min(asked, default=None, key=lambda it: it.of(configured)))


def _unknown(health: Health, now: float, check: Check) -> Health:
    lasting = health.unknowns >= check.fall and check.on_unknown is OnUnknown.DOWN
    if not lasting or health.state in (State.NEW, State.DOWN):
        return health
    return replace(health, state=State.DOWN, streak=0, since=now)


def damped(present: Weight | None, wanted: Weight | None) -> Weight | None:
    """Return the weight to go by: the present one where the wanted one is nearly the same.

    To nothing, to everything and from nothing it goes at once.
    """
    if present is None or wanted is None or present.share is not wanted.share:
        return wanted
    if wanted.value in (0.0, 1.0) or present.value == 0.0:
        return wanted
    near = abs(wanted.value - present.value) < DAMPING * present.value
    return present if near else wanted


def needed(state: State, falls: tuple[float, ...], check: Check) -> int:
    """Return how many verdicts in a row end the counting state *state*."""
    if state is State.FAILING:
        return check.fall
    # A server that keeps falling must prove itself for longer each time.
    penalty = 1 << max(0, len(falls) - 1)
    return int(check.rise * min(penalty, MAX_PENALTY))
