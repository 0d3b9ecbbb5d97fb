"""python -m bench.reload: a reload that changes 1 % of 10,000 real servers, against keepalived.

Both hold the same table in the same kernel, each in a network of its own (see bench/table.py),
and check every server by TCP, but once in an hour: it is reloads that are measured.  Timed is
`lvs-nat reload` as it is typed, until it returns; of keepalived, which is told by a signal and
answers nothing, until it uses the processor no more.  Counted of both is what all their
processes have used by two seconds later, of ours the command's too.

Exits 1 if a promise is broken: ours takes at most a twentieth of keepalived's time, and processor.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import command, daemons, machine, table
from bench.figures import Promise, Table
from lvs_nat.lab.topology import until

PROMISE = 0.05  # of keepalived's
GUEST = 1800  # seconds that all may take
CALM = 2.0  # whoever has used nothing for so long has done what it was told
WAIT = 300.0


class Cost(NamedTuple):
    """Seconds of the clock and of the processor."""

    time: float
    processor: float


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--servers", type=int, default=10_000, help="in all services together")
    parser.add_argument("--runs", type=int, default=3)


def measure(options: Namespace) -> Iterator[Table]:
    """Measure all, or in little where it is to be quick."""
    services, servers, runs = options.services, options.servers, options.runs
    if options.quick:
        services, servers, runs = 2, 200, 1
    each = servers // services
    found: dict[str, list[Cost]] = {"lvs-nat": [], "keepalived": []}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), services, each)
        for _ in range(runs):
            found["lvs-nat"] += bench.ours()
            found["keepalived"] += bench.theirs()
    yield tabled(found, services * each)


def tabled(found: dict[str, list[Cost]], servers: int) -> Table:
    """Return the medians, and what of keepalived's ours take."""
    costs = {
        name: Cost(median(it.time for it in costs), median(it.processor for it in costs))
        for name, costs in found.items()
    }
    ours, theirs = costs["lvs-nat"], costs["keepalived"]
    shares = Cost(ours.time / theirs.time, ours.processor / theirs.processor)
    return Table(
        f"1 % of {servers:,} real servers get another weight",
        ("what", "s", "CPU s"),
        (*((name, *cost) for name, cost in costs.items()), ("ours / keepalived's", *shares)),
        notes=("In user-mode Linux, whose seconds are long: only the ratios mean something.",),
        promises=(
            Promise("time of a reload / keepalived's", shares.time, PROMISE),
            Promise("CPU of a reload / keepalived's", shares.processor, PROMISE),
        ),
        bars="s",
    )


class Bench:
    """The same rules in both languages, as they are and with new weights."""

    def __init__(self, folder: Path, services: int, servers: int) -> None:
        self._folder = folder
        self._texts = [table.rule_file(services, servers, edited=it) for it in (False, True)]
        self._table = table.Bench(folder, services, servers)
        (folder / "lvs-nat.conf").write_text("check = tcp\ninterval = 3600\nsysctl = no\n")
        self._listening: list[socket.socket] = []

    def _begin(self) -> None:
        """Go into a network where each real server is this machine, and accepts."""
        self._table.begin()
        subprocess.run(["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"], check=True)
        self._listening.append(socket.create_server(("", 80), backlog=4096))
        threading.Thread(target=self._accept, args=self._listening[-1:], daemon=True).start()

    @staticmethod
    def _accept(listening: socket.socket) -> None:
        while True:
            listening.accept()[0].close()

    def ours(self) -> list[Cost]:
        """Return what a reload of the new weights costs us, and one of the old ones."""
        self._begin()
        subprocess.run(self._command("start", 0), check=True, stdout=subprocess.DEVNULL)
        pids = machine.family(int((self._folder / "lvs-nat.pid").read_text()))
        costs = [self._reload(pids, turn) for turn in (1, 0)]
        subprocess.run(self._command("stop", 0), check=True, stdout=subprocess.DEVNULL)
        return costs

    def _reload(self, pids: Sequence[int], turn: int) -> Cost:
        typed = self._command("reload", turn)
        calm(pids)
        before, began = spent(pids) + children(), time.monotonic()
        subprocess.run(typed, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        time.sleep(CALM)
        cost = Cost(seconds, spent(pids) + children() - before)
        self._compare(turn)
        return cost

    def _command(self, word: str, turn: int) -> list[str]:
        rules = self._folder / "ours"
        rules.write_text(self._texts[turn])
        return self._table.command(word, rules)

    def theirs(self) -> list[Cost]:
        """Return what the same costs keepalived."""
        self._begin()
        self._configure(0)
        files = [f"--{it}={self._folder / it}" for it in ("use-file", "pid", "checkers_pid")]
        words = [str(daemons.tools().path("keepalived")), "--dont-fork", "--check", "--log-console"]
        with (self._folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*words, *files], env=daemons.libraries(), stdout=log, stderr=log, text=True
            )
        size = len(self._texts[0].splitlines())
        until(lambda: len(table.listing()) == size, WAIT, "keepalived's table")
        pids = machine.family(process.pid)
        costs = []
        for turn in (1, 0):
            self._configure(turn)
            calm(pids)
            before, began = spent(pids), time.monotonic()
            os.kill(process.pid, signal.SIGHUP)
            seconds = calm(pids) - began
            costs.append(Cost(seconds, spent(pids) - before))
            self._compare(turn)
        machine.end(process, pids)
        return costs

    def _configure(self, turn: int) -> None:
        lines: list[str] = []
        for words in map(str.split, self._texts[turn].splitlines()):
            if words[0] == "-A":
                lines += ["}"] if lines else []
                lines.append(f"virtual_server {words[2].replace(':', ' ')} {{")
                lines.append("lb_algo wlc\nlb_kind NAT\nprotocol TCP\ndelay_loop 3600")
            else:
                server = words[4].replace(":", " ")
                lines.append(f"real_server {server} {{\nweight {words[7]}")
                lines.append("TCP_CHECK {\nconnect_timeout 3\n}\n}")
        (self._folder / "use-file").write_text("\n".join([*lines, "}", ""]))

    def _compare(self, turn: int) -> None:
        if table.listing() != sorted(self._texts[turn].splitlines()):
            raise SystemExit("the table is not what it should be after a reload")


def calm(pids: Sequence[int]) -> float:
    """Wait until *pids* have used nothing for CALM seconds; return when they last did."""
    last, seen = time.monotonic(), spent(pids)
    while time.monotonic() - last < CALM:
        time.sleep(0.02)
        if (now := spent(pids)) - seen > machine.TICK * 1.5:  # an idle daemon has a tick as well
            last, seen = time.monotonic(), now
    return last


def spent(pids: Sequence[int]) -> float:
    """Return the processor's seconds that *pids* have used, with children that have ended."""
    # Behind the name in brackets these are utime, stime, cutime and cstime (proc(5)).
    rows = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(word) for row in rows for word in row[11:15]) * machine.TICK


def children() -> float:
    """Return what processes that we have waited for have used."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    fetch = daemons.tools
    sys.exit(command.run("bench.reload", __doc__, measure, options, guest=GUEST, fetch=fetch))
