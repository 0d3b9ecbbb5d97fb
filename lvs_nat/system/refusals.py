"""What IPVS says no to, in sentences for operators."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

from lvs_nat.core.plan import (
    AddDestination,
    AddService,
    DelDestination,
    DelService,
    Operation,
    SetDestination,
    SetService,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
    subject,
)
from lvs_nat.errors import KernelError
from lvs_nat.model import Service, ServiceName, TunnelType


@dataclass(frozen=True)
class Refusal:
    """An operation that the kernel did not carry out, and why."""

    operation: Operation
    error: KernelError


NO_SERVICE = "the virtual service is not in the kernel's table: somebody has removed it"
NO_DESTINATION = "it is not in the kernel's table: somebody has removed it"
OUT_OF_RANGE = (
    "the weight must not be negative (it is {weight}), "
    "nor the lower threshold ({lower}) above the upper one ({upper})"
)
NO_ADDRESS_FAMILY = "this kernel's IPVS cannot do IPv{version} (CONFIG_IP_VS_IPV6)"
# What an errno means for one kind of operation (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_sync.c).
REASONS: dict[tuple[type, int], str] = {
    (AddService, errno.EEXIST): "it is in the kernel's table already: somebody else has added it",
    (AddService, errno.EINVAL): "its netmask cannot be used",
    (SetService, errno.EINVAL): "its netmask cannot be used",
    (SetService, errno.ESRCH): NO_DESTINATION,
    (AddDestination, errno.EEXIST): "it is there already: somebody else has added it",
    (AddDestination, errno.ESRCH): NO_SERVICE,
    (AddDestination, errno.ERANGE): OUT_OF_RANGE,
    (SetDestination, errno.ENOENT): NO_DESTINATION,
    (SetDestination, errno.ESRCH): NO_SERVICE,
    (SetDestination, errno.ERANGE): OUT_OF_RANGE,
    (SetTimeouts, errno.EINVAL): "a timeout is too long for the kernel's clock",
    (StartDaemon, errno.EEXIST): "it runs already, with other settings",
    (StartDaemon, errno.ENODEV): "there is no interface {interface}",
    (StartDaemon, errno.EADDRNOTAVAIL): "interface {interface} has no address of the group's kind",
    (StartDaemon, errno.EADDRINUSE): "its port is taken",
    (StartDaemon, errno.EINVAL): (
        "the group is no multicast address, or a service has destinations of the other IP version"
    ),
}
# What an errno means whatever was asked.
ANYWHERE = {
    errno.EPERM: "root (CAP_NET_ADMIN) is needed",
    errno.ENOMEM: "the kernel is short of memory",
    errno.ENOBUFS: "the kernel is short of memory",
    errno.ENOPROTOOPT: "IPVS is being unloaded from the kernel",
    errno.EMSGSIZE: "this kernel's IPVS speaks another version of the protocol",
}
# For these the kernel already is as it was asked to be.
DONE = {
    (DelService, errno.ESRCH),
    (DelService, errno.ENOENT),
    (DelDestination, errno.ESRCH),
    (DelDestination, errno.ENOENT),
    (StopDaemon, errno.ESRCH),
}


def collect(answers: Iterable[tuple[Operation, int]]) -> tuple[Refusal, ...]:
    """Return what was refused, from every operation in order with its errno, 0 for done.

    The destinations of a service that could not be added are not refusals of their own, and
    what was to be removed but is gone is none at all.
    """
    refusals = []
    absent: set[ServiceName] = set()
    for operation, number in answers:
        if not number or (type(operation), number) in DONE:
            continue
        if isinstance(operation, AddService) and number != errno.EEXIST:
            absent.add(operation.service.name)
        if number == errno.ESRCH and _parent(operation) in absent:
            continue
        refusals.append(Refusal(operation, KernelError(sentence(operation, number), number)))
    return tuple(refusals)


def sentence(operation: Operation, number: int) -> str:
    """Say what the kernel refused to do and why, from the errno it gave."""
    return f"{subject(operation)}: {_reason(operation, number)}"


def _parent(operation: Operation) -> ServiceName | None:
    if isinstance(operation, (AddDestination, SetDestination)):
        return operation.name
    return None


def _reason(operation: Operation, number: int) -> str:
    if isinstance(operation, (AddService, SetService)):
        if number == errno.ENOENT:
            return _missing_module(operation.service)
        if number in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            return NO_ADDRESS_FAMILY.format(version=operation.service.name.version)
    if isinstance(operation, (AddDestination, SetDestination)):
        return _destination_reason(operation, number)
    known = REASONS.get((type(operation), number)) or ANYWHERE.get(number) or os.strerror(number)
    if isinstance(operation, StartDaemon):
        return known.format(interface=operation.daemon.interface)
    return known


def _missing_module(service: Service) -> str:
    scheduler = f"the scheduler {service.scheduler} is not there: "
    command = f"modprobe ip_vs_{service.scheduler} failed"
    if not service.persistence_engine:
        return scheduler + command
    engine = service.persistence_engine
    return (
        f"the scheduler {service.scheduler} or the persistence engine {engine} is not there: "
        f"modprobe ip_vs_{service.scheduler} or modprobe ip_vs_pe_{engine} failed"
    )


def _destination_reason(operation: AddDestination | SetDestination, number: int) -> str:
    destination = operation.destination
    version = destination.endpoint.address.version
    if number == errno.EAFNOSUPPORT:
        return NO_ADDRESS_FAMILY.format(version=version)
    if number == errno.EINVAL:
        if version != operation.name.version:
            return (
                "only a tunnel reaches a real server of the other IP version, "
                "and none while a sync daemon runs"
            )
        tunnel = destination.tunnel
        if tunnel and tunnel.kind is TunnelType.GUE and not tunnel.port:
            return "a gue tunnel needs a port"
        return "its address is no host's (multicast, broadcast and the like)"
    known = REASONS.get((type(operation), number)) or ANYWHERE.get(number) or os.strerror(number)
    return known.format(
        weight=destination.weight,
        upper=destination.upper_threshold,
        lower=destination.lower_threshold,
    )
