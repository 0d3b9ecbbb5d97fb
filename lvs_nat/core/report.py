"""What the director believes, as one report for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvs_nat.core.cluster import Cluster, Row, Traffic
from lvs_nat.core.health import Health
from lvs_nat.model import Counters, Listener, Ruleset, Service, ServiceName

# What the kernel has counted for a destination that it does not hold.
UNCOUNTED = Counters()


@dataclass(frozen=True)
class Counts:
    """How many services and real servers there are, and how the servers fare."""

    services: int
    servers: int
    serving: int
    failed: int
    unchecked: int

    def __str__(self) -> str:
        servers = f"{self.serving} of {number(self.servers, 'real server')} serving"
        unchecked = f", {self.unchecked} unchecked" if self.unchecked else ""
        return f"{number(self.services, 'virtual service')}, {servers}{unchecked}"


def number(count: int, what: str) -> str:
    """Return "1 real server", "2 real servers"."""
    return f"{count} {what}{'s' * (count != 1)}"


def size(rules: Ruleset) -> str:
    """Return how many services and real servers *rules* have, in words."""
    servers = sum(len(service.destinations) for service in rules.services.values())
    return f"{number(len(rules.services), 'virtual service')}, {number(servers, 'real server')}"


def count(cluster: Cluster) -> Counts:
    """Count the rows of *cluster*: a real server in two services counts twice."""
    healths = [cluster.health(row) for row in cluster.members]
    unchecked = sum(health is None for health in healths)
    serving = sum(health is None or health.serving for health in healths)
    return Counts(
        len(cluster.rules.services), len(healths), serving, len(healths) - serving, unchecked
    )


def report(
    cluster: Cluster,
    actual: Ruleset,
    counters: Traffic,
    due: Mapping[Row, float],
    now: float,
) -> dict[str, Any]:
    """Return services and servers as plain values for JSON.

    due holds the monotonic time of each row's next probe as last heard of; times in the
    report are seconds from *now*.
    """
    counts = count(cluster)
    return {
        "counts": {**vars(counts)},
        "services": [
            {
                **_name(name),
                "scheduler": service.scheduler,
                "persistence": service.persistence,
                "servers": _servers(cluster, service, actual, counters, due, now),
            }
            for name, service in cluster.rules.services.items()
        ],
    }


def _name(name: ServiceName) -> dict[str, Any]:
    if isinstance(name, Listener):
        return {"protocol": name.transport.name.lower(), "address": str(name.endpoint)}
    return {"protocol": "fwmark", "address": str(name).partition(" ")[2]}


def _servers(
    cluster: Cluster,
    service: Service,
    actual: Ruleset,
    counters: Traffic,
    due: Mapping[Row, float],
    now: float,
) -> list[dict[str, Any]]:
    present = actual.services.get(service.name)
    rows = present.destinations if present else {}
    servers = []
    for endpoint, destination in service.destinations.items():
        key = Row(service.name, endpoint)
        kernel = rows.get(endpoint)
        counted = counters.get(key, UNCOUNTED)
        servers.append(
            {
                "address": str(endpoint),
                "forwarding": destination.forwarding.name.lower(),
                "weight": destination.weight,
                "kernel_weight": kernel.weight if kernel else None,
                **_health(cluster.health(key), now),
                "next_probe_in": _next(cluster, key, due, now),
                "active_connections": counted.active,
                "inactive_connections": counted.inactive,
                "connections_per_second": counted.connections_rate,
            }
        )
    return servers


def _next(cluster: Cluster, key: Row, due: Mapping[Row, float], now: float) -> float | None:
    """Return the seconds to the next probe; the prober tells only of those that bring news."""
    who = cluster.members[key]
    if who is None or key not in due:
        return None
    ahead = due[key] - now
    return round(ahead if ahead > 0 else ahead % who.check.interval, 3)


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
