"""What somebody else did to the kernel's table, and what that makes of the rules that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import fields, replace

from lvs_nat.core.plan import (
    AddDestination,
    AddService,
    DelService,
    Operation,
    SetDestination,
    SetService,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
    plan,
    service_of,
)
from lvs_nat.core.pool import unscaled
from lvs_nat.core.setup import Own, Setup
from lvs_nat.model import Destination, Ruleset, ServiceName, SyncRole, Timeouts, bare


def lost(expected: Ruleset, actual: Ruleset, added: Set[ServiceName] = frozenset()) -> bool:
    """Say whether a table that should hold services holds none at all, or none but those *added*.

    These we have added ourselves since the last look, and perhaps to an empty table.  One such
    look may be the middle of `ipvsadm -C; ipvsadm -R`; two in a row are a loss.
    """
    added = added if expected.services.keys() - added else frozenset()
    return bool(expected.services) and not actual.services.keys() - added


def changes(before: Ruleset, after: Ruleset) -> tuple[Operation, ...]:
    """Return all that was done to *before* to make it *after*."""
    return plan(after, before, ended=tuple(SyncRole))


def edits(running: Ruleset, expected: Ruleset, actual: Ruleset, own: Own) -> tuple[Operation, ...]:
    """Return what somebody did to turn *expected* into *actual*, as far as it concerns us.

    What is done to a service that the rules that run do not name is nobody's loss: it is
    about to be removed, or it is not ours.  A service that is new is an edit where the whole
    table is ours.
    """
    ours = set(running.services)
    if own is Own.TABLE:
        ours |= actual.services.keys() - expected.services.keys()
    return tuple(
        operation
        for operation in changes(expected, actual)
        if service_of(operation) is None or service_of(operation) in ours
    )


def adopt(running: Ruleset, expected: Ruleset, done: Sequence[Operation]) -> Ruleset:
    """Return *running* with the edits *done* by somebody else taken in.

    Of an edited destination only what the edit changed is taken: what the kernel holds of a
    failed server is not what is meant for it.
    """
    return perform(running, tuple(_meant(running, expected, done)))


def configured(ruleset: Ruleset, setup: Setup) -> Ruleset:
    """Return *ruleset* with configured weights where the kernel's are multiples of them."""
    services = {
        name: replace(
            service,
            destinations={
                endpoint: replace(row, weight=unscaled(row.weight))
                for endpoint, row in service.destinations.items()
            },
        )
        if setup.service(name).slow_start
        else service
        for name, service in ruleset.services.items()
    }
    return replace(ruleset, services=services)


def _meant(running: Ruleset, expected: Ruleset, done: Sequence[Operation]) -> Iterator[Operation]:
    for operation in done:
        if isinstance(operation, SetDestination):
            name, endpoint = operation.name, operation.destination.endpoint
            meant = running.services[name].destinations.get(endpoint)
            before = expected.services[name].destinations[endpoint]
            if meant is None:
                continue  # a sorry server, which no rule has
            operation = SetDestination(name, _merge(meant, before, operation.destination))
        yield operation


def _merge(meant: Destination, before: Destination, after: Destination) -> Destination:
    changed = {
        field.name: getattr(after, field.name)
        for field in fields(Destination)
        if getattr(after, field.name) != getattr(before, field.name)
    }
    return replace(meant, **changed)


def reweighed(rules: Ruleset, operations: Sequence[Operation]) -> Ruleset:
    """Return *rules* with the weights, and no more, that *operations* give to rows of them."""
    given = [(it.name, it.destination) for it in operations if isinstance(it, SetDestination)]
    rows = [
        (name, rules.services[name].destinations.get(row.endpoint), row.weight)
        for name, row in given
        if name in rules.services
    ]
    return perform(
        rules, [SetDestination(name, replace(row, weight=to)) for name, row, to in rows if row]
    )


def perform(ruleset: Ruleset, operations: Sequence[Operation]) -> Ruleset:
    """Return *ruleset* once all *operations* have been done to it; itself if there are none."""
    if not operations:
        return ruleset
    heads = {name: bare(service) for name, service in ruleset.services.items()}
    rows = {name: dict(service.destinations) for name, service in ruleset.services.items()}
    daemons = dict(ruleset.daemons)
    timeouts = ruleset.timeouts
    for operation in operations:
        if isinstance(operation, (AddDestination, SetDestination)):  # nearly all there ever are
            destination = operation.destination
            rows.get(operation.name, {})[destination.endpoint] = destination
        elif isinstance(operation, SetTimeouts):
            timeouts = operation.timeouts.over(timeouts or Timeouts())
        elif isinstance(operation, StartDaemon):
            daemons[operation.daemon.role] = operation.daemon
        elif isinstance(operation, StopDaemon):
            daemons.pop(operation.daemon.role, None)
        elif isinstance(operation, (AddService, SetService)):
            heads[operation.service.name] = operation.service
            rows.setdefault(operation.service.name, {})
        elif isinstance(operation, DelService):
            heads.pop(operation.name, None)
            rows.pop(operation.name, None)
        else:
            rows.get(operation.name, {}).pop(operation.endpoint, None)
    services = {name: replace(head, destinations=rows[name]) for name, head in heads.items()}
    return Ruleset(services, timeouts, daemons)


def united(running: Ruleset, others: Ruleset) -> Ruleset:
    """Return the rules that run, and what *others* name beside them."""
    services = {**others.services, **running.services}
    return replace(running, services=services, daemons={**others.daemons, **running.daemons})


def foreign(running: Ruleset, actual: Ruleset) -> Ruleset:
    """Return the part of *actual* that the rules that run say nothing of."""
    services = {
        name: service for name, service in actual.services.items() if name not in running.services
    }
    return Ruleset(services)
