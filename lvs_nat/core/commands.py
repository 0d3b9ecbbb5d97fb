"""Which commands and options ipvsadm has, and which go together.

Options are known by their short form, or by the long one where there is no short one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import lru_cache


class Takes(Enum):
    """What follows an option."""

    NOTHING = 0
    VALUE = 1
    MAYBE = 2  # a value, unless the next word begins with a dash


# ipvsadm.c, process_options: every command and option of ipvsadm 1.31.
COMMANDS = {
    "-A": ("--add-service", Takes.NOTHING),
    "-E": ("--edit-service", Takes.NOTHING),
    "-D": ("--delete-service", Takes.NOTHING),
    "-C": ("--clear", Takes.NOTHING),
    "-a": ("--add-server", Takes.NOTHING),
    "-e": ("--edit-server", Takes.NOTHING),
    "-d": ("--delete-server", Takes.NOTHING),
    "-L": ("--list", Takes.NOTHING),
    "-Z": ("--zero", Takes.NOTHING),
    "-S": ("--save", Takes.NOTHING),
    "-R": ("--restore", Takes.NOTHING),
    "-h": ("--help", Takes.NOTHING),
    "-v": ("--version", Takes.NOTHING),
    "--set": ("--set", Takes.VALUE),
    "--start-daemon": ("--start-daemon", Takes.VALUE),
    "--stop-daemon": ("--stop-daemon", Takes.VALUE),
}
_OPTIONS = {
    "-t": ("--tcp-service", Takes.VALUE),
    "-u": ("--udp-service", Takes.VALUE),
    "--sctp-service": ("--sctp-service", Takes.VALUE),
    "-f": ("--fwmark-service", Takes.VALUE),
    "-6": ("--ipv6", Takes.NOTHING),
    "-s": ("--scheduler", Takes.VALUE),
    "-p": ("--persistent", Takes.MAYBE),
    "-M": ("--netmask", Takes.VALUE),
    "--pe": ("--pe", Takes.VALUE),
    "-o": ("--ops", Takes.NOTHING),
    "-b": ("--sched-flags", Takes.VALUE),
    "-r": ("--real-server", Takes.VALUE),
    "-g": ("--gatewaying", Takes.NOTHING),
    "-i": ("--ipip", Takes.NOTHING),
    "-m": ("--masquerading", Takes.NOTHING),
    "-w": ("--weight", Takes.VALUE),
    "-x": ("--u-threshold", Takes.VALUE),
    "-y": ("--l-threshold", Takes.VALUE),
    "--tun-type": ("--tun-type", Takes.VALUE),
    "--tun-port": ("--tun-port", Takes.VALUE),
    "--tun-nocsum": ("--tun-nocsum", Takes.NOTHING),
    "--tun-csum": ("--tun-csum", Takes.NOTHING),
    "--tun-remcsum": ("--tun-remcsum", Takes.NOTHING),
    "--mcast-interface": ("--mcast-interface", Takes.VALUE),
    "--syncid": ("--syncid", Takes.VALUE),
    "--mcast-group": ("--mcast-group", Takes.VALUE),
    "--mcast-port": ("--mcast-port", Takes.VALUE),
    "--mcast-ttl": ("--mcast-ttl", Takes.VALUE),
    "--sync-maxlen": ("--sync-maxlen", Takes.VALUE),
    "-n": ("--numeric", Takes.NOTHING),
    "-c": ("--connection", Takes.NOTHING),
    "-X": ("--exact", Takes.NOTHING),
    "--timeout": ("--timeout", Takes.NOTHING),
    "--daemon": ("--daemon", Takes.NOTHING),
    "--stats": ("--stats", Takes.NOTHING),
    "--rate": ("--rate", Takes.NOTHING),
    "--thresholds": ("--thresholds", Takes.NOTHING),
    "--persistent-conn": ("--persistent-conn", Takes.NOTHING),
    "--tun-info": ("--tun-info", Takes.NOTHING),
    "--sort": ("--sort", Takes.NOTHING),
    "--nosort": ("--nosort", Takes.NOTHING),
}

SERVICE = ("-t", "-u", "--sctp-service", "-f")
FORWARDING = ("-m", "-g", "-i")
CHECKSUM = ("--tun-nocsum", "--tun-csum", "--tun-remcsum")

_NAMING = frozenset(SERVICE) | {"-6"}
_SCHEDULING = _NAMING | {"-s", "-p", "-M", "--pe", "-o", "-b"}
_SERVING = _NAMING.union(("-r", "-w", "-x", "-y", "--tun-type", "--tun-port"), FORWARDING, CHECKSUM)
_TUNING = ("--mcast-interface", "--mcast-group", "--mcast-port", "--mcast-ttl", "--sync-maxlen")
_LISTING = frozenset(
    (
        "-n",
        "-c",
        "-X",
        "--timeout",
        "--daemon",
        "--stats",
        "--rate",
        "--thresholds",
        "--persistent-conn",
        "--tun-info",
        "--sort",
        "--nosort",
    )
)
_TAKEN: Mapping[str, frozenset[str]] = {
    "-A": _SCHEDULING,
    "-E": _SCHEDULING,
    "-D": _NAMING,
    "-C": frozenset(),
    "-a": _SERVING,
    "-e": _SERVING,
    "-d": _NAMING | {"-r"},
    "-L": _NAMING | _LISTING,
    "-Z": _NAMING,
    "-S": frozenset({"-n"}),
    "-R": frozenset(),
    "-h": frozenset(),
    "-v": frozenset(),
    "--set": frozenset(),
    "--start-daemon": frozenset({"--syncid", *_TUNING}),
    "--stop-daemon": frozenset({"--syncid"}),
}
_SERVICE_NEEDED = frozenset(["-A", "-E", "-D", "-a", "-e", "-d"])
_SERVER_NEEDED = frozenset(["-a", "-e", "-d"])

KNOWN: Mapping[str, tuple[str, Takes]] = {
    name: (short, takes)
    for short, (long, takes) in {**COMMANDS, **_OPTIONS}.items()
    for name in (short, long)
} | {"-l": ("-L", Takes.NOTHING)}


def schedules(command: str) -> bool:
    """Say whether the command takes the options of a service's row."""
    return "-s" in _TAKEN[command]


