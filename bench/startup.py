"""python bench/startup.py: how long a command and a start take, and what the processes weigh.

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

import argparse
import compileall
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from lvs_nat.lab import kernel, packages  # noqa: E402 - found beside us, installed or not

PROMISE = 4.0  # times the bare interpreter
SERVERS = [f"10.1.0.{n}" for n in range(1, 201)]
VIRTUAL = "10.0.0.1"
BARE = (sys.executable, "-I", "-c", "pass")
KEEPALIVED = {"keepalived": ("keepalived", "keepalived")}
# What lvs-nat.spec installs as the command.
PROGRAM = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from lvs_nat.cli.main import main
sys.exit(main())
"""
WAIT = 60.0  # seconds for anything
SETTLE = 6.0  # seconds after a start until memory is looked at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=15, help="of status; starts are a third of it")
    arguments = parser.parse_args()
    if kernel.inside():
        with tempfile.TemporaryDirectory() as folder:
            return measure(Bench(Path(folder), os.environ["KEEPALIVED"]), arguments.runs)
    # What a guest compiles is lost with it.
    compileall.compile_dir(ROOT / "lvs_nat", quiet=2)
    rival = packages.gather(KEEPALIVED, os.environ)
    environ = {**os.environ, "KEEPALIVED": str(rival.path("keepalived"))}
    if rival.tree:
        libraries = map(str, sorted((rival.tree / "usr/lib").glob("*-linux-gnu*")))
        environ["LD_LIBRARY_PATH"] = ":".join(libraries)
    command = [sys.executable, __file__, *sys.argv[1:]]
    return kernel.run(command, timeout=120 + arguments.runs * 20, cwd=ROOT, env=environ)


def measure(bench: Bench, runs: int) -> int:
    with bench.running(bench.ours("check = tcp\n")) as pids:
        time.sleep(SETTLE)
        turns = [(timed(BARE), timed(bench.command("status"))) for _ in range(runs)]
        weights = {f"lvs-nat {name}": it for name, it in zip(PARTS, map(weight, tree(pids)))}
    with bench.running(bench.theirs()) as pids:
        time.sleep(SETTLE)
        parts = zip(("keepalived", "keepalived checker"), map(weight, tree(pids)))
        weights.update(parts)
    ways = {
        "lvs-nat": bench.ours("on_start = check\n"),
        "lvs-nat, on_start = trust": bench.ours("on_start = trust\n"),
        "keepalived": bench.theirs(),
    }
    starts = [{name: bench.start(way) for name, way in ways.items()} for _ in range(runs // 3)]
    bare, status = (median(column) for column in zip(*turns))
    print(f"medians of {runs} runs, {len(SERVERS)} real servers:")
    print(f"  {'python3 -I -c pass':32} {bare:8.3f} s")
    print(f"  {'lvs-nat status':32} {status:8.3f} s   {status / bare:.2f} of the bare interpreter")
    print(f"start until the kernel holds the first server, and all; medians of {len(starts)} runs:")
    theirs = [median(run["keepalived"][n] for run in starts) for n in (0, 1)]
    for name in ways:
        first, last = (median(run[name][n] for run in starts) for n in (0, 1))
        shares = f"{first / theirs[0]:.2f} and {last / theirs[1]:.2f} of keepalived's"
        print(f"  {name:32} {first:8.3f} s {last:8.3f} s   {shares}")
    print("memory in MB, RSS and PSS:")
    for name, (rss, pss) in weights.items():
        print(f"  {name:32} {rss:8.1f} {pss:8.1f}")
    kept = status <= PROMISE * bare
    print("kept" if kept else "BROKEN: see the promise in bench/startup.py")
    return 0 if kept else 1


PARTS = ("director", "spawner", "prober")


class Bench:
    """A machine with a virtual address and real servers, all on its loopback."""

    def __init__(self, folder: Path, keepalived: str) -> None:
        self._folder = folder
        self._keepalived = keepalived
        self._places: list[str] = []
        addresses = "".join(f"address add {it}/32 dev lo\n" for it in (VIRTUAL, *SERVERS))
        subprocess.run(["ip", "-batch", "-"], input=addresses, text=True, check=True)
        self._listener = socket.create_server(("", 80), backlog=1024)
        threading.Thread(target=self._serve, daemon=True).start()
        (folder / "program").write_text(PROGRAM)
        lines = [f"-A -t {VIRTUAL}:80 -s wlc"]
        lines += [f"-a -t {VIRTUAL}:80 -r {server}:80 -m -w 1" for server in SERVERS]
        (folder / "rules").write_text("\n".join(lines) + "\n")
        (folder / "keepalived.conf").write_text("\n".join(keepalived_conf()) + "\n")

    def _serve(self) -> None:
        while True:
            self._listener.accept()[0].close()

    def command(self, word: str) -> list[str]:
        options = {"--rules": "rules", "--config": "conf", "--run-dir": "run", "--state-dir": "run"}
        places = [it for key, name in options.items() for it in (key, str(self._folder / name))]
        return [sys.executable, "-IB", str(self._folder / "program"), word, *places]

    def ours(self, config: str) -> Callable[[], list[str]]:
        def way() -> list[str]:
            (self._folder / "conf").write_text(config)
            return self.command("run")

        return way

    def theirs(self) -> Callable[[], list[str]]:
        files = ("-f", "keepalived.conf", "-p", "keepalived.pid", "-c", "checkers.pid")
        paths = [it if it[0] == "-" else str(self._folder / it) for it in files]
        return lambda: [self._keepalived, "--dont-fork", "--check", "--log-console", *paths]

    @contextmanager
    def running(self, way: Callable[[], list[str]]) -> Iterator[int]:
        """Have a daemon run until all servers are in the table; give its pid, and clear up."""
        daemon = subprocess.Popen(way(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: held() == len(SERVERS))
            yield daemon.pid
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
                until(lambda enough=enough: held() >= enough)  # type: ignore[misc]
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


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing within {WAIT:g} s")
        time.sleep(0.002)


def timed(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def tree(pid: int) -> list[int]:
    """Return *pid* and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in tree(int(child)))]


def weight(pid: int) -> tuple[float, float]:
    """Return RSS and PSS in megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return sizes["Rss"] / 1024, sizes["Pss"] / 1024


if __name__ == "__main__":
    sys.exit(main())
