"""The words of the house: virtual services, destinations and the tables they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntFlag
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Union

Address = Union[IPv4Address, IPv6Address]

# Debian's ipvsadm and the kernel take any non-negative int (ip_vs.h: __ip_vs_dest weight).
WEIGHT_MAX = 2**31 - 1
# What takes a whole address: as a netmask of IPv4, as a prefix length of IPv6.
WHOLE_NETMASK = IPv4Address(2**32 - 1)
WHOLE_PREFIX = 128


class Transport(Enum):
    """The protocol a virtual service listens with, numbered as IP numbers it."""

    TCP = 6
    UDP = 17
    SCTP = 132


class Forwarding(Enum):
    """How the director hands a packet on, numbered as IP_VS_CONN_F_FWD_MASK numbers it.

    LOCAL is the kernel's own word for a destination that is this machine; no rule asks for it.
    """

    MASQUERADE = 0
    LOCAL = 1
    TUNNEL = 2
    DIRECT = 3


class TunnelType(Enum):
    """The encapsulation of a tunnelled destination, numbered as the kernel's ip_vs.h."""

    IPIP = 0
    GUE = 1
    GRE = 2


class TunnelChecksum(Enum):
    """What a gue or gre tunnel does about checksums, numbered as IP_VS_TUNNEL_ENCAP_FLAG_*."""

    NONE = 0
    FULL = 1
    REMOTE = 2


class SchedulerFlags(IntFlag):
    """Switches of a scheduler, valued as IP_VS_SVC_F_SCHED1 to 3.

    For sh and mh flag 1 is "fallback" and flag 2 is "port".
    """

    NONE = 0
    FLAG_1 = 0x08
    FLAG_2 = 0x10
    FLAG_3 = 0x20


class SyncRole(Enum):
    """What a connection synchronisation daemon does, numbered as IP_VS_STATE_*."""

    MASTER = 1
    BACKUP = 2


@dataclass(frozen=True)
class Endpoint:
    """An address and a port; how a destination is known within its service."""

    __slots__ = ("address", "port")
    address: Address
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read 192.168.122.10:80 or [fd00::20]:80; raise ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address and a port")
        bracketed = host.startswith("[") and host.endswith("]")
        address = ip_address(host[1:-1] if bracketed else host)
        if bracketed is not (address.version == 6):
            raise ValueError(f"{text!r} is not an address and a port")
        return cls(address, int(port))

    # Tables are full of these: what dataclass and IPv4Address.__hash__ do takes thrice the time.
    def __hash__(self) -> int:
        return int(self.address) ^ self.port << 32

    def __str__(self) -> str:
        if self.address.version == 6:
            return f"[{self.address}]:{self.port}"
        # str(address) takes twice the time.
        a, b, c, d = self.address.packed
        return f"{a}.{b}.{c}.{d}:{self.port}"


@dataclass(frozen=True)
class Listener:
    """The name of a virtual service that clients reach by address and port."""

    transport: Transport
    endpoint: Endpoint

    def __hash__(self) -> int:
        return hash(self.endpoint)

    @property
    def version(self) -> int:
        return self.endpoint.address.version

    def __str__(self) -> str:
        return f"{self.transport.name.lower()} {self.endpoint}"


@dataclass(frozen=True)
class Mark:
    """The name of a virtual service that a firewall mark (1..4294967295) selects."""

    mark: int
    version: int = 4

    def __str__(self) -> str:
        return f"fwmark {self.mark}" + (" ipv6" if self.version == 6 else "")


ServiceName = Union[Listener, Mark]


@dataclass(frozen=True)
class Tunnel:
    """How packets are wrapped for a tunnelled destination; port only for gue."""

    kind: TunnelType = TunnelType.IPIP
    port: int = 0
    checksum: TunnelChecksum = TunnelChecksum.NONE


@dataclass(frozen=True)
class Destination:
    """One real server under one virtual service, as the kernel schedules to it.

    Weight 0 quiesces: new connections go elsewhere, running ones finish.  Thresholds count
    connections; 0 means none.  A tunnel is given exactly where forwarding is TUNNEL.
    """

    endpoint: Endpoint
    weight: int = 1
    forwarding: Forwarding = Forwarding.MASQUERADE
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel: Tunnel | None = None


@dataclass(frozen=True)
class Service:
    """One virtual service and the destinations it schedules to.

    Persistence is in seconds, 0 for none.  The netmask groups persistent clients: an
    IPv4Address for IPv4 (it need not be contiguous), a prefix length for IPv6, None for
    whole addresses.  The kernel keeps a netmask only as a service without persistence
    ignores it, so a service without persistence has None here.
    """

    name: ServiceName
    scheduler: str = "wlc"
    persistence: int = 0
    netmask: IPv4Address | int | None = None
    flags: SchedulerFlags = SchedulerFlags.NONE
    one_packet: bool = False
    persistence_engine: str = ""
    destinations: Mapping[Endpoint, Destination] = field(default_factory=dict)


Table = Mapping[ServiceName, Service]


@dataclass(frozen=True)
class Timeouts:
    """How long idle connections are remembered, in seconds; 0 keeps the present value."""

    tcp: int = 0
    tcp_fin: int = 0
    udp: int = 0

    def over(self, present: Timeouts) -> Timeouts:
        """Return what holds once these have been set where *present* ones held."""
        return Timeouts(
            self.tcp or present.tcp, self.tcp_fin or present.tcp_fin, self.udp or present.udp
        )


@dataclass(frozen=True)
class SyncDaemon:
    """One connection synchronisation daemon; 0 and None leave a value to the kernel."""

    role: SyncRole
    interface: str = "eth0"
    sync_id: int = 0
    group: Address | None = None
    port: int = 0
    ttl: int = 0
    max_length: int = 0


@dataclass(frozen=True)
class Ruleset:
    """All that rules can say: the services, and what may stand beside them.

    timeouts is None where the rules are silent about them; daemons holds at most one of
    each role.
    """

    services: Table = field(default_factory=dict)
    timeouts: Timeouts | None = None
    daemons: Mapping[SyncRole, SyncDaemon] = field(default_factory=dict)


@dataclass(frozen=True)
class Counters:
    """What the kernel has counted for one destination.

    active, inactive and persistent are read live; the totals and the per-second rates are
    refreshed by the kernel's estimator every 2 s.
    """

    active: int = 0
    inactive: int = 0
    persistent: int = 0
    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections_rate: int = 0
    packets_in_rate: int = 0
    packets_out_rate: int = 0
    bytes_in_rate: int = 0
    bytes_out_rate: int = 0


def bare(service: Service) -> Service:
    """Return the service without its destinations: the kernel's service row."""
    return replace(service, destinations={})
