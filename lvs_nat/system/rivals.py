"""Programs that write to the same table are looked for: among processes, and systemd's units."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lvs_nat.core.rivals import (
    CHECKER,
    IPVSADM,
    KEEPALIVED,
    KEEPALIVED_FILE,
    LDIRECTORD,
    Rival,
    has_virtual_servers,
    includes,
    keepalived,
)
from lvs_nat.errors import ConfigError
from lvs_nat.system import files

# What the kernel calls their processes; it keeps 15 letters, to which Perl lets ldirectord add.
_PROCESSES = re.compile(rf"({KEEPALIVED})(?:_ipvs)?$|({LDIRECTORD})")
# Where their units' options stand: Red Hat's and Debian's.
_OPTIONS = ("etc/sysconfig/keepalived", "etc/default/keepalived")
_OPTION = re.compile(r"^\s*(?:KEEPALIVED_OPTIONS|DAEMON_ARGS)=(.*)$", re.M)
# Of keepalived's configuration no more files are read than this.
_FILES = 200


class _Seen(NamedTuple):
    """One program that may be a rival: a pid, 0 for none, its kernel's name, its own words."""

    pid: int = 0
    comm: str = ""
    words: tuple[str, ...] = ()


def rivals(root: Path = Path("/")) -> list[Rival]:
    """Return the programs that write to the table of this network namespace.

    Where the unit's sandbox hides processes, systemd's own record of its units does not.
    """
    seen = dict(_units(root))
    for name, one in _processes(root):
        if one.comm == CHECKER or not seen.get(name, _Seen()).comm:
            seen[name] = one
    found = []
    for name, one in sorted(seen.items()):
        file = _virtual(root, one) if name == KEEPALIVED else ""
        if file or name != KEEPALIVED:
            found.append(Rival(name, one.pid, file))
    return found


def _processes(root: Path) -> Iterator[tuple[str, _Seen]]:
    proc = f"{root}/proc"
    ours = _network(f"{proc}/self")
    for pid in sorted(filter(str.isdigit, os.listdir(proc)), key=int):
        # It may have ended; one that we may not look into is in a network that is not ours.
        with suppress(OSError):
            with open(f"{proc}/{pid}/comm", errors="replace") as file:
                comm = file.read().rstrip("\n")
            match = _PROCESSES.match(comm)
            if match and _network(f"{proc}/{pid}") == ours:
                words = Path(f"{proc}/{pid}/cmdline").read_bytes().decode(errors="replace")
                yield match[1] or match[2], _Seen(int(pid), comm, tuple(words.split("\0")[1:-1]))


def _network(process: str) -> str:
    return os.readlink(f"{process}/ns/net")


def _units(root: Path) -> Iterator[tuple[str, _Seen]]:
    """Yield what systemd, or a lock of Red Hat's init scripts, says is on."""
    for name in (KEEPALIVED, LDIRECTORD, IPVSADM):
        if os.path.lexists(root / f"run/systemd/units/invocation:{name}.service"):
            yield name, _Seen(_first(root, name), words=_options(root))
    if not (root / "run/systemd/system").is_dir() and (root / "var/lock/subsys/ipvsadm").exists():
        yield IPVSADM, _Seen()


def _first(root: Path, name: str) -> int:
    """Return a process of the unit *name*, 0 if it has none."""
    for hierarchy in ("", "systemd/"):  # of cgroups, version 2 and 1
        with suppress(OSError, ValueError, IndexError):
            place = root / f"sys/fs/cgroup/{hierarchy}system.slice/{name}.service/cgroup.procs"
            return int(place.read_text().split()[0])
    return 0


def _options(root: Path) -> tuple[str, ...]:
    import shlex  # most machines have no such file

    for place in _OPTIONS:
        with suppress(ConfigError, ValueError):
            for value in _OPTION.findall(files.read_text(root / place)):
                return tuple(word for part in shlex.split(value, True) for word in part.split())
    return ()


def _virtual(root: Path, one: _Seen) -> str:
    """Return the file that tells keepalived to program the table, "" if none does."""
    told = keepalived(one.words)
    if one.comm == CHECKER:
        return told.file
    return "" if told.vrrp_alone else _searched(root, told.file or KEEPALIVED_FILE)


def _searched(root: Path, first: str) -> str:
    left = [root / first.lstrip("/")]
    known: set[Path] = set()
    while left and len(known) < _FILES:
        path = left.pop()
        if path in known:
            continue
        known.add(path)
        with suppress(ConfigError):
            text = files.read_text(path)
            if has_virtual_servers(text):
                return "/" + str(path.relative_to(root))
            for pattern in includes(text):
                folder, pattern = (
                    (root, pattern[1:]) if pattern[0] == "/" else (path.parent, pattern)
                )
                with suppress(ValueError, NotImplementedError):
                    left += sorted(folder.glob(pattern))
    return ""
