"""Rule sets for hypothesis: any that a kernel takes, and any way of writing them."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from lvs_nat.core.plan import AddDestination, AddService
from lvs_nat.core.spelling import spell, spell_operation
from lvs_nat.model import (
    Destination,
    Endpoint,
    Forwarding,
    Listener,
    Mark,
    Ruleset,
    SchedulerFlags,
    Service,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Transport,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    bare,
)

# Every scheduler that Debian's kernels have.
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"]
SECONDS = st.integers(1, 31 * 24 * 3600)
PORTS = st.one_of(st.sampled_from([80, 443, 65535]), st.integers(1, 65535))
WEIGHTS = st.one_of(st.integers(0, 10), st.integers(0, 2**31 - 1))
FLAGS = st.integers(0, 7).map(lambda bits: SchedulerFlags(bits << 3))


def _neighbours(text):
    return st.integers(0, 30).map(lambda offset: IPv4Address(text) + offset)


VIRTUAL = {
    4: st.one_of(_neighbours("172.25.0.10"), st.integers(0, 2**32 - 1).map(IPv4Address)),
    6: st.one_of(
        st.integers(1, 20).map(lambda low: IPv6Address("2001:db8::") + low),
        st.integers(0, 2**128 - 1).map(IPv6Address),
        st.integers(0, 2**48 - 1).map(IPv6Address),
    ),
}
# What the kernel takes for one machine's address.
REAL = {
    4: st.one_of(
        _neighbours("192.168.122.10"),
        # 127.255.255.255 is a broadcast address of any machine with a loopback.
        st.integers(0x01000000, 0x7EFFFFFF).map(IPv4Address),
        st.integers(0x80000000, 0xDFFFFFFF).map(IPv4Address),
        st.integers(0xF0000000, 0xFFFFFFFE).map(IPv4Address),
    ),
    6: st.one_of(
        st.integers(1, 20).map(lambda low: IPv6Address("2001:db8:1::") + low),
        st.integers(0x2000 << 112, (0xFE00 << 112) - 1).map(IPv6Address),
        st.integers(1, 2**32 - 1).map(IPv6Address),
    ),
}


@st.composite
def _names(draw, persistent):
    version = draw(st.sampled_from([4, 4, 6]))
    if draw(st.integers(0, 4)) == 0:
        return Mark(draw(st.one_of(st.integers(1, 5), st.integers(1, 2**32 - 1))), version)
    port = 0 if persistent and draw(st.integers(0, 4)) == 0 else draw(PORTS)
    return Listener(draw(st.sampled_from(list(Transport))), Endpoint(draw(VIRTUAL[version]), port))


def _netmasks(version):
    if version == 6:
        return st.one_of(st.none(), st.integers(1, 127))
    usual = st.integers(0, 31).map(lambda bits: IPv4Address(2**32 - (1 << (32 - bits))))
    odd = st.integers(0, 2**32 - 2).map(IPv4Address)
    return st.one_of(st.none(), usual, odd)


@st.composite
def _tunnels(draw):
    kind = draw(st.sampled_from(list(TunnelType)))
    if kind is TunnelType.IPIP:
        return Tunnel()
    if kind is TunnelType.GRE:
        both = [TunnelChecksum.NONE, TunnelChecksum.FULL]
        return Tunnel(kind, 0, draw(st.sampled_from(both)))
    return Tunnel(kind, draw(PORTS), draw(st.sampled_from(list(TunnelChecksum))))


@st.composite
def _destinations(draw, name, mixed):
    forwarding = draw(
        st.sampled_from(
            [Forwarding.MASQUERADE, Forwarding.MASQUERADE, Forwarding.TUNNEL, Forwarding.DIRECT]
        )
    )
    tunnelled = forwarding is Forwarding.TUNNEL
    version = draw(st.sampled_from([4, 6])) if mixed and tunnelled else name.version
    port = draw(st.one_of(st.just(0), PORTS))
    if isinstance(name, Listener) and forwarding is not Forwarding.MASQUERADE:
        port = name.endpoint.port
    upper = draw(st.one_of(st.just(0), st.integers(0, 2**31 - 1)))
    return Destination(
        Endpoint(draw(REAL[version]), port),
        draw(WEIGHTS),
        forwarding,
        upper,
        draw(st.integers(0, upper)),
        draw(_tunnels()) if tunnelled else None,
    )


@st.composite
def services(draw, mixed=True):
    """Any service with its destinations; *mixed*: tunnels may lead to the other family."""
    persistence = draw(st.one_of(st.just(0), SECONDS))
    name = draw(_names(persistent=bool(persistence)))
    udp = isinstance(name, Mark) or name.transport is Transport.UDP
    rows = draw(st.lists(_destinations(name, mixed), max_size=5))
    return Service(
        name,
        draw(st.sampled_from(SCHEDULERS)),
        persistence,
        draw(_netmasks(name.version)) if persistence else None,
        draw(FLAGS),
        udp and draw(st.booleans()),
        draw(st.sampled_from(["", "", "sip"])),
        {row.endpoint: row for row in rows},
    )


@st.composite
def tables(draw, mixed=True):
    """Any table of services, as a Ruleset that says nothing else."""
    return Ruleset({it.name: it for it in draw(st.lists(services(mixed), max_size=6))})


@st.composite
def _daemons(draw, role):
    group = st.integers(0xE0000000, 0xEFFFFFFF).map(IPv4Address)
    group6 = st.integers(0xFF << 120, (1 << 128) - 1).map(IPv6Address)
    return SyncDaemon(
        role,
        draw(st.sampled_from(["eth0", "eth1", "bond0.17"])),
        draw(st.integers(0, 255)),
        draw(st.one_of(st.none(), group, group6)),
        draw(st.integers(0, 65535)),
        draw(st.integers(0, 255)),
        draw(st.integers(0, 65507)),
    )


@st.composite
def rulesets(draw):
    """Anything that rules can say."""
    number = st.one_of(st.just(0), SECONDS)
    timeouts = draw(st.one_of(st.none(), st.builds(Timeouts, number, number, number)))
    roles = draw(st.sets(st.sampled_from(list(SyncRole))))
    return replace(
        draw(tables()),
        timeouts=None if timeouts == Timeouts() else timeouts,
        daemons={role: draw(_daemons(role)) for role in roles},
    )


LONG = {
    "-A": "--add-service", "-a": "--add-server", "-E": "--edit-service", "-e": "--edit-server",
    "-t": "--tcp-service", "-u": "--udp-service", "-f": "--fwmark-service", "-6": "--ipv6",
    "-s": "--scheduler", "-p": "--persistent", "-M": "--netmask", "-o": "--ops",
    "-b": "--sched-flags", "-r": "--real-server", "-m": "--masquerading", "-g": "--gatewaying",
    "-i": "--ipip", "-w": "--weight", "-x": "--u-threshold", "-y": "--l-threshold",
}  # fmt: skip


@st.composite
def variants(draw, ruleset, comments=True):
    """Any text that means *ruleset*; without *comments* one that ipvsadm -R reads as well."""
    lines = []
    for service in ruleset.services.values():
        operations = [AddService(bare(service))]
        operations += [AddDestination(service.name, row) for row in service.destinations.values()]
        for operation in operations:
            lines.extend(draw(_detours(operation, comments)))
            if comments and draw(st.integers(0, 4)) == 0:
                lines.append(draw(st.sampled_from(["# -C", "  #", "\t# 注释", "#-D -f 1"])))
    if ruleset.timeouts:
        times = ruleset.timeouts
        lines.append(f"--set {times.tcp} {times.tcp_fin} {times.udp}")
    spelled = [line + draw(st.sampled_from(["", " ", "\t", "\r", "\n\n"])) for line in lines]
    # What is left of the ruleset has one spelling.
    rest = spell(Ruleset({}, None, ruleset.daemons))
    return "".join(f"{line}\n" for line in spelled) + rest


@st.composite
def _detours(draw, operation, comments):
    """Write an operation, perhaps in two steps or with something undone."""
    line = spell_operation(operation)
    way = draw(st.sampled_from(["straight", "straight", "edited", "again"]))
    lines = [line]
    if way == "edited" and isinstance(operation, AddService):
        first = replace(operation.service, scheduler="lc", flags=SchedulerFlags.NONE)
        lines = [spell_operation(AddService(first)), "-E" + line[2:]]
    elif way == "edited":
        first = replace(operation.destination, weight=77, upper_threshold=0, lower_threshold=0)
        lines = [
            spell_operation(AddDestination(operation.name, first)),
            "-e" + line[2:],
        ]
    elif way == "again" and isinstance(operation, AddService):
        lines = [line, "-D" + line[2:].partition(" -s ")[0], line]
    elif way == "again":
        lines = [line, "-d" + line[2:].partition(" -w ")[0].rpartition(" ")[0], line]
    return [draw(_written(line, comments)) for line in lines]


@st.composite
def _written(draw, line, comments):
    words = line.split(" ")
    command, pieces = words[0], []
    for word in words[1:]:
        if word.startswith("-"):
            pieces.append([word])
        else:
            pieces[-1].append(word)
    # Services first: -6, -M, -r look at what stands before them.
    head = 2 if ["-6"] in pieces else 1
    tail = [draw(_piece(piece)) for piece in draw(st.permutations(pieces[head:]))]
    written = [LONG.get(command, command) if draw(st.booleans()) else command]
    written += [draw(_piece(piece)) for piece in pieces[:head]] + tail
    if draw(st.integers(0, 4)) == 0:
        written.insert(0, "ipvsadm")
    if comments and draw(st.integers(0, 4)) == 0:
        written.append("# that is all")
    return draw(st.sampled_from(["", " ", "\t"])) + draw(st.sampled_from([" ", "  \t"])).join(
        written
    )


@st.composite
def _piece(draw, piece):
    name = piece[0]
    if draw(st.booleans()):
        name = LONG.get(name, name)
    if len(piece) == 1:
        return name
    joints = [" ", "="] if name.startswith("--") else [" ", "=", ""]
    return name + draw(st.sampled_from(joints)) + piece[1]
