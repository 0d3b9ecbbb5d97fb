"""The rows of IPVS as values.

What each row holds is told by the ip_vs_genl_fill_* functions of the kernel's
net/netfilter/ipvs/ip_vs_ctl.c.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from lvs_nat.model import (
    WHOLE_NETMASK,
    WHOLE_PREFIX,
    Address,
    Counters,
    Destination,
    Endpoint,
    Forwarding,
    Listener,
    Mark,
    SchedulerFlags,
    Service,
    ServiceName,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Transport,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)
from lvs_nat.system import ipvs_abi as abi
from lvs_nat.system.netlink import Span, nested, offsets

FORWARDINGS = {it.value: it for it in Forwarding}
TUNNEL_TYPES = {it.value: it for it in TunnelType}
TUNNEL_CHECKSUMS = {it.value: it for it in TunnelChecksum}
NO_TUNNEL = Tunnel()

_U8 = struct.Struct("=B").unpack_from
_U16 = struct.Struct("=H").unpack_from
_U32 = struct.Struct("=I").unpack_from
_I32 = struct.Struct("=i").unpack_from
_U64 = struct.Struct("=Q").unpack_from
_BE16 = struct.Struct("!H").unpack_from
_TWO = struct.Struct("=HHIHHI").unpack_from  # two attributes of 32 bits
# struct ip_vs_stats: kinds 1 to 10 of both nests, connections first, rates last.
STATS = range(1, 11)
# In the older nest all but the bytes have 32 bits.
STATS_READERS = {kind: _U64 if kind in (4, 5) else _U32 for kind in STATS}
LIVE = (abi.DEST_ACTIVE_CONNS, abi.DEST_INACT_CONNS)
COUNTED = (
    abi.DEST_ACTIVE_CONNS,
    abi.DEST_INACT_CONNS,
    abi.DEST_PERSIST_CONNS,
    abi.DEST_STATS,
    abi.DEST_STATS64,
)


def service(span: Span) -> Service | None:
    """Return a service without its destinations.

    None stands for a service that no rule could name: a protocol that IPVS does not balance,
    which the kernel keeps but never uses.
    """
    data, at = _inside(span, abi.CMD_SERVICE)
    name = _name(data, at)
    if name is None:
        return None
    flags = _U32(data, at[abi.SVC_FLAGS])[0]
    persistence = _U32(data, at[abi.SVC_TIMEOUT])[0] if flags & abi.PERSISTENT else 0
    return Service(
        name=name,
        scheduler=_text(data, at[abi.SVC_SCHED_NAME]),
        persistence=persistence,
        netmask=_netmask(data, at[abi.SVC_NETMASK], name.version) if persistence else None,
        flags=SchedulerFlags(flags & abi.SCHEDULER_FLAGS),
        one_packet=bool(flags & abi.ONE_PACKET),
        persistence_engine=_text(data, at[abi.SVC_PE_NAME]) if abi.SVC_PE_NAME in at else "",
    )


def destination(span: Span, version: int) -> Destination:
    """Return a destination of a service of that IP version."""
    data, at = _inside(span, abi.CMD_DEST)
    if abi.DEST_ADDR_FAMILY in at:
        version = abi.VERSIONS[_U16(data, at[abi.DEST_ADDR_FAMILY])[0]]
    endpoint = Endpoint(
        _address(data, at[abi.DEST_ADDR], version), _BE16(data, at[abi.DEST_PORT])[0]
    )
    method = _U32(data, at[abi.DEST_FWD_METHOD])[0] & abi.FORWARDING_MASK
    # BYPASS and the numbers without a name are no forwarding that a rule could ask for either.
    forwarding = FORWARDINGS.get(method, Forwarding.LOCAL)
    return Destination(
        endpoint,
        _I32(data, at[abi.DEST_WEIGHT])[0],
        forwarding,
        _U32(data, at[abi.DEST_U_THRESH])[0],
        _U32(data, at[abi.DEST_L_THRESH])[0],
        _tunnel(data, at) if forwarding is Forwarding.TUNNEL else None,
    )


def identities(spans: Sequence[Span]) -> list[bytes]:
    """Return for each destination what is the same in two readings if nobody has edited it.

    It is the row itself without what is counted in it: ten times cheaper than values.
    """
    if not spans:
        return []
    start = spans[0][1]
    at = {kind: place - start for kind, place in _inside(spans[0], abi.CMD_DEST)[1].items()}
    counted = min(at[kind] for kind in COUNTED if kind in at) - 4
    family = at.pop(abi.DEST_ADDR_FAMILY, 0)
    if any(place > counted for kind, place in at.items() if kind not in COUNTED):
        return [data[start:end] for data, start, end in spans]
    return [
        data[start : start + counted] + data[start + family : start + family + 2]
        for data, start, _ in spans
    ]


def counters(span: Span) -> Counters:
    """Return what was counted for a destination."""
    data, at = _inside(span, abi.CMD_DEST)
    if abi.DEST_STATS64 in at:
        inner = offsets(nested(data, at[abi.DEST_STATS64]))
        totals = [_U64(data, inner[kind])[0] for kind in STATS]
    else:  # before Linux 4.1
        inner = offsets(nested(data, at[abi.DEST_STATS]))
        totals = [STATS_READERS[kind](data, inner[kind])[0] for kind in STATS]
    return Counters(
        _U32(data, at[abi.DEST_ACTIVE_CONNS])[0],
        _U32(data, at[abi.DEST_INACT_CONNS])[0],
        _U32(data, at[abi.DEST_PERSIST_CONNS])[0],
        *totals,
    )


def connections(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return the active and the inactive connections of each destination.

    The two lie side by side, at one place in all rows of a service: read so, 10,000 rows take
    a fortieth of what `counters` takes.
    """
    if not spans:
        return []
    start = spans[0][1]
    place = _inside(spans[0], abi.CMD_DEST)[1][abi.DEST_ACTIVE_CONNS] - 4 - start
    found = []
    for span in spans:
        data, start, _ = span
        _, first, active, _, second, inactive = _TWO(data, start + place)
        if (first, second) != (abi.DEST_ACTIVE_CONNS, abi.DEST_INACT_CONNS):
            at = _inside(span, abi.CMD_DEST)[1]
            active, inactive = (_U32(data, at[it])[0] for it in LIVE)
        found.append((active, inactive))
    return found


