"""What the last director left is believed, as far as it can be: the next one goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import SERVING, Health, State
from lvs_nat.core.leaving import Departure
from lvs_nat.core.memory import Memory
from lvs_nat.core.pool import begun, serves
from lvs_nat.core.setup import Target
from lvs_nat.model import Destination, Table


def resumed(cluster: Cluster, left: Memory, rows: Table, now: float, *, at_once: bool) -> Cluster:
    """Return *cluster* with what its last director knew when it *left* it, and these *rows*.

    at_once says that no time has passed since: what was being counted goes on too.
    """
    recall = left.health_now if at_once else left.health
    known = {who: was for who in cluster.healths if (was := recall(who))}
    cluster = _returning(_recalled(cluster, known, rows), left.ramps, rows, now)
    lost = frozenset(name for name in cluster.rules.services if str(name) in left.lost)
    cluster = replace(cluster, lost=lost, suspected=left.suspected)
    return _leaving(cluster, left.departures, rows, now)


def presumed(cluster: Cluster, rows: Table, now: float, before: Cluster | None = None) -> Cluster:
    """Take *rows*, as the kernel holds them, for serving until a verdict says otherwise.

    A row of weight 0 that should have more is left as it is until its server has passed, unless
    it served *before*: then it is drained, or asks for no clients, or a sorry server stands in.
    Only servers of which nothing is known yet are touched.
    """
    if all(it.state in SERVING for it in cluster.healths.values()):
        return cluster
    healths, departures = dict(cluster.healths), dict(cluster.departures)
    for key, all_ in cluster.members.items():
        present = _row(rows, key) if all_ else None
        if present is None:
            continue
        stood = before.stand(key, now) if before and key in before.members else None
        served = stood is not None and serves(stood)
        asked = stood.health.weight if served and stood and stood.health else None
        well = bool(present.weight or not cluster.meant(key).weight or served)
        for who in all_:
            if healths[who].state is State.NEW:
                healths[who] = Health(State.UP if well else State.DOWN, since=now, weight=asked)
        serving = all(healths[who].serving for who in all_)
        if not serving and key not in departures:
            departures[key] = Departure(now, presumed=True)
    return replace(cluster, healths=healths, departures=departures)


def _recalled(cluster: Cluster, known: Mapping[Target, Health], rows: Table) -> Cluster:
    """Return the cluster with the health that is *known*.

    A server, or a sorry server, that was known to serve must be among *rows*, or it has to
    pass first like any other: nobody knows what has happened to it since.
    """
    asked = (*cluster.members.items(), *cluster.sorries.items())
    held = {who for key, all_ in asked if _row(rows, key) for who in all_}
    recalled = {
        who: known[who]
        for who in cluster.healths
        if who in known and (who in held or not known[who].serving)
    }
    return replace(cluster, healths={**cluster.healths, **recalled})


def _returning(
    cluster: Cluster, ramps: Mapping[tuple[str, str], float], rows: Table, now: float
) -> Cluster:
    """Return the cluster with the slow returns that have not ended.

    They go on from the weights in *rows*, however long nobody was there.
    """
    resuming = {}
    for key in cluster.members if ramps else ():
        since, row = ramps.get(_name(key)), _row(rows, key)
        slow_start = cluster.setup.service(key.service).slow_start
        if since is not None and row and slow_start:
            least = begun(row.weight, cluster.meant(key).weight, slow_start, now)
            resuming[key] = min(now, max(since, least))
    return replace(cluster, ramps={**cluster.ramps, **resuming})


def _leaving(
    cluster: Cluster, departures: Mapping[tuple[str, str], Departure], rows: Table, now: float
) -> Cluster:
    """Return the cluster with the leaving of failed servers as it stood.

    Of those that were in doubt it is to be seen anew whether packets come out of them.
    """
    leaving = {}
    for key, all_ in cluster.members.items() if departures else ():
        found = departures.get(_name(key))
        failed = not all(cluster.healths[who].serving for who in all_)
        if found and failed and (found.removed or _row(rows, key)):
            settled = found.removed or found.flowing
            leaving[key] = found if settled else replace(found, since=now)
    return replace(cluster, departures={**cluster.departures, **leaving})


def _name(key: Row) -> tuple[str, str]:
    return str(key.service), str(key.endpoint)


def _row(rows: Table, key: Row) -> Destination | None:
    service = rows.get(key.service)
    return service.destinations.get(key.endpoint) if service else None
