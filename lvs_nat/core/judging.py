"""What verdicts make of the cluster: who falls, who returns, whom to suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Health, Outcome, State, Verdict, joined, step
from lvs_nat.core.leaving import Departure, depart
from lvs_nat.core.questions import CheckKind
from lvs_nat.core.setup import Target

NO_WAY = "no return path: is this director its default gateway?"
# What a broken link of our own looks like.
UNHEARD = frozenset({Outcome.SILENT, Outcome.UNKNOWN})


class Change(NamedTuple):
    """One real server's health before and after a verdict that is news."""

    target: Target
    before: Health
    after: Health


def judged(
    cluster: Cluster, verdicts: Sequence[tuple[Target, Verdict]], now: float
) -> tuple[Cluster, tuple[Change, ...]]:
    """Return the cluster once *verdicts* are known, and each change that they made.

    A change is one of state or weight, or that a server can be asked no more: as many
    verdicts in a row as make others fall have told nothing.
    """
    healths = dict(cluster.healths)
    changes = []
    repeated: tuple[Target, Verdict] | None = None
    for news in verdicts:
        if news is repeated:
            continue
        who, verdict = news
        before = healths.get(who)
        if before is None:
            continue  # asked before a reload took it away
        if who.path:
            found = _way(cluster, who, verdict, healths)
            if found is None:
                continue
            verdict = found
        healths[who] = after = step(before, verdict, now, who.check)
        moved = after.state is not before.state or after.weight != before.weight
        if moved or after.unknowns == who.check.fall:
            changes.append(Change(who, before, after))
        elif before.last and before.last.outcome is verdict.outcome and settled(after):
            repeated = news  # as a probe that ended so many times is told: they have no more to add
    cluster = replace(cluster, healths=healths)
    fallen = {change.target for change in changes if change.before.serving}
    if changes or any(verdict.outcome is Outcome.REFUSED for _, verdict in verdicts):
        cluster = _departing(cluster, fallen, _risen(changes), now)
    if changes or cluster.suspected is not None:
        cluster = _suspecting(cluster, now)
    return cluster, tuple(changes)


def settled(health: Health) -> bool:
    """Say whether more verdicts like the last one would change nothing."""
    return not (health.streak or health.unknowns)


def _way(
    cluster: Cluster, who: Target, verdict: Verdict, healths: Mapping[Target, Health]
) -> Verdict | None:
    """Return what a question from the virtual address says of the way back; None: nothing.

    A refusal has found its way, and so has who takes the connection.  While the server does
    not answer the director either, silence is its own; a wrong answer is one.
    """
    if verdict.outcome in (Outcome.REFUSED, Outcome.MUTE):
        return Verdict(Outcome.PASS, "its answers come back", verdict.latency)
    if verdict.outcome in (Outcome.PASS, Outcome.UNKNOWN):
        return verdict
    if any(_unheard(healths[other]) for other in cluster.beside[who]):
        return None
    return replace(verdict, words=NO_WAY)


def _unheard(health: Health) -> bool:
    answered = health.last is not None and health.last.outcome in (Outcome.FAIL, Outcome.MUTE)
    return health.state is not State.UP and not answered


def _risen(changes: Sequence[Change]) -> set[Target]:
    """Return who serves again; whoever serves from its first verdict on has never been away."""
    return {
        it.target
        for it in changes
        if it.after.serving and not it.before.serving and it.before.state is not State.NEW
    }


def _departing(cluster: Cluster, fallen: set[Target], risen: set[Target], now: float) -> Cluster:
    """Let servers go that have just *fallen*; forget the leaving of those that are back.

    One that has *risen* was away although it may never have left: it was down at the start.
    """
    departures, back = {}, []
    for key, all_ in cluster.members.items():
        failed = [who for who in all_ if not cluster.healths[who].serving]
        if not failed:
            back += [key] if key in cluster.departures or not risen.isdisjoint(all_) else []
            continue
        known = cluster.departures.get(key)
        if known or not fallen.isdisjoint(failed):
            worst = joined([_own(who, cluster.healths[who], key) for who in failed], 1)
            first = depart(key.service, worst, cluster.setup.service(key.service), now)
            way = all(who.path for who in failed)
            departures[key] = _gone_on(known, first, way) if known else replace(first, way=way)
    return replace(cluster, departures=departures).returning(back, now)


def _gone_on(known: Departure, first: Departure, way: bool) -> Departure:
    """Return how a server leaves that was leaving, if it would now take this *first* step.

    Where another question has failed than before, the doubt is another one and begins anew.
    """
    first = replace(first, way=way, presumed=known.presumed)
    if first.removed:
        return first
    if known.removed:
        return replace(known, way=way, flowing=False)
    return known if known.way is way else replace(first, excused=known.excused)


def _own(who: Target, health: Health, key: Row) -> Health:
    """Return what *health* says of the row: a refusal elsewhere leaves the server in doubt."""
    if who.endpoint == key.endpoint or health.last is None:
        return health
    if health.last.outcome is not Outcome.REFUSED:
        return health
    return replace(health, last=replace(health.last, outcome=Outcome.FAIL))


def _suspecting(cluster: Cluster, now: float) -> Cluster:
    """Suspect ourselves once every server is silent that answered a moment ago.

    The first answer ends the suspicion, be it a refusal.
    """
    asked = {who: it for who, it in cluster.healths.items() if _by_our_link(who)}
    told = [it.last.outcome for it in asked.values() if it.last]
    if any(it.serving for it in asked.values()) or not UNHEARD.issuperset(told):
        return _trusting(cluster, now) if cluster.suspected is not None else cluster
    if cluster.suspected is not None or len(told) < len(asked):
        return cluster
    window = 2 * max(who.check.interval + who.check.timeout for who in asked)
    fell = {
        who: it.falls[-1]
        for who, it in asked.items()
        if it.state is State.DOWN and it.falls and now - it.falls[-1] <= window
    }
    if len({who.endpoint.address for who in fell}) < 2:
        return cluster
    return replace(cluster, suspected=min(fell.values()))


def _by_our_link(who: Target) -> bool:
    """Whether an answer to this question tells that our own link works, a client's way apart."""
    return not who.path and who.check.kind not in (CheckKind.FILE, CheckKind.BFD)


def _trusting(cluster: Cluster, now: float) -> Cluster:
    """End the suspicion; whoever is still silent begins to leave only now."""
    began = cluster.suspected or 0.0
    departures = {
        key: it
        if it.refused or it.since < began
        else Departure(now, way=it.way, excused=True, presumed=it.presumed)
        for key, it in cluster.departures.items()
    }
    return replace(cluster, suspected=None, departures=departures)
