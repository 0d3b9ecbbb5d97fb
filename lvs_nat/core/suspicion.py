"""Which real servers may have failed, as far as the kernel's count of connections can tell.

A client that has connected counts as active at once; one whose SYN was never answered, or was
refused, counts as inactive.  But so does one that has got a short answer and gone.  So this is a
reason to ask a server now, and to believe nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lvs_nat.core.cluster import Row
from lvs_nat.model import Destination, Endpoint, ServiceName, Table


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


def suspects(before: Flows, now: Flows) -> Iterator[Row]:
    """Give the destinations that got clients between two looks, and none more that stayed.

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
