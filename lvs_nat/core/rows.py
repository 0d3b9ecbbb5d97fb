"""What a single rule says by itself: a service, a destination, timeouts, a sync daemon.

All functions raise ValueError with a sentence that says what is wrong and what to write.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address

from lvs_nat.core.literals import Places, Say, netmask, number, shown
from lvs_nat.core.options import Line
from lvs_nat.core.spelling import spell_name
from lvs_nat.model import (
    WEIGHT_MAX,
    Address,
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

# Linux 6.18, net/netfilter/ipvs/Kconfig: every scheduler of the mainline kernel.
SCHEDULERS = frozenset(
    {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}
)
ENGINES = ("sip",)
# ipvsadm.c: MAX_TIMEOUT is 31 days; -p alone is IPVS_SVC_PERSISTENT_TIMEOUT.
TIMEOUT_MAX = 31 * 24 * 60 * 60
DEFAULT_PERSISTENCE = 360
# include/uapi/linux/ip_vs.h: thresholds are ints; IFNAMSIZ holds an end mark.
THRESHOLD_MAX = 2**31 - 1
INTERFACE_MAX = 15

TRANSPORTS = {"-t": Transport.TCP, "-u": Transport.UDP, "--sctp-service": Transport.SCTP}
FORWARDINGS = {"-m": Forwarding.MASQUERADE, "-g": Forwarding.DIRECT, "-i": Forwarding.TUNNEL}
TUNNELS = {"ipip": TunnelType.IPIP, "gue": TunnelType.GUE, "gre": TunnelType.GRE}
CHECKSUMS = {
    "--tun-nocsum": TunnelChecksum.NONE,
    "--tun-csum": TunnelChecksum.FULL,
    "--tun-remcsum": TunnelChecksum.REMOTE,
}
FLAGS = {
    "flag-1": SchedulerFlags.FLAG_1,
    "flag-2": SchedulerFlags.FLAG_2,
    "flag-3": SchedulerFlags.FLAG_3,
}
# What flags 1 and 2 are called beside the schedulers that give them a meaning.
FLAG_NAMES = {
    "sh": {"sh-fallback": SchedulerFlags.FLAG_1, "sh-port": SchedulerFlags.FLAG_2},
    "mh": {"mh-fallback": SchedulerFlags.FLAG_1, "mh-port": SchedulerFlags.FLAG_2},
}

# Whoever has weight 0 keeps its share of the hash (ip_vs_sh.c, ip_vs_sh_reassign and ip_vs_sh_get).
REFUSING = (
    "sh refuses the clients of a server that is drained or quiesced: "
    "write -b sh-fallback, and others take them"
)


def service_name(line: Line, places: Places, say: Say) -> ServiceName:
    """Read which service the rule is about; a port left out is 0."""
    options = line.options
    if "-f" in options:
        return Mark(_mark(options["-f"], say), 6 if "-6" in options else 4)
    for option, transport in TRANSPORTS.items():
        if option in options:
            return Listener(transport, places.endpoint(options[option], transport, 0))
    raise ValueError("no service: write -t, -u, --sctp-service or -f")


def _mark(text: str, say: Say) -> int:
    if text.startswith("-") and text[1:].isdigit():
        # ipvsadm -S writes the upper half of the marks as negative numbers.
        mark = number(text, -(2**31), -1, "the firewall mark") + 2**32
        say(f"the firewall mark {text} is read as {mark}, as ipvsadm -S means it: write {mark}")
        return mark
    return number(text, 1, 2**32 - 1, "the firewall mark")


def service(line: Line, name: ServiceName, say: Say) -> Service:
    """Read the service of an -A or -E rule, without destinations."""
    options = line.options
    scheduler = _one_of(options.get("-s", Service.scheduler), SCHEDULERS, "scheduler")
    persistence = 0
    if "-p" in options:
        value = options["-p"] or str(DEFAULT_PERSISTENCE)
        persistence = number(value, 1, TIMEOUT_MAX, "the persistence in seconds")
    if isinstance(name, Listener) and not name.endpoint.port and not persistence:
        raise ValueError(
            f"{spell_name(name)} is for all ports, which needs persistence:"
            " write the port, or -p SECONDS"
        )
    if "-o" in options and isinstance(name, Listener) and name.transport is not Transport.UDP:
        raise ValueError("-o (one-packet scheduling) is for -u and -f services: take it away")
    flags = _flags(options["-b"], scheduler, say) if "-b" in options else SchedulerFlags.NONE
    if scheduler == "sh" and not flags & SchedulerFlags.FLAG_1:
        say(REFUSING)
    return Service(
        name,
        scheduler,
        persistence,
        _netmask(line, name, say) if "-M" in options else None,
        flags,
        "-o" in options,
        _one_of(options["--pe"], ENGINES, "persistence engine") if "--pe" in options else "",
    )


def _netmask(line: Line, name: ServiceName, say: Say) -> IPv4Address | int | None:
    order = list(line.options)
    last = "-6" if isinstance(name, Mark) else next(word for word in order if word in TRANSPORTS)
    if name.version == 6 and order.index("-M") < order.index(last):
        raise ValueError(
            f"-M stands before {last}, and ipvsadm forgets it there: write it after {last}"
        )
    mask = netmask(line.options["-M"], name.version, say)
    if "-p" not in line.options:
        say("-M does nothing without -p: write -p SECONDS too, or take -M away")
        return None
    return mask


def _flags(text: str, scheduler: str, say: Say) -> SchedulerFlags:
    names = {**FLAGS, **FLAG_NAMES.get(scheduler, {})}
    words = [word for word in text.split(",") if word]
    if not words:
        raise ValueError(f"-b {shown(text)} names no flag: write one of {', '.join(names)}")
    if len(words) <= text.count(","):
        say(f"-b {shown(text)} has a comma too many: write -b {shown(','.join(words))}")
    flags = SchedulerFlags.NONE
    for word in words:
        if word not in names and any(word in known for known in FLAG_NAMES.values()):
            raise ValueError(f"{word} is not for the scheduler {scheduler}: take it away")
        flags |= names[_one_of(word, names, "scheduler flag")]
    return flags


def real_server(line: Line, name: ServiceName, places: Places) -> Endpoint:
    """Read -r as ipvsadm does before it looks at the forwarding method."""
    options = line.options
    if isinstance(name, Mark):
        return places.endpoint(options["-r"], None, 0)
    port = name.endpoint.port
    if not port or next(word for word in options if word == "-r" or word in TRANSPORTS) != "-r":
        return places.endpoint(options["-r"], name.transport, port)
    if line.command != "-d" and "-m" not in options:
        return places.endpoint(options["-r"], name.transport, port)
    # ipvsadm would make the port 0 here, whatever the service's is.
    return places.endpoint(options["-r"], name.transport, None)


def destination(line: Line, name: ServiceName, places: Places, say: Say) -> Destination:
    """Read the destination of an -a or -e rule."""
    options = line.options
    endpoint = real_server(line, name, places)
    forwarding = Forwarding.DIRECT
    for option, meaning in FORWARDINGS.items():
        if option in options:
            forwarding = meaning
    _check_address(endpoint.address, name.version, forwarding)
    if isinstance(name, Listener) and forwarding is not Forwarding.MASQUERADE:
        endpoint = _at_service_port(endpoint, name.endpoint.port, say)
    upper, lower = _thresholds(line) if "-x" in options or "-y" in options else (0, 0)
    weight = options.get("-w", str(Destination.weight))
    return Destination(
        endpoint,
        number(weight, 0, WEIGHT_MAX, "the weight"),
        forwarding,
        upper,
        lower,
        _tunnel(line, forwarding),
    )


def _check_address(address: Address, version: int, forwarding: Forwarding) -> None:
    if address.version != version and forwarding is not Forwarding.TUNNEL:
        raise ValueError(
            f"{address} is IPv{address.version} under an IPv{version} service: only tunnels (-i)"
            f" lead there, write an IPv{version} address"
        )
    if not _unicast(address):
        raise ValueError(
            f"{address} cannot be one real server, and the kernel refuses it:"
            " write a unicast address that is not link-local"
        )


def _unicast(address: Address) -> bool:
    """Say whether the kernel would take the address for one machine's.

    ip_vs_ctl.c, __ip_vs_update_dest; what unicast is say inet_addr_type (fib_frontend.c) and
    __ipv6_addr_type (addrconf_core.c), which has no such bit for mapped IPv4 addresses.
    """
    value = int(address)
    if address.version == 4:
        return value not in (0, 0xFFFFFFFF) and value >> 28 != 0xE
    link_local, multicast = value >> 118 == 0xFE80 >> 6, value >> 120 == 0xFF
    return value != 0 and value >> 32 != 0xFFFF and not link_local and not multicast


def _at_service_port(endpoint: Endpoint, port: int, say: Say) -> Endpoint:
    if endpoint.port == port:
        return endpoint
    meant = Endpoint(endpoint.address, port)
    say(
        f"-g and -i cannot change the port, so {endpoint} becomes {meant} as with ipvsadm:"
        f" write {meant}, or -m if port {endpoint.port} is meant"
    )
    return meant


def _thresholds(line: Line) -> tuple[int, int]:
    upper = number(line.options.get("-x", "0"), 0, THRESHOLD_MAX, "the upper threshold")
    lower = number(line.options.get("-y", "0"), 0, THRESHOLD_MAX, "the lower threshold")
    if lower > upper:
        raise ValueError(
            f"the lower threshold {lower} is above the upper one, {upper}, and the kernel"
            f" refuses that: write -x {lower} or more"
        )
    return upper, lower


def _tunnel(line: Line, forwarding: Forwarding) -> Tunnel | None:
    options = line.options
    given = [word for word in options if word.startswith("--tun-")]
    if forwarding is not Forwarding.TUNNEL:
        if given:
            raise ValueError(f"{given[0]} is for tunnels: write -i too, or take it away")
        return None
    if not given:
        return Tunnel()
    kind = TUNNELS[_one_of(options.get("--tun-type", "ipip"), TUNNELS, "tunnel type")]
    checksums = [word for word in given if word in CHECKSUMS]
    if len(checksums) > 1:
        raise ValueError(f"{' and '.join(checksums)} contradict each other: leave one")
    if checksums and (kind is TunnelType.IPIP or (kind, checksums[0]) == _NO_REMOTE):
        raise ValueError(f"{checksums[0]} does not go with {kind.name.lower()}: take it away")
    port = options.get("--tun-port")
    if kind is not TunnelType.GUE and port is not None:
        raise ValueError("--tun-port goes with --tun-type gue only: take it away")
    if kind is TunnelType.GUE and port is None:
        raise ValueError("--tun-type gue needs --tun-port: write --tun-port 6080, say")
    return Tunnel(
        kind,
        number(port, 1, 65535, "the tunnel port") if port is not None else 0,
        CHECKSUMS[checksums[0]] if checksums else TunnelChecksum.NONE,
    )


_NO_REMOTE = (TunnelType.GRE, "--tun-remcsum")


def timeouts(line: Line) -> Timeouts:
    """Read --set."""
    values = (line.value, *line.arguments)
    if len(values) != 3:
        raise ValueError("--set has three numbers: write seconds for tcp, tcpfin and udp")
    return Timeouts(*(number(value, 0, TIMEOUT_MAX, "the timeout") for value in values))


def sync_role(line: Line) -> SyncRole:
    """Read which daemon --start-daemon and --stop-daemon are about."""
    roles = {role.name.lower(): role for role in SyncRole}
    return roles[_one_of(line.value, roles, "kind of sync daemon")]


def sync_daemon(line: Line) -> SyncDaemon:
    """Read --start-daemon."""
    options = line.options
    interface = options.get("--mcast-interface", SyncDaemon.interface)
    if not 0 < len(interface) <= INTERFACE_MAX or "/" in interface or interface in (".", ".."):
        raise ValueError(f"{shown(interface)} cannot be an interface: write one as ip link has it")

    def tuned(option: str, low: int, high: int) -> int:
        return number(options[option], low, high, option) if option in options else 0

    return SyncDaemon(
        sync_role(line),
        interface,
        tuned("--syncid", 0, 255),
        _group(options["--mcast-group"]) if "--mcast-group" in options else None,
        tuned("--mcast-port", 1, 65535),
        tuned("--mcast-ttl", 1, 255),
        tuned("--sync-maxlen", 1, 65507),
    )


def _group(text: str) -> Address:
    try:
        group = ip_address(text)
    except ValueError:
        group = None
    if group is None or not group.is_multicast or (isinstance(group, IPv6Address) and "%" in text):
        raise ValueError(f"{shown(text)} is not a multicast address: write one as 224.0.0.81")
    return group


def _one_of(word: str, known: Collection[str], what: str) -> str:
    if word in known:
        return word
    near = get_close_matches(word[:60].lower(), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(sorted(known))}"
    raise ValueError(f"{shown(word) or 'nothing'} is not a {what}: {hint}")
