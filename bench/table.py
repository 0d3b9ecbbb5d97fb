"""python -m bench.table: how fast 10,000 real servers are loaded, against ipvsadm -R.

All load the same file into the same kernel as whole processes, one after the other, several
times; the medians are compared.  `load` is the director's own way from file to kernel without
its daemon (bench/loader.py); `start` and `reload` are the commands that an operator types, with
checks off, by an interpreter that finds what the packages put there and no more.  A start has
its price however small the table is, so one with two servers is timed as well.  Then both go
over the same file again, and load changes one weight in a hundred.

Exits 1 if a promise is broken: load takes at most a quarter of ipvsadm's time, and so does what
the thousands add to a start; nothing is written where nothing has changed.  A whole start takes
less than ipvsadm alone, but no such part of it: to raise a command, a director and a prober, each
of which loads its modules by many system calls, has its price in user-mode Linux for two servers
as for thousands ("start of two").

Each begins in a network namespace of its own: the kernel keeps what was removed from a table
for two minutes, and searches it for every destination that is added (ip_vs_ctl.c,
ip_vs_trash_get_dest), so that whoever came later would be the slower.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench import command
from bench.command import ROOT
from bench.daemons import LAUNCHER
from bench.figures import Promise, Table

PROMISE, WHOLE = 0.25, 1.0  # of ipvsadm's time
CLONE_NEWNET = 0x40000000  # linux/sched.h
GUEST = 1800  # seconds that all may take


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--servers", type=int, default=10_000, help="in all services together")
    parser.add_argument("--runs", type=int, default=5)


def measure(options: Namespace) -> Iterator[Table]:
    """Measure all, or in little where it is to be quick."""
    services, servers, runs = options.services, options.servers, options.runs
    if options.quick:
        services, servers, runs = 2, 20, 1
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), services, servers // services)
        results = [bench.run() for _ in range(runs)]
    medians = {name: median(run[name] for run in results) for name in results[0]}
    times = {name: value for name, value in medians.items() if not name.endswith("writes")}
    writes = [run[name] for run in results for name in run if name.endswith("writes")]
    theirs, start = times["ipvsadm -R"], times["lvs-nat start"]
    added = start - times["lvs-nat start of two"]
    yield Table(
        f"{servers:,} real servers in {services} services are loaded",
        ("what", "s", "/ ipvsadm's"),
        tuple((name, value, value / theirs) for name, value in times.items()),
        notes=("In user-mode Linux, whose seconds are long: only the ratios mean something.",),
        promises=(
            Promise("load / ipvsadm's time", times["load"] / theirs, PROMISE),
            Promise("what thousands add to a start", added / theirs, PROMISE),
            Promise("lvs-nat start / ipvsadm's time", start / theirs, WHOLE),
            Promise("writes where nothing has changed", max(writes), 0),
        ),
        bars="s",
    )


class Bench:
    """Files to load, and programs to load them with."""

    def __init__(self, folder: Path, services: int, servers: int) -> None:
        self._folder = folder
        self._rules, self._edited = folder / "rules", folder / "edited"
        self._rules.write_text(rule_file(services, servers, edited=False))
        self._edited.write_text(rule_file(services, servers, edited=True))
        self._two = folder / "two"
        self._two.write_text(rule_file(1, 2, edited=False))
        self._config = folder / "lvs-nat.conf"
        self._config.write_text("check = none\n")
        self._launcher = folder / "lvs-nat"
        self._launcher.write_text(LAUNCHER)
        # That of development has hooks which every one of its processes has to load.
        venv.create(folder / "venv", symlinks=True)
        self._python = [str(folder / "venv/bin/python"), "-IB"]
        self._namespaces: list[int] = []

    def run(self) -> dict[str, float]:
        """Return seconds, and writes where nothing was to be written, by name."""
        found = {}
        self.begin()
        with self._rules.open() as stdin:
            found["ipvsadm -R"] = timed(["ipvsadm", "-R"], stdin=stdin)
        table = listing()
        self.begin()
        found["load"], _ = self._load(self._rules)
        if listing() != table:
            raise SystemExit("the two tables differ")
        found["load, nothing new"], found["load, nothing new, writes"] = self._load(self._rules)
        found["load, 1 % new weights"], _ = self._load(self._edited)
        self.begin()
        return {**found, **self._operated(table)}

    def begin(self) -> None:
        """Go into a network namespace of its own.

        The last one is emptied, and kept: it would be dissolved while the next one is timed.
        """
        subprocess.run(["ipvsadm", "-C"], check=True)
        self._namespaces.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def _operated(self, table: list[str]) -> dict[str, float]:
        """Do what an operator does."""
        found: dict[str, float] = {"lvs-nat start": timed(self.command("start"))}
        if listing() != table:
            raise SystemExit("the director's table differs")
        before = self._writes()
        found["lvs-nat reload"] = timed(self.command("reload"))
        found["lvs-nat reload, writes"] = self._writes() - before
        self._stop()
        self.begin()
        found["lvs-nat start of two"] = timed(self.command("start", self._two))
        self._stop()
        return found

    def _stop(self) -> None:
        subprocess.run(self.command("stop"), check=True, stdout=subprocess.DEVNULL)

    def command(self, word: str, rules: Path | None = None) -> list[str]:
        folder = self._folder
        places = ["--rules", rules or self._rules, "--config", self._config]
        places += ["--run-dir", folder, "--state-dir", folder]
        return [*self._python, str(self._launcher), word, *map(str, places)]

    def _writes(self) -> int:
        done = subprocess.run([*self.command("status"), "--json"], check=True, capture_output=True)
        return int(json.loads(done.stdout)["writes"])

    def _load(self, rules: Path) -> tuple[float, int]:
        loader = [*self._python, str(ROOT / "bench" / "loader.py"), str(rules)]
        started = time.perf_counter()
        done = subprocess.run(loader, check=True, capture_output=True, text=True)
        return time.perf_counter() - started, int(done.stdout)


def timed(command: list[str], **options: Any) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - started


def listing() -> list[str]:
    done = subprocess.run(["ipvsadm", "-Sn"], check=True, capture_output=True, text=True)
    return sorted(done.stdout.splitlines())


def rule_file(services: int, servers: int, *, edited: bool) -> str:
    """Return rules as ipvsadm -S writes them; *edited* gives each hundredth server weight 7."""
    lines = []
    for i in range(services):
        name = f"-t 172.25.{i // 250}.{i % 250 + 1}:80"
        lines.append(f"-A {name} -s wlc")
        for j in range(servers):
            weight = 7 if edited and (i * servers + j) % 100 == 0 else 1 + j % 5
            address = f"10.{i % 250}.{j // 250}.{j % 250 + 1}"
            lines.append(f"-a {name} -r {address}:80 -m -w {weight}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(command.run("bench.table", __doc__, measure, options, guest=GUEST))
