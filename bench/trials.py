"""One fault under load in the lab, and what came of it."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from statistics import median

from bench.command import say
from bench.contenders import PATIENCE, Contender
from bench.faults import Fault
from lvs_nat.lab.load import Request
from lvs_nat.lab.topology import Lab, until

RATE = 50  # requests a second
# After so many seconds a client gives up, and after so many its answer is late.
GIVES_UP, LATE = 3.0, 0.5
# From a check that was seen until the fault, at least; whole seconds, of which every daemon takes
# one from check to check: no fault comes in the moment of a check, where a hair would decide
# whether that one still sees it.
BEFORE = 2.0
# A server that is sent no clients any more stays broken until the last of them has given up: no
# daemon gains from being quick to have it mended.
AFTER = GIVES_UP + 0.2
NOBODY = 0.5  # where there are no clients
# No daemon takes longer from check to check, in seconds.
CHECKED = 5.0
# Nobody takes longer to return, in seconds.
RETURNS = 15.0
LOOK = 0.004  # seconds between two looks at the table
# As an administrator would: the clients of a server that is gone may go to another one at once.
SETTINGS = """\
ipvsadm -L -n >/dev/null
echo 1 >/proc/sys/net/ipv4/ip_forward
cd /proc/sys/net/ipv4/vs
echo 1 >expire_nodest_conn
echo 1 >expire_quiescent_template
echo 1 >conn_reuse_mode
"""


@dataclass(frozen=True)
class Trial:
    """What came of one fault, or the medians of several; inf stands for never.

    shunned is when none that is hit was sent new clients any more, gone when none of them was
    in the table, in seconds since the act; back when all were served again, since the mending.
    """

    failed: float
    late: float
    shunned: float
    gone: float
    back: float


def medians(trials: Sequence[Trial]) -> Trial:
    """Return the trial that has the median of each figure."""
    columns = zip(*((it.failed, it.late, it.shunned, it.gone, it.back) for it in trials))
    return Trial(*map(median, columns))


class Grounds:
    """The lab with *size* real servers on two hosts, of which the first can be broken."""

    def __init__(self, lab: Lab, size: int) -> None:
        self.lab = lab
        names = list(lab.servers)
        hosts = {name: IPv4Address(address) for name, address in lab.servers.items()}
        self.broken = names[0]
        each = size // len(names)
        for name, address in hosts.items():
            for more in range(1, each):
                place = f"{address + more}/24"
                lab.run(name, ["ip", "address", "replace", place, "dev", "eth0"])
        self.servers = [str(it + more) for it in hosts.values() for more in range(each)]
        self.hit = self.servers[:each]
        lab.run("director", ["sh", "-ec", SETTINGS])
        self._table = self._network("director") / "ip_vs"
        self._counters = self._network(self.broken) / "snmp"

    def _network(self, host: str) -> Path:
        """Return where the network of *host* is to be seen, without a process for each look."""
        anchor = self.lab.popen(host, ["sleep", "infinity"])
        place = Path(f"/proc/{anchor.pid}")
        here = Path("/proc/self/ns/net").readlink()
        until(lambda: (place / "ns/net").readlink() != here, PATIENCE, f"the network of {host}")
        return place / "net"

    def weights(self) -> dict[str, int]:
        """Return the weight of each real server in the director's table."""
        return weights(self._table.read_text())

    def all_served(self) -> bool:
        """Say whether all servers are sent clients."""
        found = self.weights()
        return all(found.get(server) for server in self.servers)

    def trials(self, contender: Contender, fault: Fault, runs: int, load: bool) -> list[Trial]:
        """Return what came of *fault* each time, at moments spread from one check to the next."""
        return [self._trial(contender, fault, (run + 0.5) / runs, load) for run in range(runs)]

    def _trial(self, contender: Contender, fault: Fault, part: float, load: bool) -> Trial:
        lab = self.lab
        with tempfile.TemporaryDirectory(prefix="lvs-nat-bench.") as name:
            folder = Path(name)
            folder.chmod(0o755)  # the prober is nobody
            watch = contender.start(lab, folder, fault.kind, self.servers)
            until(self.all_served, PATIENCE, f"{contender} serves: {watch.said()}")
            begin = self._check_seen() + BEFORE + part
            clients = lab.load(RATE, PATIENCE, timeout=GIVES_UP) if load else None
            time.sleep(max(0.0, begin - time.monotonic()))
            fault.act(lab, self.broken)
            acted = time.monotonic()
            shunned, gone = self._leaving(acted, fault.watched, AFTER if load else NOBODY)
            lab.mend(self.broken)
            back = later(self.all_served, time.monotonic(), RETURNS)
            requests = clients.stop() if clients else []
            watch.stop()
        trial = Trial(*account(requests), shunned, gone, back)
        errors = Counter(it.error for it in requests if not it.ok)
        say(f"{trial} {dict(errors) or ''}")
        return trial

    def _check_seen(self) -> float:
        """Wait for the next check of the server that will break; return when it was seen."""
        before = segments(self._counters.read_text())
        later(lambda: segments(self._counters.read_text()) > before, time.monotonic(), CHECKED)
        return time.monotonic()

    def _leaving(self, acted: float, watched: float, after: float) -> tuple[float, float]:
        """Return when the servers that are hit take no new clients, and when they are gone.

        That takes at least *after* seconds from when they take none.
        """

        def shunned() -> bool:
            found = self.weights()
            return not any(found.get(server) for server in self.hit)

        def gone() -> bool:
            return self.weights().keys().isdisjoint(self.hit)

        first = later(shunned, acted, watched)
        left = later(gone, acted, first + after) if first < inf else inf
        time.sleep(max(0.0, acted + min(first, watched) + after - time.monotonic()))
        return first, left


def account(requests: Iterable[Request]) -> tuple[int, int]:
    """Return how many *requests* failed, and how many were answered late."""
    found = list(requests)
    return sum(not it.ok for it in found), sum(it.ok and it.latency > LATE for it in found)


def later(condition: Callable[[], object], since: float, longest: float) -> float:
    """Return how many seconds after *since* the condition holds; inf if later than *longest*."""
    while not condition():
        if time.monotonic() - since > longest:
            return inf
        time.sleep(LOOK)
    return time.monotonic() - since


def weights(table: str) -> dict[str, int]:
    """Return the weight of each IPv4 destination in the text of /proc/net/ip_vs."""
    rows = (line.split() for line in table.splitlines() if line.startswith("  -> "))
    return {
        str(IPv4Address(int(row[1].partition(":")[0], 16))): int(row[3])
        for row in rows
        if row[1][0] != "R"  # its headline
    }


def segments(snmp: str) -> int:
    """Return how many segments of TCP a host has received, by the text of its /proc/net/snmp."""
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("InSegs")])