# Files have many rules of few shapes.
@lru_cache(maxsize=256)
def misfits(command: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Say what is too much or too little in a rule with these options, in this order."""
    return tuple(_misfits(command, options))


def _misfits(command: str, options: tuple[str, ...]) -> Iterator[str]:
    for name in options:
        if name not in _TAKEN[command]:
            yield f"{command} takes no {_both(name)}: {_elsewhere(command, name)}"
    for group, words in ((SERVICE, "service"), (FORWARDING, "forwarding method")):
        given = [name for name in group if name in options]
        if len(given) > 1:
            yield f"{' and '.join(given)}: a rule has one {words}, leave one"
        if not given and group is SERVICE and command in _SERVICE_NEEDED:
            yield f"{command} needs a service: write -t, -u, --sctp-service or -f with it"
    if command in _SERVER_NEEDED and "-r" not in options:
        yield f"{command} needs a real server: write -r ADDRESS:PORT with it"
    if "-6" in options:
        if "-f" not in options:
            yield "-6 is for -f alone, an address says by itself which kind it is: take it away"
        elif options.index("-6") < options.index("-f"):
            yield "-6 stands before -f, which ipvsadm refuses: write it after -f MARK"


def _elsewhere(command: str, name: str) -> str:
    if command in ("-A", "-E") and name in _SERVING:
        return "it belongs on an -a line of its own"
    if command in ("-a", "-e") and name in _SCHEDULING:
        return "it belongs on the service's -A line"
    return "take it away"


def _both(name: str) -> str:
    long = _OPTIONS[name][0]
    return name if long == name else f"{name} ({long})"
