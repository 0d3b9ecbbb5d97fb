"""Which real servers may have failed, as far as their clients' traffic tells.

That is a reason to ask them now, and to believe nothing.  Where no packets are seen, there is the
kernel's count of connections: a client that has connected is active at once, one whose SYN was
never answered, or was refused, is inactive; but so is one that has got a short answer and gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.setup import OnFailure, Target
from lvs_nat.model import (
    Destination,
    Endpoint,
    Forwarding,
    Listener,
    ServiceName,
    Table,
    Transport,
)


def whom(cluster: Cluster) -> dict[Endpoint, tuple[Target, ...]]:
    """Return the real servers whose TCP passes this director, each with whom to ask about it."""
    found: dict[Endpoint, tuple[Target, ...]] = {}
    for key, targets in cluster.members.items():
        name, endpoint = key
        stream = not isinstance(name, Listener) or name.transport is Transport.TCP
        passes = cluster.meant(key).forwarding is Forwarding.MASQUERADE
        if targets and endpoint.port and stream and passes:
            known = found.get(endpoint, ())
            found[endpoint] = (*known, *targets) if known else targets
    return found


class Flow(NamedTuple):
    """The destinations of a service, and the (active, inactive) connections of each, in order."""

    destinations: Mapping[Endpoint, Destination]
    connections: Sequence[tuple[int, int]]


Flows = Mapping[ServiceName, Flow]


def flows(
    services: Table, connections: Mapping[ServiceName, Sequence[tuple[int, int]]]
) -> dict[ServiceName, Flow]:
    """Return what one look at the kernel's table has shown."""
    return {
        name: Flow(service.destinations, connections[name]) for name, service in services.items()
    }


def busy(before: Flows, now: Flows) -> bool:
    """Say whether clients came or went between two looks."""
    return any(
        flow.connections != before[name].connections for name, flow in now.items() if name in before
    )


def in_turn(found: Sequence[Endpoint], turn: int, most: int) -> Sequence[Endpoint]:
    """Return at most *most* of *found*, other ones at the next *turn*."""
    if len(found) <= most:
        return found
    start = turn * most % len(found)
    return [*found[start:], *found[:start]][:most]


def awaited(cluster: Cluster) -> Iterator[Endpoint]:
    """Yield the failed servers that are removed as soon as nothing more comes out of them."""
    if cluster.suspected is not None:
        return
    for key, departure in cluster.departures.items():
        ends = cluster.setup.service(key.service).on_failure is not OnFailure.QUIESCE
        if ends and not (departure.removed or departure.flowing or departure.way):
            yield key.endpoint


def suspects(before: Flows, now: Flows) -> Iterator[Row]:
    """Yield the destinations that got clients between two looks, and none more that stayed.

    A service that was edited between the looks tells nothing.
    """
    for name, flow in now.items():
        known = before.get(name)
        if known is None or known.destinations is not flow.destinations:
            continue
        if known.connections == flow.connections:
            continue
        for endpoint, (active_before, inactive_before), (active, inactive) in zip(
            flow.destinations, known.connections, flow.connections
        ):
            if inactive > inactive_before and active <= active_before:
                yield Row(name, endpoint)
