"""Whose refusals are kept from clients, so that they try again and reach another real server.

A client repeats a SYN that nobody has answered, and the kernel schedules it anew once the dead
server is out of the table.  That is a rescue only where a check takes the server out, and where
there is another one to go to; else the client had better be told.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.setup import OnFailure
from lvs_nat.model import Endpoint, Forwarding, Listener, Service, Table, Transport


def rescued(cluster: Cluster, actual: Table) -> frozenset[Endpoint]:
    """Return the real servers whose refusals may be kept, the kernel's table being *actual*.

    A refusal does not tell which service it belongs to, so it must be so in all services that
    have the server.
    """
    found: set[Endpoint] = set()
    others: set[Endpoint] = set()
    for name, service in cluster.rules.services.items():
        if isinstance(name, Listener) and name.transport is not Transport.TCP:
            continue
        may = set(_replaceable(cluster, service, actual.get(name)))
        found |= may
        others |= service.destinations.keys() - may
    return frozenset(found - others)


def _replaceable(cluster: Cluster, service: Service, actual: Service | None) -> Iterator[Endpoint]:
    setup = cluster.setup.service(service.name)
    if actual is None or not setup.rescue or setup.on_failure is OnFailure.QUIESCE:
        return
    serving = {
        endpoint
        for endpoint, row in actual.destinations.items()
        if row.weight and _well(cluster, Row(service.name, endpoint))
    }
    for endpoint, destination in service.destinations.items():
        checked = cluster.members[Row(service.name, endpoint)]
        row = actual.destinations.get(endpoint)
        if row and row.weight and endpoint not in serving:
            continue  # it is down but kept: who tried again would meet it again
        if checked and destination.forwarding is Forwarding.MASQUERADE and serving - {endpoint}:
            yield endpoint


def _well(cluster: Cluster, key: Row) -> bool:
    """Say whether a server may take clients by its health; some are kept although it is bad."""
    health = cluster.health(key) if key in cluster.members or key in cluster.sorries else None
    return health is None or health.serving
