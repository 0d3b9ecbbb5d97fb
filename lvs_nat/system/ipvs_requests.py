"""Operations as requests to IPVS.

Which attributes a request must have, and which of them are big-endian, is told by the
ip_vs_genl_parse_* functions of the kernel's net/netfilter/ipvs/ip_vs_ctl.c.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Callable

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
)
from lvs_nat.model import (
    WHOLE_NETMASK,
    WHOLE_PREFIX,
    Destination,
    Endpoint,
    Forwarding,
    Mark,
    Service,
    ServiceName,
    SyncDaemon,
    Timeouts,
    Tunnel,
)
from lvs_nat.system import ipvs_abi as abi
from lvs_nat.system.netlink import Request, attribute

_U8 = struct.Struct("=B")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_BE16 = struct.Struct("!H")
_FLAGS = struct.Struct("=II")
# Each attribute of a destination has one size, so all are packed at once: length, kind, value.
_DESTINATION_NAME = struct.Struct("=HH HH16s HH2sxx HHHxx")
_DESTINATION_REST = struct.Struct("=HHI HHi HHI HHI")
_TUNNEL = struct.Struct("=HHBxxx HH2sxx HHHxx")


def u16(value: int) -> bytes:
    """Pack 16 bits in the machine's byte order."""
    return _U16.pack(value)


def u32(value: int) -> bytes:
    """Pack 32 bits in the machine's byte order."""
    return _U32.pack(value)


def request(operation: Operation) -> Request:
    """Return the request that asks the kernel for one operation."""
    return REQUESTS[type(operation)](operation)


@lru_cache(maxsize=1)  # requests about one service follow one another
def service_name(name: ServiceName) -> bytes:
    """Pack which service is meant, as every request about a service or a destination needs it."""
    return attribute(abi.CMD_SERVICE, _name(name))


def _name(name: ServiceName) -> bytes:
    family = attribute(abi.SVC_AF, u16(abi.FAMILIES[name.version]))
    if isinstance(name, Mark):
        return family + attribute(abi.SVC_FWMARK, u32(name.mark))
    endpoint = name.endpoint
    return (
        family
        + attribute(abi.SVC_PROTOCOL, u16(name.transport.value))
        + attribute(abi.SVC_ADDR, endpoint.address.packed.ljust(16, b"\0"))
        + attribute(abi.SVC_PORT, _BE16.pack(endpoint.port))
    )


def _service(service: Service) -> bytes:
    flags = int(service.flags)
    flags |= abi.PERSISTENT if service.persistence else 0
    flags |= abi.ONE_PACKET if service.one_packet else 0
    rows = (
        _name(service.name)
        + attribute(abi.SVC_SCHED_NAME, service.scheduler.encode() + b"\0")
        + attribute(abi.SVC_FLAGS, _FLAGS.pack(flags, abi.SETTABLE))
        + attribute(abi.SVC_TIMEOUT, u32(service.persistence))
        + attribute(abi.SVC_NETMASK, _netmask(service))
    )
    if service.persistence_engine:
        rows += attribute(abi.SVC_PE_NAME, service.persistence_engine.encode() + b"\0")
    return attribute(abi.CMD_SERVICE, rows)


def _netmask(service: Service) -> bytes:
    # A prefix length travels in the machine's byte order, an IPv4 mask in the network's.
    if service.name.version == 6:
        prefix = service.netmask if isinstance(service.netmask, int) else WHOLE_PREFIX
        return u32(prefix)
    mask = service.netmask if isinstance(service.netmask, IPv4Address) else WHOLE_NETMASK
    return mask.packed


# Thousands of destinations are packed in a row: hence one call for each, and little else.
# fmt: off
def _destination_name(endpoint: Endpoint, inside: int) -> bytes:
    # inside: how many bytes follow within the same nest.
    address = endpoint.address
    return _DESTINATION_NAME.pack(
        _DESTINATION_NAME.size + inside, abi.CMD_DEST,
        20, abi.DEST_ADDR, address.packed,
        6, abi.DEST_PORT, _BE16.pack(endpoint.port),
        6, abi.DEST_ADDR_FAMILY, abi.FAMILIES[address.version],
    )


def _destination(destination: Destination) -> bytes:
    tunnel = _tunnel(destination.tunnel) if destination.tunnel else _WITHOUT_TUNNEL
    rest = _DESTINATION_REST.pack(
        8, abi.DEST_FWD_METHOD, _FORWARDING[destination.forwarding],
        8, abi.DEST_WEIGHT, destination.weight,
        8, abi.DEST_U_THRESH, destination.upper_threshold,
        8, abi.DEST_L_THRESH, destination.lower_threshold,
    )
    return _destination_name(destination.endpoint, len(rest) + len(tunnel)) + rest + tunnel


def _tunnel(tunnel: Tunnel) -> bytes:
    return _TUNNEL.pack(
        5, abi.DEST_TUN_TYPE, tunnel.kind.value,
        6, abi.DEST_TUN_PORT, _BE16.pack(tunnel.port),
        6, abi.DEST_TUN_FLAGS, tunnel.checksum.value,
    )
# fmt: on


_WITHOUT_TUNNEL = _tunnel(Tunnel())
_FORWARDING = {it: it.value for it in Forwarding}


def _timeouts(timeouts: Timeouts) -> bytes:
    # The kernel takes 0 as "keep" (ip_vs_set_timeout).
    return (
        attribute(abi.CMD_TIMEOUT_TCP, u32(timeouts.tcp))
        + attribute(abi.CMD_TIMEOUT_TCP_FIN, u32(timeouts.tcp_fin))
        + attribute(abi.CMD_TIMEOUT_UDP, u32(timeouts.udp))
    )


def _daemon(daemon: SyncDaemon) -> bytes:
    rows = (
        attribute(abi.DAEMON_STATE, u32(daemon.role.value))
        + attribute(abi.DAEMON_MCAST_IFN, daemon.interface.encode() + b"\0")
        + attribute(abi.DAEMON_SYNC_ID, u32(daemon.sync_id))
    )
    if daemon.group:
        kind = abi.DAEMON_MCAST_GROUP if daemon.group.version == 4 else abi.DAEMON_MCAST_GROUP6
        rows += attribute(kind, daemon.group.packed)
    if daemon.port:
        rows += attribute(abi.DAEMON_MCAST_PORT, u16(daemon.port))
    if daemon.ttl:
        rows += attribute(abi.DAEMON_MCAST_TTL, _U8.pack(daemon.ttl))
    if daemon.max_length:
        rows += attribute(abi.DAEMON_SYNC_MAXLEN, u16(daemon.max_length))
    return attribute(abi.CMD_DAEMON, rows)


REQUESTS: dict[type, Callable[..., Request]] = {
    AddService: lambda it: (abi.NEW_SERVICE, _service(it.service)),
    SetService: lambda it: (abi.SET_SERVICE, _service(it.service)),
    DelService: lambda it: (abi.DEL_SERVICE, service_name(it.name)),
    AddDestination: lambda it: (abi.NEW_DEST, service_name(it.name) + _destination(it.destination)),
    SetDestination: lambda it: (abi.SET_DEST, service_name(it.name) + _destination(it.destination)),
    DelDestination: lambda it: (
        abi.DEL_DEST,
        service_name(it.name) + _destination_name(it.endpoint, 0),
    ),
    SetTimeouts: lambda it: (abi.SET_CONFIG, _timeouts(it.timeouts)),
    StartDaemon: lambda it: (abi.NEW_DAEMON, _daemon(it.daemon)),
    StopDaemon: lambda it: (abi.DEL_DAEMON, _daemon(it.daemon)),
}
