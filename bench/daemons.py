"""The daemons that are compared: each is told the same pools and runs on one core."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Union

import lvs_nat
from bench import machine
from bench.command import ROOT
from bench.pools import KINDS, Pool
from lvs_nat.checks import kinds
from lvs_nat.core import config
from lvs_nat.errors import ConfigError
from lvs_nat.lab import packages

# The packages' /usr/sbin/lvs-nat, but for where they put what it needs.
LAUNCHER = f"""\
import sys
sys.path[:0] = {[str(ROOT), sysconfig.get_path("purelib")]}
from lvs_nat.cli.main import command
command()
"""
RIVALS = {"keepalived": ("keepalived", "keepalived"), "ldirectord": ("ldirectord", "")}
# A virtual service has at most this many real servers.
SIZE = 100


@dataclass(frozen=True)
class Change:
    """One change of a destination that a daemon made: add, edit or del, at seconds."""

    word: str
    server: str
    weight: int
    at: float


class Running:
    """A daemon at work; `close` ends it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def pids(self) -> list[int]:
        """The daemon's processes now."""
        return machine.family(self.process.pid)

    def report(self) -> dict[str, Any]:
        """Wait for the next report of our prober and return it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError((self._folder / "errors").read_text() or "the daemon has ended")
        return dict(json.loads(line))

    def changes(self) -> list[Change]:
        """Return the changes of destinations so far."""
        path = self._folder / "changes"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        words = map(str.split, lines)
        return [Change(word, server, int(weight), float(at)) for word, server, weight, at in words]

    def close(self) -> None:
        """End the daemon."""
        machine.end(self.process, self.pids)
        if self.process.stdout:
            self.process.stdout.close()


class Ours:
    """lvs-nat, with its table in memory (bench/director.py)."""

    name = "lvs-nat"

    @property
    def version(self) -> str:
        return f"lvs-nat {lvs_nat.__version__}"

    def knows(self, kind: str) -> bool:
        """Say whether this lvs-nat has checks of *kind*."""
        settings = "".join(f"{key} = {value}\n" for key, value in KINDS[kind].ours.items())
        try:
            setup = config.parse(settings.replace("AUTHORITY", "/authority"), "lvs-nat.conf")
        except ConfigError:
            return False
        return all(check.kind in kinds.MODULES for check in setup.default.checks)

    def start(
        self, pools: Sequence[Pool], folder: Path, authority: str = "", urgent: bool = False
    ) -> Running:
        """Start it on *pools*."""
        settings = [f"check = {KINDS[pools[0].kind].ours['check']}", "sysctl = no", "[services]"]
        rules = []
        for name, pool in virtuals(pools):
            kind = KINDS[pool.kind]
            flag = "-u" if kind.protocol == "udp" else "-t"
            rules.append(f"-A {flag} {name} -s rr")
            rules += [f"-a {flag} {name} -r {server} -m -w 1" for server in pool.servers]
            settings += [f"[[{kind.protocol} {name}]]", f"interval = {pool.interval}"]
            settings += [f"timeout = {pool.timeout}", f"fast = {min(0.2, pool.interval)}"]
            settings += [f"{key} = {value}" for key, value in kind.ours.items()]
        (folder / "rules").write_text("\n".join(rules) + "\n")
        text = "\n".join(settings).replace("AUTHORITY", authority) + "\n"
        (folder / "lvs-nat.conf").write_text(text)
        command = [sys.executable, "-m", "bench.director", str(folder)]
        with (folder / "errors").open("w") as errors:
            process = machine.start(
                command, machine.CHECKER, urgent, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors
            )
        return Running(process, folder)


class Keepalived:
    """keepalived, over a kernel's IPVS that is not there (bench/ipvs_shim.c)."""

    name = "keepalived"

    @property
    def version(self) -> str:
        said = subprocess.run(
            [tools().path("keepalived"), "--version"],
            env=libraries(),
            capture_output=True,
            text=True,
        )
        found = re.search(r"v(\d\S*)", said.stderr + said.stdout)
        return f"keepalived {found[1] if found else ''}"

    def knows(self, kind: str) -> bool:
        """Say whether it has checks of *kind*."""
        return KINDS[kind].keepalived is not None

    def start(
        self, pools: Sequence[Pool], folder: Path, authority: str = "", urgent: bool = False
    ) -> Running:
        """Start it on *pools*."""
        (folder / "keepalived.conf").write_text("\n".join(keepalived_conf(pools)) + "\n")
        shim = machine.compiled("ipvs_shim.c", "-shared", "-fPIC")
        environ = {**libraries(), "LD_PRELOAD": str(shim), "IPVS_SHIM_LOG": str(folder / "changes")}
        program = str(tools().path("keepalived"))
        files = {"-f": "keepalived.conf", "-p": "keepalived.pid", "-c": "checkers.pid"}
        command = [program, "-nGC", *(f"{it}{folder / name}" for it, name in files.items())]
        with (folder / "log").open("w") as log:
            process = machine.start(
                command, machine.CHECKER, urgent, env=environ, stdout=log, stderr=log
            )
        return Running(process, folder)


