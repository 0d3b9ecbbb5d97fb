"""User-mode Linux whose clock jumps to the next event where all wait: a day passes in minutes.

Nobody packages one.  It is made of Debian's kernel sources by this machine's compiler, once; what
else that takes is unpacked beside it.  Code costs no time in it, so it measures waits, not speed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lvs_nat.errors import LvsNatError, NotInstalled
from lvs_nat.lab import packages
from lvs_nat.lab.uml import Linux

SOURCES = ("bc", "bison", "flex", "linux-source", "m4")
# Program: Debian package.  They must be this machine's: a compiler does not run where it is
# merely unpacked, and there is no apt elsewhere to fetch the sources with.
MACHINES = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "gcc": "gcc libc6-dev",
    "make": "make",
    "perl": "perl",
    "tar": "tar",
    "xz": "xz-utils",
}
# Beyond what user-mode Linux is by default (defconfig).
WANTED = (
    "UML_TIME_TRAVEL_SUPPORT",
    # The guest: this machine's files below an overlay, limits, whose child is whose.
    *("HOSTFS", "OVERLAY_FS", "TMPFS", "TMPFS_XATTR", "DEVTMPFS", "CGROUPS", "SECCOMP_FILTER"),
    "PROC_CHILDREN",
    # The network of the lab, a namespace for every host.
    *("NAMESPACES", "NET_NS", "PID_NS", "UTS_NS", "USER_NS", "VETH", "BRIDGE", "DUMMY"),
    *("IPV6", "IP_MULTICAST", "IP_ADVANCED_ROUTER", "IP_MULTIPLE_TABLES", "INET_DIAG"),
    *("NET_SCHED", "NET_SCH_NETEM"),
    # IPVS with all of its schedulers.
    *("NETFILTER", "NETFILTER_ADVANCED", "NF_CONNTRACK", "IP_VS", "IP_VS_IPV6", "IP_VS_NFCT"),
    *("IP_VS_PROTO_TCP", "IP_VS_PROTO_UDP", "IP_VS_PROTO_SCTP"),
    *("IP_VS_RR", "IP_VS_WRR", "IP_VS_LC", "IP_VS_WLC", "IP_VS_FO", "IP_VS_OVF", "IP_VS_LBLC"),
    *("IP_VS_LBLCR", "IP_VS_DH", "IP_VS_SH", "IP_VS_MH", "IP_VS_SED", "IP_VS_NQ", "IP_VS_TWOS"),
    # What the director hears of clients' packets with, and the firewalls of the lab.
    *("PACKET", "BPF_SYSCALL", "IP_NF_IPTABLES", "IP_NF_FILTER", "IP_NF_NAT", "IP_NF_RAW"),
    *("IP6_NF_IPTABLES", "IP6_NF_FILTER", "IP6_NF_RAW", "NETFILTER_XT_MATCH_IPVS"),
    *("NETFILTER_XT_MATCH_U32", "NETFILTER_XT_TARGET_MASQUERADE", "NETFILTER_XT_SET", "IP_SET"),
    *("IP_SET_HASH_IP", "IP_SET_HASH_IPPORT", "IP_SET_HASH_IPPORTIP"),
)
# A guest that has it all built in needs no modules of its own release.
UNWANTED = ("MODULES", "SOUND", "UML_SOUND")
WORDS = ("time-travel=inf-cpu",)  # time stands still while code runs
NEWS = 60.0  # seconds between two lines about a kernel that is being made
TAIL = 20  # lines of a log that tell what went wrong


def linux(environ: Mapping[str, str]) -> Linux:
    """Return the kernel, made if it is not there yet; NotInstalled if it cannot be made here.

    Several processes may ask at once; one makes it, the others wait.
    """
    folder = packages.cache(environ) / "kernels"
    program = folder / f"linux-timetravel-{key(packages.release())}"
    folder.mkdir(parents=True, exist_ok=True)
    with packages.locked(program.with_suffix(".lock")):
        if not program.exists():
            check(environ.get("PATH", packages.SEARCH))
            _build(program, environ)
    return Linux(program, words=WORDS)


def key(release: str, wanted: Sequence[str] = WANTED) -> str:
    """Return what tells a kernel made on *release* with what is *wanted* from every other."""
    made_of = (SOURCES, wanted, UNWANTED, release)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]


def check(path: str) -> None:
    """Raise NotInstalled, and say what to install, if *path* lacks what a kernel is made with."""
    missing = [name for name in MACHINES if not shutil.which(name, path=path)]
    if missing:
        raise NotInstalled(
            "the time-travelling kernel is made here once, and that takes programs that are not"
            f" here ({', '.join(missing)}): on Debian, apt-get install "
            + " ".join(MACHINES[name] for name in missing)
        )


def fragment() -> str:
    """Return what is wanted as lines of a kernel's .config."""
    lines = [f"CONFIG_{name}=y" for name in WANTED]
    lines += [f"# CONFIG_{name} is not set" for name in UNWANTED]
    return "\n".join(lines) + "\n"


