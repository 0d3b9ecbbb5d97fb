"""Rules, services, changes as ipvsadm would have them typed."""

from __future__ import annotations

from ipaddress import IPv4Address

from lvs_nat.core import order
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
)
from lvs_nat.model import (
    Address,
    Destination,
    Endpoint,
    Forwarding,
    Mark,
    Ruleset,
    SchedulerFlags,
    Service,
    ServiceName,
    SyncDaemon,
    Timeouts,
    Transport,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)

_LISTENING = {Transport.TCP: "-t", Transport.UDP: "-u", Transport.SCTP: "--sctp-service"}
_FORWARDING = {
    Forwarding.MASQUERADE: "-m",
    Forwarding.LOCAL: "-g",
    Forwarding.TUNNEL: "-i",
    Forwarding.DIRECT: "-g",
}
_CHECKSUM = {
    TunnelChecksum.NONE: "--tun-nocsum",
    TunnelChecksum.FULL: "--tun-csum",
    TunnelChecksum.REMOTE: "--tun-remcsum",
}


def spell(ruleset: Ruleset) -> str:
    """Return the rules that make *ruleset* of an empty table, in ipvsadm's order.

    The services are spelled to the byte as by `ipvsadm -S -n`, except for what that cannot
    express: thresholds are appended to a line, firewall marks are unsigned, flag 3 is named.
    Timeouts stand first; sync daemons stand last, since the kernel takes no tunnel to the
    other address family while one runs (ip_vs_ctl.c, ip_vs_genl_set_cmd).
    """
    lines = [_timeouts(ruleset.timeouts)] if ruleset.timeouts else []
    for service in order.services(ruleset.services):
        lines.extend(_lines(service))
    for role in sorted(ruleset.daemons, key=lambda role: role.value):
        lines.append(f"--start-daemon {_daemon(ruleset.daemons[role])}")
    return "".join(f"{line}\n" for line in lines)


def spell_name(name: ServiceName) -> str:
    """Return -t 172.25.0.10:80 and the like: what names the service in a rule."""
    if isinstance(name, Mark):
        return f"-f {name.mark} -6" if name.version == 6 else f"-f {name.mark}"
    return f"{_LISTENING[name.transport]} {spell_endpoint(name.endpoint)}"


def spell_endpoint(endpoint: Endpoint) -> str:
    """Return 192.168.122.10:80 or [fd00::20]:80, as inet_ntop(3) writes addresses."""
    address = endpoint.address
    if address.version == 4:
        # Of these there may be thousands: str(address) takes thrice the time.
        value = int(address)
        quad = f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
        return f"{quad}:{endpoint.port}"
    return f"[{spell_address(address)}]:{endpoint.port}"


def spell_address(address: Address) -> str:
    """Return the address as inet_ntop(3) writes it, whatever this Python would do."""
    value = int(address)
    if address.version == 6 and value >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(value & 0xFFFFFFFF)}"
    if address.version == 6 and 0xFFFF < value < 2**32:
        return f"::{IPv4Address(value)}"
    return str(address)


def spell_operation(operation: Operation) -> str:
    """Return the arguments with which ipvsadm would do *operation*."""
    if isinstance(operation, (AddService, SetService)):
        command = "-A" if isinstance(operation, AddService) else "-E"
        return _service(command, operation.service)
    if isinstance(operation, DelService):
        return f"-D {spell_name(operation.name)}"
    if isinstance(operation, (AddDestination, SetDestination)):
        command = "-a" if isinstance(operation, AddDestination) else "-e"
        return _destination(f"{command} {spell_name(operation.name)}", operation.destination)
    if isinstance(operation, DelDestination):
        return f"-d {spell_name(operation.name)} -r {spell_endpoint(operation.endpoint)}"
    if isinstance(operation, SetTimeouts):
        return _timeouts(operation.timeouts)
    if isinstance(operation, StartDaemon):
        return f"--start-daemon {_daemon(operation.daemon)}"
    return f"--stop-daemon {operation.daemon.role.name.lower()}"


def service_options(service: Service) -> list[str]:
    """Return the options of a service's row, each with its value."""
    words = [f"-s {service.scheduler}"]
    if service.persistence:
        words.append(f"-p {service.persistence}")
        if service.netmask is not None:
            words.append(f"-M {service.netmask}")
    if service.persistence_engine:
        words.append(f"--pe {service.persistence_engine}")
    if service.one_packet:
        words.append("-o")
    if service.flags:
        words.append(f"-b {spell_flags(service)}")
    return words


def spell_flags(service: Service) -> str:
    """Return the flags of a service by name; flag 3 has none of its own."""
    prefix = f"{service.scheduler}-" if service.scheduler in ("sh", "mh") else ""
    names = {
        SchedulerFlags.FLAG_1: f"{prefix}fallback" if prefix else "flag-1",
        SchedulerFlags.FLAG_2: f"{prefix}port" if prefix else "flag-2",
        SchedulerFlags.FLAG_3: "flag-3",
    }
    return ",".join(name for flag, name in names.items() if flag in service.flags)


def destination_options(destination: Destination) -> list[str]:
    """Return the options of a destination's row, each with its value."""
    words = [_FORWARDING[destination.forwarding], f"-w {destination.weight}"]
    if destination.forwarding is Forwarding.TUNNEL:
        words.append(_tunnel(destination.tunnel or Tunnel()))
    if destination.upper_threshold:
        words.append(f"-x {destination.upper_threshold}")
    if destination.lower_threshold:
        words.append(f"-y {destination.lower_threshold}")
    return words


def _lines(service: Service) -> list[str]:
    start = f"-a {spell_name(service.name)}"
    return [
        _service("-A", service),
        *(_destination(start, destination) for destination in order.destinations(service)),
    ]


def _service(command: str, service: Service) -> str:
    return " ".join((command, spell_name(service.name), *service_options(service)))


def _destination(start: str, destination: Destination) -> str:
    options = " ".join(destination_options(destination))
    return f"{start} -r {spell_endpoint(destination.endpoint)} {options}"


def _tunnel(tunnel: Tunnel) -> str:
    words = [f"--tun-type {tunnel.kind.name.lower()}"]
    if tunnel.kind is TunnelType.GUE:
        words.append(f"--tun-port {tunnel.port}")
    if tunnel.kind is not TunnelType.IPIP:
        words.append(_CHECKSUM[tunnel.checksum])
    return " ".join(words)


def _timeouts(timeouts: Timeouts) -> str:
    return f"--set {timeouts.tcp} {timeouts.tcp_fin} {timeouts.udp}"


def _daemon(daemon: SyncDaemon) -> str:
    words = [
        f"{daemon.role.name.lower()} --mcast-interface {daemon.interface} --syncid {daemon.sync_id}"
    ]
    if daemon.group is not None:
        words.append(f"--mcast-group {spell_address(daemon.group)}")
    for option, value in (
        ("--mcast-port", daemon.port),
        ("--mcast-ttl", daemon.ttl),
        ("--sync-maxlen", daemon.max_length),
    ):
        if value:
            words.append(f"{option} {value}")
    return " ".join(words)
