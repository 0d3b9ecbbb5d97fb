"""What befalls the servers and what is done to the table is logged, that as ipvsadm commands."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from lvs_nat.core.cluster import Row
from lvs_nat.core.health import State
from lvs_nat.core.judging import Change
from lvs_nat.core.plan import Operation
from lvs_nat.core.spelling import spell_operation

log = logging.getLogger(__name__)

# Of a longer plan only this many lines are logged one by one.
LINES = 100


def log_suspicion(suspected: bool) -> None:
    """Say whether the director takes its own link for the one that is broken."""
    if suspected:
        log.error(
            "every real server fell silent at once: this director's own link or gateway may be "
            "broken, so none is taken out"
        )
    else:
        log.warning("a real server answers again: the director is no longer suspected")


def log_flowing(rows: Iterable[Row]) -> None:
    """Say of each row that it serves although no question finds a way back from it."""
    for key in rows:
        log.error("real server %s stays in service: %s", key.endpoint, FLOWING)


FLOWING = (
    "its answers to the virtual address do not come back, but packets of its clients come out "
    "of it; `from = none` in lvs-nat.conf ends such questions"
)


def log_change(change: Change) -> None:
    """Say what a verdict has made of a real server."""
    words = change.after.last.words if change.after.last else ""
    where = change.target.endpoint
    weight = change.after.weight
    if weight is not None and weight != change.before.weight:
        what = f"{weight.value:.0%} of its weight" if weight.share else f"weight {weight.value:g}"
        log.info("real server %s asks for %s: %s", where, what, words)
    if change.after.unknowns:
        state = change.after.state.value
        log.error("real server %s cannot be asked and is taken to be %s: %s", where, state, words)
    elif change.after.state is State.DOWN and change.before.state is not State.RECOVERING:
        log.warning("real server %s is down: %s", where, words)
    elif change.after.state is State.UP and change.before.state is not State.FAILING:
        log.info("real server %s is up: %s", where, words)
    else:
        log.debug("real server %s is %s: %s", where, change.after.state.value, words)


def log_work(done: Sequence[Operation]) -> None:
    """Spell what the director has done to the table."""
    for operation in done[:LINES]:
        log.info("ipvsadm %s", spell_operation(operation))
    if len(done) > LINES:
        log.info("and %d more changes of the table", len(done) - LINES)
