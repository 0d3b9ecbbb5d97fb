"""python -m tests.daemon.day: a day's work of a director in some minutes, its memory flat.

The director and its prober are the real ones, with a table in memory (bench/director.py).  Real
servers on loopback are asked twenty times a second, come and go; operators ask, drain, and reload
other weights; the prober is killed.  No clock is bent: what a day brings to two servers with the
default interval, 172,800 checks, is done in less time.
"""

import argparse
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lvs_nat.errors import LvsNatError
from lvs_nat.lab.topology import until
from lvs_nat.system.control import ask

DAY = 2 * 86_400  # checks
SERVERS = 60
PORT = 8181
CONFIG = "check = connect\ninterval = 0.05\nfast = 0.05\nsysctl = no\n"
VIRTUALS = ("10.200.0.1:80", "10.200.0.2:80")
PAUSE = 0.1  # between two events
LOOKS = 20  # of which the least tells what is held for good
LOOK = 0.02
# What Python processes take and give back from one moment to the next, in kB, and the
# descriptors of questions that are under way at one.  A day's leak would be many times that.
GROWTH = 2048
DESCRIPTORS = 8


class Weight(NamedTuple):
    """What the processes hold: kB, and descriptors, of director, spawner and prober together."""

    resident: int
    descriptors: int


class Servers:
    """Real servers that accept and say nothing; each can be shut and opened.

    Used with `with`.  *draw* decides which network of loopback is theirs.
    """

    def __init__(self, draw):
        network = f"127.{draw.randint(1, 254)}.{draw.randint(1, 254)}"
        self.addresses = [f"{network}.{number}" for number in range(1, SERVERS + 1)]
        self._poll = select.epoll()
        self._open = {}
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        for address in self.addresses:
            self.toggle(address)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True
        self._thread.join()
        for server in self._open.values():
            server.close()
        self._poll.close()

    def toggle(self, address):
        """Shut a server that is open, open one that is shut."""
        with self._lock:
            for fd, server in list(self._open.items()):
                if server.getsockname()[0] == address:
                    del self._open[fd]
                    server.close()
                    return
            server = socket.create_server((address, PORT), backlog=64)
            server.setblocking(False)
            self._open[server.fileno()] = server
            self._poll.register(server, select.EPOLLIN)

    def _serve(self):
        while not self._over:
            for fd, _ in self._poll.poll(0.1):
                with self._lock, suppress(OSError, KeyError):
                    self._open[fd].accept()[0].close()


class Day:
    """A director at work in *folder* on *servers*, and all that is done to both."""

    def __init__(self, folder, servers, draw):
        self._folder, self._servers, self._draw = folder, servers, draw
        self.checks = self.events = 0
        self._write()
        (folder / "lvs-nat.conf").write_text(CONFIG)
        words = [sys.executable, "-m", "bench.director", str(folder)]
        with (folder / "errors").open("w") as errors:
            self._process = subprocess.Popen(
                words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=errors
            )
        self._counting = threading.Thread(target=self._count)
        self._counting.start()
        try:
            until(self._serving, 20, "the director")
        except LvsNatError:
            self.close()
            raise

    def _serving(self):
        if self._process.poll() is not None:
            words = (self._folder / "errors").read_text().strip()
            raise LvsNatError(f"the director has ended with {self._process.returncode}: {words}")
        return (self._folder / "run" / "control").exists()

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        self._counting.join()
        self._process.stdout.close()

    def work(self, checks):
        """Let so many checks be made while things happen; return what is held in the end."""
        until_ = self.checks + checks
        while self.checks < until_:
            self._event()
            self.events += 1
            time.sleep(PAUSE)
        until(lambda: len(self.family) == 3, 20, "a prober")
        return self.weight

    @property
    def family(self):
        """The pids of director, spawner and prober."""
        found = [self._process.pid]
        with suppress(OSError, IndexError):
            while len(found) < 3:
                children = Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text()
                found.append(int(children.split()[0]))
        return found

    @property
    def weight(self):
        """What is held.  A question that is just asked holds a descriptor for a moment only."""
        places = [Path(f"/proc/{pid}") for pid in self.family]
        resident = [(it / "status").read_text().partition("VmRSS:")[2].split()[0] for it in places]
        looks = []
        for _ in range(LOOKS):
            looks.append(sum(map(_descriptors, places)))
            time.sleep(LOOK)
        return Weight(sum(map(int, resident)), min(looks))

    def _event(self):
        chosen = self._draw.random()
        server = f"{self._draw.choice(self._servers.addresses)}:{PORT}"
        if chosen < 0.5:
            self._servers.toggle(server.partition(":")[0])
        elif chosen < 0.8:
            self._ask("status")
        elif chosen < 0.9:
            self._write()
            self._ask("reload")
        elif chosen < 0.95:
            self._ask("diff")
        elif chosen < 0.995:
            self._ask("wish", server=server, wish=self._draw.choice(("drain", "enable")))
        elif len(self.family) == 3:
            with suppress(ProcessLookupError):
                os.kill(self.family[2], signal.SIGKILL)

    def _ask(self, verb, **more):
        with suppress(LvsNatError):
            ask(self._folder / "run" / "control", verb, **more)

    def _write(self):
        lines = []
        for virtual in VIRTUALS:
            lines.append(f"-A -t {virtual} -s wrr")
            lines += [
                f"-a -t {virtual} -r {it}:{PORT} -m -w {self._draw.randint(1, 9)}"
                for it in self._servers.addresses
            ]
        (self._folder / "rules").write_text("\n".join(lines) + "\n")

    def _count(self):
        """Add up the checks that probers report; each begins with none."""
        before = 0
        for line in self._process.stdout:
            probes = json.loads(line)["probes"]
            self.checks += probes - before if probes >= before else probes
            before = probes


def _descriptors(process):
    """Return how many *process* has, 0 where only root may look into it."""
    try:
        return len(list((process / "fd").iterdir()))
    except PermissionError:
        return 0


def run(checks, seed, say=print):
    """Return what is held after a fourth of *checks*, and at the end."""
    draw = random.Random(seed)
    with TemporaryDirectory() as name, Servers(random.Random()) as servers:
        day = Day(Path(name), servers, draw)
        try:
            early = day.work(checks // 4)
            say(f"{day.checks:,} checks, {day.events} events: {early}", flush=True)
            late = day.work(checks - day.checks)
            say(f"{day.checks:,} checks, {day.events} events: {late}", flush=True)
        finally:
            day.close()
    return early, late


def flat(early, late):
    grown = late.resident - early.resident, late.descriptors - early.descriptors
    return grown[0] <= GROWTH and grown[1] <= DESCRIPTORS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=DAY)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    early, late = run(arguments.checks, arguments.seed)
    print("flat" if flat(early, late) else "NOT flat")
    return 0 if flat(early, late) else 1


if __name__ == "__main__":
    sys.exit(main())
