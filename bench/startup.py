"""python -m bench.startup: how long a command and a start take, and what the processes weigh.

`status` is a new process each time, of the program as the package installs it, asking a director
with 200 real servers; it is compared with the bare interpreter, turn by turn.  A start is timed
until the kernel holds the first real server, and until it holds all, beside that of keepalived
with the same servers and a TCP check of each, in the same kernel.  Memory is that of every
process once all servers have been asked for some seconds: RSS, and PSS, in which shared pages
count for each by its share.  Exits 1 if a promise is broken: status takes at most four times
as long as `python3 -I -c pass`.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench import command, machine
from bench.daemons import LAUNCHER, command_line, libraries, tools
from bench.figures import Promise, Table

PROMISE = 4.0  # times the bare interpreter
SERVERS = [f"10.1.0.{n}" for n in range(1, 201)]
VIRTUAL = "10.0.0.1"
BARE = (sys.executable, "-I", "-c", "pass")
WAIT = 60.0  # seconds for anything
SETTLE = 6.0  # seconds after a start until memory is looked at
GUEST = 1800  # seconds that all may take


def measure(options: Namespace) -> Iterator[Table]:
    """Measure all, or each once where it is to be quick."""
    runs = 3 if options.quick else options.runs
    with tempfile.TemporaryDirectory(prefix="lvs-nat-bench.") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the prober is nobody
        bench = Bench(folder)
        turns, memory = used(bench, runs)
        yield status(turns)
        yield starts(bench, runs // 3)
        yield memory


def used(bench: Bench, runs: int) -> tuple[list[tuple[float, float]], Table]:
    """Return the times of both commands, turn by turn, and the memory of all processes."""
    with bench.running(bench.ours("check = tcp\n")) as pids:
        time.sleep(SETTLE)
        turns = [(timed(BARE), timed(bench.command("status"))) for _ in range(runs)]
        weights = {f"lvs-nat {name}": it for name, it in zip(PARTS, map(machine.memory, pids()))}
    with bench.running(bench.theirs()) as pids:
        time.sleep(SETTLE)
        names = ("keepalived", "keepalived checker")
        weights.update(zip(names, map(machine.memory, pids())))
    rows = tuple((name, rss / 1024, pss / 1024) for name, (rss, pss) in weights.items())
    title = f"Memory, {len(SERVERS)} real servers asked once a second"
    return turns, Table(title, ("process", "RSS MB", "PSS MB"), rows, bars="PSS MB")


def status(turns: Sequence[tuple[float, float]]) -> Table:
    """Return how long the command takes."""
    bare, ours = (median(column) for column in zip(*turns))
    return Table(
        f"A command, {len(SERVERS)} real servers, medians of {len(turns)} runs",
        ("command", "s", "for the bare interpreter's"),
        (("python3 -I -c pass", bare, 1.0), ("lvs-nat status", ours, ours / bare)),
        promises=(Promise("status for the bare interpreter's time", ours / bare, PROMISE),),
    )


def starts(bench: Bench, runs: int) -> Table:
    """Return how long starts take."""
    ways = {
        "lvs-nat": bench.ours(""),
        "lvs-nat, on_start = trust": bench.ours("on_start = trust\n"),
        "keepalived": bench.theirs(),
    }
    found = [{name: bench.start(way) for name, way in ways.items()} for _ in range(runs)]
    middles = {name: [median(run[name][n] for run in found) for n in (0, 1)] for name in ways}
    first, all_ = middles["keepalived"]
    return Table(
        f"A start, {len(SERVERS)} real servers, medians of {runs} runs",
        ("daemon", "first served after s", "/ keepalived's", "all after s", "all / keepalived's"),
        tuple((name, a, a / first, b, b / all_) for name, (a, b) in middles.items()),
        notes=("keepalived serves before it has asked; by default lvs-nat asks first.",),
        bars="all after s",
    )


PARTS = ("director", "spawner", "prober")


class Bench:
    """A machine with a virtual address and real servers, all on its loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: list[str] = []
        addresses = "".join(f"address add {it}/32 dev lo\n" for it in (VIRTUAL, *SERVERS))
        subprocess.run(["ip", "-batch", "-"], input=addresses, text=True, check=True)
        self._listener = socket.create_server(("", 80), backlog=1024)
        threading.Thread(target=self._serve, daemon=True).start()
        (folder / "program").write_text(LAUNCHER)
        lines = [f"-A -t {VIRTUAL}:80 -s wlc"]
        lines += [f"-a -t {VIRTUAL}:80 -r {server}:80 -m -w 1" for server in SERVERS]
        (folder / "rules").write_text("\n".join(lines) + "\n")
        (folder / "keepalived.conf").write_text("\n".join(keepalived_conf()) + "\n")

    def _serve(self) -> None:
        while True:
            self._listener.accept()[0].close()

    def command(self, word: str) -> list[str]:
        """Return the command line of lvs-nat for one word."""
        return command_line(self._folder, word)

    def ours(self, config: str) -> Callable[[], list[str]]:
        def way() -> list[str]:
            (self._folder / "conf").write_text(config)
            return self.command("run")

        return way

    def theirs(self) -> Callable[[], list[str]]:
        files = ("-f", "keepalived.conf", "-p", "keepalived.pid", "-c", "checkers.pid")
        paths = [it if it[0] == "-" else str(self._folder / it) for it in files]
        program = str(tools().path("keepalived"))
        return lambda: [program, "--dont-fork", "--check", "--log-console", *paths]

    @contextmanager
    def running(self, way: Callable[[], list[str]]) -> Iterator[Callable[[], list[int]]]:
        """Have a daemon run until all servers are in the table, and clear up.

        Gives what tells the pids of its processes.
        """
        quiet = subprocess.DEVNULL
        daemon = subprocess.Popen(way(), stdout=quiet, stderr=quiet, env=libraries())
        try:
            until(partial(holds, len(SERVERS)))
            yield lambda: machine.family(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait(WAIT)
            subprocess.run(["ipvsadm", "-C"], check=True)
            (self._folder / "run" / "state.json").unlink(missing_ok=True)

    def start(self, way: Callable[[], list[str]]) -> tuple[float, float]:
        """Return the seconds until the first server is in the table, and until all are."""
        moments: list[float] = []
        began = time.monotonic()

        def watch() -> None:
            for enough in (1, len(SERVERS)):
                until(partial(holds, enough))
                moments.append(time.monotonic() - began)

        watching = threading.Thread(target=watch)
        watching.start()
        with self.running(way):
            watching.join()
        return moments[0], moments[1]


def keepalived_conf() -> Iterator[str]:
    yield f"virtual_server {VIRTUAL} 80 {{"
    yield from ("lvs_sched wlc", "lvs_method NAT", "protocol TCP", "delay_loop 1")
    for server in SERVERS:
        yield f"real_server {server} 80 {{"
        yield "weight 1\nTCP_CHECK {\nconnect_timeout 1\n}\n}"
    yield "}"


def held() -> int:
    """Return how many real servers the kernel's table holds."""
    try:
        return Path("/proc/net/ip_vs").read_text().count("\n  -> ") - 1
    except FileNotFoundError:
        return 0


def holds(enough: int) -> bool:
    """Say whether the kernel's table holds *enough* real servers."""
    return held() >= enough


def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds, within 2 ms; end all if that takes WAIT seconds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing within {WAIT:g} s")
        time.sleep(0.002)


def timed(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=15, help="of status; starts are a third of it")


if __name__ == "__main__":
    sys.exit(command.run("bench.startup", __doc__, measure, options, guest=GUEST, fetch=tools))