def lost(config: str) -> list[str]:
    """Return what is wanted but not in *config*: what depends on something else goes silently."""
    lines = set(config.splitlines())
    return [name for name in WANTED if f"CONFIG_{name}=y" not in lines]


def _build(program: Path, environ: Mapping[str, str]) -> None:
    began = time.monotonic()
    packages.say(
        f"making a kernel whose clock jumps (once, some 10 minutes; 2 GB meanwhile; {program})"
    )
    log, place = program.with_suffix(".log"), program.with_suffix(".new")
    shutil.rmtree(place, ignore_errors=True)  # of one who was killed at it
    place.mkdir()
    log.unlink(missing_ok=True)
    try:
        _make(place, environ, log).rename(program)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    packages.say(f"made in {time.monotonic() - began:.0f} s: {program}")


def _make(place: Path, environ: Mapping[str, str], log: Path) -> Path:
    """Make the kernel below *place*; return it."""
    tools = packages.Tools(packages.unpacked(list(SOURCES), place / "packages", False))
    source = _source(tools, place, log)
    make = ("make", "ARCH=um")
    settings = _environment(tools, environ)
    follow((*make, "defconfig"), source, settings, log)
    config = source / ".config"
    with config.open("a") as file:
        file.write(fragment())  # of two lines about one thing, the last one holds
    follow((*make, "olddefconfig"), source, settings, log)
    if gone := lost(config.read_text()):
        raise LvsNatError(f"the sources of this kernel do not give {' '.join(gone)}: see {log}")
    follow((*make, f"-j{len(os.sched_getaffinity(0))}", "linux"), source, settings, log)
    follow(("strip", "linux"), source, settings, log)
    return source / "linux"


def _source(tools: packages.Tools, place: Path, log: Path) -> Path:
    """Return the folder of the kernel's sources, unpacked below *place*."""
    archives = sorted(Path(f"{tools.tree}/usr/src").glob("**/linux-source-*.tar.*"))
    if not archives:
        raise NotInstalled("the package linux-source has no sources of a kernel in it")
    packages.say(f"unpacking {archives[-1].name}")
    folder = place / "source"
    folder.mkdir()
    words = ("tar", "-x", "--strip-components=1", "-f", str(archives[-1]))
    follow(words, folder, os.environ, log)
    return folder


def _environment(tools: packages.Tools, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the kernel's make is told: nothing of a make that we may be running under."""
    plain = {"PATH": environ.get("PATH", packages.SEARCH), "LC_ALL": "C"}
    unpacked = f"{tools.tree}/usr"
    return {
        **tools.environment(plain),
        "M4": shutil.which("m4", path=f"{unpacked}/bin") or "m4",
        "BISON_PKGDATADIR": f"{unpacked}/share/bison",
    }


def follow(command: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path) -> None:
    """Run *command* in *folder* and add what it prints to *log*; a word of it now and then.

    Raises LvsNatError with the end of that if it fails.
    """
    began = told = time.monotonic()
    lines = 0
    with log.open("a") as file, subprocess.Popen(
        command, cwd=folder, env=environ, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                file.write(line)
                lines += 1
                if time.monotonic() >= told + NEWS:
                    told = time.monotonic()
                    packages.say(f"{told - began:.0f} s, {lines} steps done: {line.strip()}")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        end = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-TAIL:])
        raise LvsNatError(
            f"{' '.join(command)} failed (exit status {process.returncode}); all it said is in"
            f" {log}, at the end:\n{end.rstrip()}"
        )
