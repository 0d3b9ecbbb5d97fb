"""What is wrong with a virtual service as a whole: no quorum, sorry servers, dead ones kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import State
from lvs_nat.core.pool import STANDING_IN, Choice
from lvs_nat.core.setup import ServiceSetup
from lvs_nat.model import Endpoint, ServiceName

# One line names no more servers than these.
NAMED = 5


@dataclass(frozen=True)
class Standing:
    """How one service stands: whether enough servers serve, and the remarks on its rows."""

    quorate: bool = True
    remarks: Mapping[Endpoint, str] = field(default_factory=dict)


ORDINARY = Standing()
# Those of the services that are not ORDINARY.
Standings = Mapping[ServiceName, Standing]


def standings(
    cluster: Cluster, chosen: Mapping[ServiceName, Choice], before: Standings | None
) -> Standings:
    """Return how services stand, given whom was *chosen* for those that have a choice.

    What nobody knows yet is no news: a service with a server that has had no verdict stands as
    it did *before*, and so do all while the director suspects itself.
    """
    known = before or {}
    if cluster.suspected is not None:
        return known
    found = {}
    for name, choice in chosen.items():
        if choice.quorate and not choice.remarks and name not in known:
            continue
        now = Standing(choice.quorate, choice.remarks)
        if _unjudged(cluster, name):
            now = known.get(name, ORDINARY)
        if now != ORDINARY:
            found[name] = now
    return found


def _unjudged(cluster: Cluster, name: ServiceName) -> bool:
    """Whether nobody can say yet how a service stands; one without servers does not stand."""
    keys = [Row(name, endpoint) for endpoint in cluster.rules.services[name].destinations]
    return not keys or any(map(partial(_unknown, cluster), keys))


def _unknown(cluster: Cluster, key: Row) -> bool:
    departure = cluster.departures.get(key)
    guessed = departure is not None and departure.presumed
    healths = (cluster.healths[who] for who in cluster.members[key])
    return any(it.last is None and (guessed or it.state is State.NEW) for it in healths)


def troubles(before: Standing, after: Standing, setup: ServiceSetup) -> list[str]:
    """Return what has become worse, in words."""
    words = [f"quorum lost: {_lack(setup)}"] if before.quorate and not after.quorate else []
    new: dict[str, list[Endpoint]] = {}
    for endpoint, remark in after.remarks.items():
        if before.remarks.get(endpoint) != remark:
            new.setdefault(remark, []).append(endpoint)
    for remark, found in new.items():
        if remark == STANDING_IN:
            words.append(f"{_sorry(found)} in")
        else:
            words.append(f"{_named('real server', found)} {_be(found)} {remark}")
    return words


def reliefs(before: Standing, after: Standing) -> list[str]:
    """Return what is over, in words."""
    words = ["quorum regained"] if after.quorate and not before.quorate else []
    gone = before.remarks.keys() - after.remarks.keys()
    sorry = [it for it in before.remarks if it in gone and before.remarks[it] == STANDING_IN]
    kept = [it for it in before.remarks if it in gone and it not in sorry]
    if sorry:
        words.append(f"{_sorry(sorry)} in no more")
    if kept:
        words.append(f"{_named('real server', kept)} {_be(kept)} no longer kept while down")
    return words


def _lack(setup: ServiceSetup) -> str:
    if setup.quorum == 1:
        return "none of its real servers takes new clients"
    also = f", hysteresis = {setup.hysteresis}" if setup.hysteresis else ""
    return f"too little weight takes new clients (quorum = {setup.quorum}{also})"


def _sorry(found: list[Endpoint]) -> str:
    return f"{_named('sorry server', found)} {'stands' if len(found) == 1 else 'stand'}"


def _be(found: list[Endpoint]) -> str:
    return "is" if len(found) == 1 else "are"


def _named(what: str, found: list[Endpoint]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    names = ", ".join(map(str, found[:NAMED]))
    return f"{what}{'' if len(found) == 1 else 's'} {names}{more}"
