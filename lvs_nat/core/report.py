"""What the director believes, as one report for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lvs_nat.core.cluster import Cluster, Row, Traffic
from lvs_nat.core.counts import Counts, number
from lvs_nat.core.health import Health
from lvs_nat.core.questions import Expect, Http, Script
from lvs_nat.core.setup import Target
from lvs_nat.core.warmth import Warmth
from lvs_nat.core.wishes import Wanted
from lvs_nat.model import Counters, Endpoint, Listener, Ruleset, Service, ServiceName

# What the kernel has counted for a destination that it does not hold.
UNCOUNTED = Counters()


@dataclass(frozen=True)
class Pulse:
    """What is heard of targets between changes.

    due is the monotonic time of each one's next probe as last heard of, warmth how the last
    ones went.
    """

    due: Mapping[Target, float] = field(default_factory=dict)
    warmth: Mapping[Target, Warmth] = field(default_factory=dict)


COLD = Warmth()


def size(rules: Ruleset) -> str:
    """Return how many services and real servers *rules* have, in words."""
    servers = sum(len(service.destinations) for service in rules.services.values())
    return f"{number(len(rules.services), 'virtual service')}, {number(servers, 'real server')}"


def count(cluster: Cluster) -> Counts:
    """Count the rows of *cluster*: a real server in two services counts twice."""
    everyone, leaving = cluster.healths, cluster.departures
    serving = unchecked = 0
    # Looked up a row at a time only where that may matter: this is counted all day.
    for row, all_ in cluster.members.items():
        if not all_:
            unchecked += 1
        elif leaving and row in leaving:
            health = cluster.health(row)
            serving += health is None or health.serving
        else:
            serving += all(everyone[who].serving for who in all_)
    services, servers = len(cluster.rules.services), len(cluster.members)
    serving += unchecked
    return Counts(services, servers, serving, servers - serving, unchecked)


def report(
    cluster: Cluster,
    actual: Ruleset,
    counters: Traffic,
    pulse: Pulse,
    now: float,
) -> dict[str, Any]:
    """Return services and servers as plain values for JSON.

    Times in the report are seconds from *now*.
    """
    counts = count(cluster)
    return {
        "counts": counts._asdict(),
        "services": [
            _service(cluster, service, actual, counters, pulse, now)
            for service in cluster.rules.services.values()
        ],
    }


def _service(
    cluster: Cluster,
    service: Service,
    actual: Ruleset,
    counters: Traffic,
    pulse: Pulse,
    now: float,
) -> dict[str, Any]:
    choice = cluster.choice(service.name, now)
    return {
        **_name(service.name),
        "scheduler": service.scheduler,
        "persistence": service.persistence,
        "available": choice.quorate,
        "servers": _servers(cluster, service, choice.remarks, actual, counters, pulse, now),
    }


def _name(name: ServiceName) -> dict[str, Any]:
    if isinstance(name, Listener):
        return {"protocol": name.transport.name.lower(), "address": str(name.endpoint)}
    return {"protocol": "fwmark", "address": str(name).partition(" ")[2]}


def _servers(
    cluster: Cluster,
    service: Service,
    remarks: Mapping[Endpoint, str],
    actual: Ruleset,
    counters: Traffic,
    pulse: Pulse,
    now: float,
) -> list[dict[str, Any]]:
    present = actual.services.get(service.name)
    rows = present.destinations if present else {}
    rules = list(service.destinations.values())
    sorry = cluster.standing_in(service.name)
    servers = []
    for destination in (*rules, *sorry):
        key = Row(service.name, destination.endpoint)
        kernel = rows.get(key.endpoint)
        counted = counters.get(key, UNCOUNTED)
        servers.append(
            {
                "address": str(key.endpoint),
                "forwarding": destination.forwarding.name.lower(),
                "sorry": destination in sorry,
                "weight": destination.weight,
                "kernel_weight": kernel.weight if kernel else None,
                **_health(cluster.health(key), now),
                "wish": _wish(cluster.wish(key), now),
                "remark": remarks.get(key.endpoint),
                "next_probe_in": _next(cluster, key, pulse, now),
                "checks": [
                    _check(who, cluster.healths[who], pulse, now) for who in cluster.asked(key)
                ],
                "active_connections": counted.active,
                "inactive_connections": counted.inactive,
                "connections_per_second": counted.connections_rate,
            }
        )
    return servers


def _wish(wanted: Wanted | None, now: float) -> dict[str, Any] | None:
    if wanted is None:
        return None
    left = {"cut_in": wanted.cut, "ends_in": wanted.ends}
    times = {key: None if at is None else max(0.0, round(at - now, 1)) for key, at in left.items()}
    return {"wish": wanted.at(now).value, **times}


def _next(cluster: Cluster, key: Row, pulse: Pulse, now: float) -> float | None:
    """Return the seconds to the next probe of a row, whichever of its checks comes first."""
    members = cluster.asked(key)
    ahead = [_ahead(who, pulse.due[who], now) for who in members if who in pulse.due]
    return min(ahead, default=None)


def _ahead(who: Target, due: float, now: float) -> float:
    """Return the seconds to the next probe; the prober tells only of those that bring news."""
    ahead = due - now
    return round(ahead if ahead > 0 else ahead % who.check.interval, 3)


def _check(who: Target, health: Health, pulse: Pulse, now: float) -> dict[str, Any]:
    due, warmth = pulse.due.get(who), pulse.warmth.get(who, COLD)
    known = {"mean": warmth.mean, "least": warmth.least, "most": warmth.most}
    latency = {key: round(value * 1000, 3) if warmth.most else None for key, value in known.items()}
    return {
        "check": question(who),
        "endpoint": str(who.endpoint),
        "from": str(who.check.way.source) if who.check.way.source else None,
        **_health(health, now),
        "next_probe_in": None if due is None else _ahead(who, due, now),
        "history": warmth.marks,
        "latency": latency,
    }


def question(who: Target) -> str:
    """Return what is asked, in a word or two."""
    if who.path:
        return "return path"
    asked = who.check.question
    if isinstance(asked, Http):
        return f"{'https' if asked.tls else 'http'} {asked.path}"
    if isinstance(asked, Expect):
        return asked.name or asked.kind.value
    if isinstance(asked, Script):
        return f"script {asked.command[0]}"
    return asked.kind.value


def _health(health: Health | None, now: float) -> dict[str, Any]:
    if health is None:
        return {"state": "unchecked", "serving": True, "for": None, "words": "no check", "ms": None}
    last = health.last
    return {
        "state": health.state.value,
        "serving": health.serving,
        "for": round(max(0.0, now - health.since), 1) if health.since else None,
        "words": last.words if last else "not asked yet",
        "ms": round(last.latency * 1000, 3) if last and last.passed else None,
    }
