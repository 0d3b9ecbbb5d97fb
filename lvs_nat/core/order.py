"""The order in which ipvsadm shows services and real servers.

ipvsadm subtracts addresses and firewall marks as 32-bit numbers and takes the difference as
signed (libipvs.c, ipvs_cmp_services and ipvs_cmp_dests), so that its order is a circle:
200.0.0.1 comes before 10.0.0.1, and of three addresses a third of the circle apart each
comes before the next.  There the outcome hangs on the order before sorting and on the way
of sorting, which is the merge sort of glibc's qsort; both are repeated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

from lvs_nat.model import Address, Destination, Mark, Service, ServiceName, Table

Item = TypeVar("Item")
Key = tuple[int, ...]
Keyed = tuple[Key, Item]

_HALF, _WHOLE = 2**31, 2**32
# AF_INET and AF_INET6, which stand in the kernel's rows.
_FAMILY = {4: 2, 6: 10}


def services(table: Table) -> list[Service]:
    """Return the services as ipvsadm orders a table that lists them as *table* does."""
    return _sorted([(_service_key(name), service) for name, service in table.items()])


def destinations(service: Service) -> list[Destination]:
    """Return the destinations as ipvsadm orders them if they were added as they stand."""
    # The kernel lists the newest destination first (ip_vs_ctl.c, ip_vs_add_dest).  The family
    # does not count here: tunnels to the other one stand among the rest.
    rows = [
        ((*_words(endpoint.address), endpoint.port), destination)
        for endpoint, destination in service.destinations.items()
    ]
    return _sorted(rows[::-1])


def _service_key(name: ServiceName) -> Key:
    if isinstance(name, Mark):
        return (name.mark, _FAMILY[name.version], 0, 0, 0, 0, 0, 0)
    endpoint = name.endpoint
    return (
        0,
        _FAMILY[name.version],
        name.transport.value,
        *_words(endpoint.address),
        endpoint.port,
    )


def _words(address: Address) -> Key:
    # An IPv4 address stands in the first word of the union nf_inet_addr.
    value = int(address)
    if address.version == 4:
        return (value, 0, 0, 0)
    return (value >> 96, value >> 64 & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF)


def _sorted(rows: list[Keyed[Item]]) -> list[Item]:
    if len(rows) < 2:
        return [item for _, item in rows]
    starts = [_start(set(column)) for column in zip(*(key for key, _ in rows))]
    if None in starts:
        return [item for _, item in _merged(rows)]
    if any(starts):
        rows = [
            (tuple((word - (start or 0)) % _WHOLE for word, start in zip(key, starts)), item)
            for key, item in rows
        ]
    return [item for _, item in sorted(rows, key=itemgetter(0))]


def _start(values: set[int]) -> int | None:
    """Return the value from which all others are less than half a circle away, if any is."""
    least, most = min(values), max(values)
    if most - least < _HALF:
        return 0
    ring = sorted(values)
    for before, after in zip(ring, ring[1:]):
        if after - before > _HALF:
            return after
    return None


def _merged(rows: Sequence[Keyed[Item]]) -> Sequence[Keyed[Item]]:
    # stdlib/msort.c of glibc: the first half is the smaller one, equals stay.
    if len(rows) < 2:
        return rows
    half = len(rows) // 2
    left, right = list(_merged(rows[:half])), list(_merged(rows[half:]))
    left.reverse()
    right.reverse()
    merged: list[Keyed[Item]] = []
    while left and right:
        merged.append((right if _after(left[-1][0], right[-1][0]) else left).pop())
    return merged + left[::-1] + right[::-1]


def _after(one: Key, other: Key) -> bool:
    for mine, theirs in zip(one, other):
        if mine != theirs:
            return 0 < (mine - theirs) % _WHOLE < _HALF
    return False
