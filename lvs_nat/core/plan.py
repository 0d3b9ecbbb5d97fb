"""The one way from the table that is to the table that should be: an ordered list of operations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Union

from lvs_nat.model import (
    Destination,
    Endpoint,
    Forwarding,
    Ruleset,
    Service,
    ServiceName,
    SyncDaemon,
    SyncRole,
    Table,
    Timeouts,
    bare,
)


@dataclass(frozen=True)
class AddService:
    """Create a virtual service; it has no destinations yet."""

    service: Service


@dataclass(frozen=True)
class SetService:
    """Give an existing service this scheduler and these options; destinations stay."""

    service: Service


@dataclass(frozen=True)
class DelService:
    """Remove a service with its destinations."""

    name: ServiceName


@dataclass(frozen=True)
class AddDestination:
    """Put a real server under an existing service."""

    name: ServiceName
    destination: Destination


@dataclass(frozen=True)
class SetDestination:
    """Change weight, forwarding, thresholds or tunnel of a destination; its connections stay."""

    name: ServiceName
    destination: Destination


@dataclass(frozen=True)
class DelDestination:
    """Take a real server out of a service."""

    name: ServiceName
    endpoint: Endpoint


@dataclass(frozen=True)
class SetTimeouts:
    """Set the idle timeouts of connections; 0 keeps the present value."""

    timeouts: Timeouts


@dataclass(frozen=True)
class StartDaemon:
    """Start a connection synchronisation daemon."""

    daemon: SyncDaemon


@dataclass(frozen=True)
class StopDaemon:
    """Stop a connection synchronisation daemon."""

    daemon: SyncDaemon


Operation = Union[
    AddService,
    SetService,
    DelService,
    AddDestination,
    SetDestination,
    DelDestination,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
]


def service_of(operation: Operation) -> ServiceName | None:
    """Return the virtual service that *operation* is about; None if it is about none."""
    if isinstance(operation, (AddService, SetService)):
        return operation.service.name
    if isinstance(operation, (SetTimeouts, StartDaemon, StopDaemon)):
        return None
    return operation.name


def subject(operation: Operation) -> str:
    """Name the part of the table that *operation* is about."""
    if isinstance(operation, (AddService, SetService)):
        return f"virtual service {operation.service.name}"
    if isinstance(operation, DelService):
        return f"virtual service {operation.name}"
    if isinstance(operation, (AddDestination, SetDestination)):
        return f"real server {operation.destination.endpoint} of {operation.name}"
    if isinstance(operation, DelDestination):
        return f"real server {operation.endpoint} of {operation.name}"
    if isinstance(operation, SetTimeouts):
        return "timeouts"
    return f"{operation.daemon.role.name.lower()} sync daemon"


def carried_out(
    operations: Sequence[Operation], refused: Sequence[Operation]
) -> tuple[Operation, ...]:
    """Return those of *operations* that were done: without the very objects in *refused*.

    Nor was anything done to a service that could not be added; the kernel's other refusals
    for it are not among *refused*.
    """
    if not refused:
        return tuple(operations)
    absent = {it.service.name for it in refused if isinstance(it, AddService)}
    undone = set(map(id, refused))
    return tuple(it for it in operations if id(it) not in undone and service_of(it) not in absent)


def plan(
    desired: Ruleset, actual: Ruleset, ended: Collection[SyncRole] = ()
) -> tuple[Operation, ...]:
    """Return the operations that turn *actual* into *desired*; empty if nothing differs.

    Destinations arrive before others leave, so a service is never emptied on the way.  Any
    prefix of the plan is a sound table to stop at: planning again from there finishes the
    work.  What *desired* is silent about (timeouts, sync daemons of a role it does not name)
    stays as it is, but for sync daemons of the roles in *ended*, which are stopped.
    """
    return tuple(_plan(desired, actual, ended))


def _plan(desired: Ruleset, actual: Ruleset, ended: Collection[SyncRole]) -> Iterator[Operation]:
    if desired.timeouts and not _kept(desired.timeouts, actual.timeouts):
        yield SetTimeouts(desired.timeouts)
    yield from _services(desired.services, actual.services)
    yield from _daemons(desired, actual, ended)


def _services(desired: Table, actual: Table) -> Iterator[Operation]:
    for name, service in desired.items():
        present = actual.get(name)
        if present is None:
            yield AddService(bare(service))
            present = bare(service)
        elif bare(service) != bare(present):
            yield SetService(bare(service))
        yield from _destinations(service, present)
    for name in actual:
        if name not in desired:
            yield DelService(name)


def _destinations(desired: Service, actual: Service) -> Iterator[Operation]:
    for endpoint, destination in desired.destinations.items():
        present = actual.destinations.get(endpoint)
        if present is None:
            yield AddDestination(desired.name, destination)
        elif not same(destination, present):
            yield SetDestination(desired.name, destination)
    for endpoint in actual.destinations:
        if endpoint not in desired.destinations:
            yield DelDestination(desired.name, endpoint)


def same(desired: Destination, actual: Destination) -> bool:
    """Say whether the kernel's row is what was asked for.

    A kernel may turn a tunnelled or directly routed destination that is this machine itself
    into LOCAL (net/netfilter/ipvs/ip_vs_ctl.c, __ip_vs_update_dest); asking again would not
    change it.
    """
    if actual.forwarding is Forwarding.LOCAL and desired.forwarding is not Forwarding.MASQUERADE:
        desired = replace(desired, forwarding=Forwarding.LOCAL, tunnel=None)
        actual = replace(actual, tunnel=None)
    return desired == actual


def _kept(desired: Timeouts, actual: Timeouts | None) -> bool:
    if actual is None:
        return False
    wanted = (desired.tcp, desired.tcp_fin, desired.udp)
    present = (actual.tcp, actual.tcp_fin, actual.udp)
    return all(want in (0, have) for want, have in zip(wanted, present))


def _daemons(desired: Ruleset, actual: Ruleset, ended: Collection[SyncRole]) -> Iterator[Operation]:
    for role in SyncRole:
        wanted, present = desired.daemons.get(role), actual.daemons.get(role)
        if wanted and present and _alike(wanted, present):
            continue
        if present and (wanted or role in ended):
            yield StopDaemon(present)
        if wanted:
            yield StartDaemon(wanted)


def _alike(wanted: SyncDaemon, present: SyncDaemon) -> bool:
    # 0 and None leave the value to the kernel, which then reports what it chose.
    return wanted == replace(
        present,
        group=present.group if wanted.group else None,
        port=present.port if wanted.port else 0,
        ttl=present.ttl if wanted.ttl else 0,
        max_length=present.max_length if wanted.max_length else 0,
    )
