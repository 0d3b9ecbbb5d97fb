"""What befalls the servers and what is done to the table is logged, that as ipvsadm commands."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import State
from lvs_nat.core.judging import Change
from lvs_nat.core.plan import Operation
from lvs_nat.core.pool import Choice, Wish
from lvs_nat.core.quarrels import Edit
from lvs_nat.core.spelling import spell_operation
from lvs_nat.core.standing import ORDINARY, Standings, reliefs, standings, troubles
from lvs_nat.core.wishes import Wishes, come_due
from lvs_nat.model import ServiceName

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


def log_standings(
    cluster: Cluster, chosen: Mapping[ServiceName, Choice], before: Standings | None
) -> Standings:
    """Say of each virtual service what trouble it has got into and what it is rid of.

    Returns how they stand now.  Where nobody knows how they stood *before*, as at a director's
    first look, nothing is said: the last director has said it.
    """
    after = standings(cluster, chosen, before)
    known = after if before is None else before
    changed = [
        name
        for name in cluster.rules.services.keys() & {**known, **after}.keys()
        if known.get(name) != after.get(name)
    ]
    for name in sorted(changed, key=str)[:LINES]:
        was, now = known.get(name, ORDINARY), after.get(name, ORDINARY)
        if words := troubles(was, now, cluster.setup.service(name)):
            log.error("virtual service %s: %s", name, "; ".join(words))
        if words := reliefs(was, now):
            level = logging.INFO if now.quorate else logging.WARNING
            log.log(level, "virtual service %s: %s", name, "; ".join(words))
    if len(changed) > LINES:
        log.error("and %d more virtual services", len(changed) - LINES)
    return after


def log_wishes(wishes: Wishes, since: float | None, now: float) -> None:
    """Say which of the operator's wishes have come due by themselves after *since*."""
    for whom, it in come_due(wishes, since, now):
        if it.at(now) is Wish.NOTHING:
            log.info("real server %s is in service again: its time out of it is over", whom)
        else:
            log.info("real server %s has had its time to drain: what is left is given up", whom)


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


def log_edits(done: Sequence[Edit]) -> None:
    """Spell what somebody else has done to the table, and say what becomes of it."""
    for it in done[:LINES]:
        log.warning("somebody ran ipvsadm %s (%s)", it.command, it.fate)
    if more := done[LINES:]:
        fates = "; ".join(sorted({it.fate for it in more}))
        log.warning("and %d more changes by somebody (%s)", len(more), fates)


def log_work(done: Sequence[Operation]) -> None:
    """Spell what the director has done to the table."""
    for operation in done[:LINES]:
        log.info("ipvsadm %s", spell_operation(operation))
    if len(done) > LINES:
        log.info("and %d more changes of the table", len(done) - LINES)