class Ldirectord:
    """ldirectord, with a program in ipvsadm's place (bench/ipvsadm.py)."""

    name = "ldirectord"

    @property
    def version(self) -> str:
        """The package's version: the program knows another one, which has not moved for years."""
        log = Path(f"{tools().tree or ''}/usr/share/doc/ldirectord/changelog.Debian.gz")
        if not log.exists():
            return self.name
        with gzip.open(log, "rt", encoding="utf-8") as lines:
            found = re.search(r"\((?:\d+:)?([\d.]+)", lines.readline())
        return f"{self.name} {found[1]}" if found else self.name

    def knows(self, kind: str) -> bool:
        """Say whether it has checks of *kind*."""
        return KINDS[kind].ldirectord is not None

    def start(
        self, pools: Sequence[Pool], folder: Path, authority: str = "", urgent: bool = False
    ) -> Running:
        """Start it on *pools*."""
        (folder / "ldirectord.cf").write_text("\n".join(ldirectord_cf(pools, folder)) + "\n")
        program = tools().path("ldirectord").read_text()
        stub = folder / "ipvsadm"
        # The only way to another ipvsadm and to other folders than the machine's.
        for theirs, here in (("/usr/sbin/ipvsadm", stub), ("/var/run/ldirectord", folder / "run")):
            program = program.replace(f'"{theirs}', f'"{here}')
        (folder / "ldirectord").write_text(program)
        instead = [sys.executable, "-IS", str(ROOT / "bench/ipvsadm.py"), str(folder)]
        stub.write_text(f'#!/bin/sh\nexec {shlex.join(instead)} "$@"\n')
        stub.chmod(0o755)
        with (folder / "log").open("w") as log:
            process = machine.start(
                ["perl", folder / "ldirectord", folder / "ldirectord.cf", "start"],
                machine.CHECKER,
                urgent,
                env={**libraries(), "PERLIO": "perlio"},
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        return Running(process, folder)


Daemon = Union[Ours, Keepalived, Ldirectord]
OURS, KEEPALIVED, LDIRECTORD = Ours(), Keepalived(), Ldirectord()


def virtuals(pools: Sequence[Pool]) -> Iterator[tuple[str, Pool]]:
    """Yield the name of a virtual service of its own for each hundred servers of *pools*."""
    parts = [part for pool in pools for part in pool.split(SIZE)]
    for number, part in enumerate(parts):
        yield f"10.200.{number // 250}.{number % 250 + 1}:80", part


def keepalived_conf(pools: Sequence[Pool]) -> Iterator[str]:
    """Yield the lines of keepalived's configuration."""
    for name, pool in virtuals(pools):
        kind = KINDS[pool.kind]
        # One word to a line: of what follows on the same line it takes no notice.
        checker = "\n".join(kind.keepalived or ()).replace("TIMEOUT", f"{pool.timeout:g}")
        yield f"virtual_server {name.replace(':', ' ')} {{"
        yield f"  delay_loop {pool.interval:g}\n  lb_algo rr\n  lb_kind NAT"
        yield f"  protocol {kind.protocol.upper()}\n  retry 1\n  delay_before_retry 1"
        for server in pool.servers:
            yield f"  real_server {server.replace(':', ' ')} {{\nweight 1\n{checker}\n  }}"
        yield "}"


def ldirectord_cf(pools: Sequence[Pool], folder: Path) -> Iterator[str]:
    """Yield the lines of ldirectord's configuration; it knows whole seconds only."""
    patience = max(1, round(pools[0].timeout))
    yield f"checktimeout={patience}\nnegotiatetimeout={patience}"
    yield f"checkinterval={max(1, round(pools[0].interval))}"
    yield f'supervised=yes\nquiescent=no\nautoreload=no\nlogfile="{folder}/ldirectord.log"'
    for name, pool in virtuals(pools):
        yield f"virtual={name}\n\tscheduler=rr\n\tprotocol={KINDS[pool.kind].protocol}"
        yield from (f"\treal={server} masq" for server in pool.servers)
        yield from (f"\t{line}" for line in KINDS[pool.kind].ldirectord or ())


def command_line(folder: Path, word: str) -> list[str]:
    """Return the command line of lvs-nat for one word, with all that it keeps in *folder*.

    LAUNCHER must stand there as `program`.
    """
    options = {"--rules": "rules", "--config": "conf", "--run-dir": "run", "--state-dir": "run"}
    places = [it for key, name in options.items() for it in (key, str(folder / name))]
    return [sys.executable, "-IB", str(folder / "program"), word, *places]


@lru_cache
def tools() -> packages.Tools:
    """Return the rivals' programs, unpacked beside this machine's if it has none."""
    return packages.gather(RIVALS, os.environ)


def libraries() -> dict[str, str]:
    """Return an environment in which unpacked programs find their libraries."""
    tree = tools().tree
    if tree is None:
        return dict(os.environ)
    shared = [str(path) for path in (tree / "usr/lib").glob("*-linux-gnu*")]
    perl = [tree / "usr/share/perl5", *(tree / "usr/lib").glob("*-linux-gnu*/perl5/*")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(shared),
        "PERL5LIB": ":".join(map(str, perl)),
    }
