"""A kernel with IPVS for one command: this machine's in namespaces, or user-mode Linux."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from lvs_nat.errors import UsageError
from lvs_nat.lab import native, packages, timetravel, uml
from lvs_nat.lab.orders import Orders

INSIDE = "LVS_NAT_LAB"  # set for the command, to the kind of kernel it has


class Kind(Enum):
    """Which kernel the command gets."""

    NATIVE = "native"
    UML = "uml"


PROGRAMS = {Kind.NATIVE: packages.PROGRAMS, Kind.UML: packages.GUEST_PROGRAMS}


def run(
    command: Sequence[str],
    *,
    timeout: float,
    memory: str = "512M",
    writable: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int = 1,
    stderr: int = 2,
    terminal: bool = False,
    time_travel: bool = False,
) -> int:
    """Run *command* as root on a kernel with IPVS; return its exit status.

    It sees this machine's files, but what it writes is gone afterwards, save below *writable*.
    It has a network of its own: nothing but lo, which is up.  Its output is written to the
    descriptors *stdout* and *stderr* as it comes; with *terminal* it talks to ours instead.

    Returns 124 if it ran longer than *timeout* seconds, 125 if its kernel died (the console is
    then on *stderr*), 128 + n if signal n ended it.  *memory* is for user-mode Linux.
    LVS_NAT_LAB_KERNEL=native or uml in *env* (default: ours) takes that kernel.  *time_travel*
    takes user-mode Linux whose clock jumps where all wait; *timeout* is by our own clock.

    Raises NotInstalled if this machine can give no such kernel.
    """
    environ = dict(os.environ if env is None else env)
    folders = [path.resolve() for path in writable]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a directory, so it cannot be written in the lab")
    if time_travel and terminal:
        raise UsageError("a clock that jumps where all wait cannot wait for somebody at a terminal")
    kind = Kind.UML if time_travel else choose(environ)
    tools = packages.gather(PROGRAMS[kind], environ)
    environ[INSIDE] = kind.value
    environ["PATH"] = ":".join(filter(None, [environ.get("PATH"), packages.SEARCH]))
    orders = Orders(
        script=_script(command, environ, cwd or Path.cwd(), terminal, folders),
        timeout=timeout,
        memory=memory,
        writable=tuple(folders),
        stdout=stdout,
        stderr=stderr,
        terminal=terminal,
    )
    if kind is Kind.NATIVE:
        return native.run(orders, tools)
    linux = timetravel.linux(environ) if time_travel else uml.packaged(tools)
    return uml.run(orders, tools, linux)


def choose(environ: Mapping[str, str]) -> Kind:
    """Return this machine's kernel where we are root and it has IPVS, else user-mode Linux.

    Loads the module ip_vs, as nothing short of it tells whether a container may.
    """
    if environ.get("LVS_NAT_LAB_KERNEL"):
        return Kind(environ["LVS_NAT_LAB_KERNEL"])
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return Kind.UML
    if not Path("/proc/net/ip_vs").exists() and not _succeeds("modprobe", "-q", "ip_vs"):
        return Kind.UML
    usable = _succeeds("unshare", "--net", "--mount", "--pid", "--fork", "true")
    return Kind.NATIVE if usable else Kind.UML


def inside() -> bool:
    """Return whether this process has been given its kernel by run()."""
    return INSIDE in os.environ


def _succeeds(program: str, *arguments: str) -> bool:
    path = shutil.which(program, path=packages.SEARCH)
    return (
        bool(path) and not subprocess.run([str(path), *arguments], capture_output=True).returncode
    )


def _script(
    command: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path,
    terminal: bool,
    writable: Sequence[Path],
) -> str:
    """Return the sh script that becomes *command*."""
    names = [name for name in environ if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)]
    lines = [f"export {name}={shlex.quote(environ[name])}" for name in names]
    if terminal:
        size = shutil.get_terminal_size()
        lines.append(f"stty rows {size.lines} cols {size.columns}")
    # The prober is nobody there, and must find its Python and our code in somebody's home.
    closed = [it for it in _closed(cwd) if not any(it.is_relative_to(own) for own in writable)]
    if closed:
        lines.append(f"chmod o+x {shlex.join(map(str, closed))}")
    lines += [f"cd {shlex.quote(str(cwd))} || exit 125", f"exec {shlex.join(command)}"]
    return "\n".join(lines) + "\n"


def _closed(cwd: Path) -> list[Path]:
    """Return the folders on the way to what a guest runs that not everybody may pass."""
    places = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parent, cwd)
    ways = {folder for place in places for folder in (place, *place.parents)}
    return sorted(folder for folder in ways if not folder.stat().st_mode & stat.S_IXOTH)