def sync_daemon(span: Span) -> SyncDaemon:
    """Return a running connection synchronisation daemon."""
    data, at = _inside(span, abi.CMD_DAEMON)
    group: Address | None = None
    if abi.DAEMON_MCAST_GROUP in at:
        group = _address(data, at[abi.DAEMON_MCAST_GROUP], 4)
    elif abi.DAEMON_MCAST_GROUP6 in at:
        group = _address(data, at[abi.DAEMON_MCAST_GROUP6], 6)
    return SyncDaemon(
        role=SyncRole(_U32(data, at[abi.DAEMON_STATE])[0]),
        interface=_text(data, at[abi.DAEMON_MCAST_IFN]),
        sync_id=_U32(data, at[abi.DAEMON_SYNC_ID])[0],
        group=group,
        port=_U16(data, at[abi.DAEMON_MCAST_PORT])[0] if abi.DAEMON_MCAST_PORT in at else 0,
        ttl=_U8(data, at[abi.DAEMON_MCAST_TTL])[0] if abi.DAEMON_MCAST_TTL in at else 0,
        max_length=_U16(data, at[abi.DAEMON_SYNC_MAXLEN])[0] if abi.DAEMON_SYNC_MAXLEN in at else 0,
    )


def timeouts(span: Span) -> Timeouts:
    """Return the idle timeouts; 0 for a protocol that this kernel does not balance."""
    data, at = span[0], offsets(span)
    kinds = (abi.CMD_TIMEOUT_TCP, abi.CMD_TIMEOUT_TCP_FIN, abi.CMD_TIMEOUT_UDP)
    return Timeouts(*(_U32(data, at[kind])[0] if kind in at else 0 for kind in kinds))


def info(span: Span) -> tuple[tuple[int, int, int], int]:
    """Return the version of IPVS and the size of its connection table, in buckets."""
    data, at = span[0], offsets(span)
    version = _U32(data, at[abi.INFO_VERSION])[0]
    size: int = _U32(data, at[abi.INFO_CONN_TAB_SIZE])[0]
    return (version >> 16 & 0xFF, version >> 8 & 0xFF, version & 0xFF), size


def _inside(span: Span, kind: int) -> tuple[bytes, dict[int, int]]:
    data = span[0]
    return data, offsets(nested(data, offsets(span)[kind]))


def _name(data: bytes, at: dict[int, int]) -> ServiceName | None:
    version = abi.VERSIONS[_U16(data, at[abi.SVC_AF])[0]]
    if abi.SVC_FWMARK in at:
        return Mark(_U32(data, at[abi.SVC_FWMARK])[0], version)
    try:
        transport = Transport(_U16(data, at[abi.SVC_PROTOCOL])[0])
    except ValueError:
        return None
    address = _address(data, at[abi.SVC_ADDR], version)
    return Listener(transport, Endpoint(address, _BE16(data, at[abi.SVC_PORT])[0]))


def _address(data: bytes, start: int, version: int) -> Address:
    if version == 6:
        return IPv6Address(data[start : start + 16])
    return IPv4Address(data[start : start + 4])


def _netmask(data: bytes, start: int, version: int) -> IPv4Address | int | None:
    if version == 6:
        prefix: int = _U32(data, start)[0]
        return None if prefix == WHOLE_PREFIX else prefix
    mask = IPv4Address(data[start : start + 4])
    return None if mask == WHOLE_NETMASK else mask


def _tunnel(data: bytes, at: dict[int, int]) -> Tunnel:
    if abi.DEST_TUN_TYPE not in at:  # before Linux 5.3
        return NO_TUNNEL
    return Tunnel(
        TUNNEL_TYPES.get(_U8(data, at[abi.DEST_TUN_TYPE])[0], TunnelType.IPIP),
        _BE16(data, at[abi.DEST_TUN_PORT])[0],
        TUNNEL_CHECKSUMS.get(_U16(data, at[abi.DEST_TUN_FLAGS])[0], TunnelChecksum.NONE),
    )


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(0, start)].decode("ascii", "replace")
