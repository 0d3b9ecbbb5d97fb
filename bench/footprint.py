"""python -m bench.footprint: the memory of all processes of a daemon, beside keepalived's.

Daemons run on this machine as for bench.checks.  Resident memory counts what processes share
once for each, proportional memory shares it out among them.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator

from bench import command, machine
from bench.daemons import KEEPALIVED, OURS, Daemon
from bench.figures import Cell, Table, ratio
from bench.pools import Pool
from bench.samples import running, settled
from bench.sinks import Helper, Sink

SIZES = (1, 200, 5000)
PROCESSES = ("director", "spawner", "prober")
COLUMNS = (
    "daemon",
    "servers",
    "processes",
    "RSS MB",
    "PSS MB",
    "RSS / keepalived's",
    "PSS / keepalived's",
)


def measure(options: Namespace) -> Iterator[Table]:
    """Measure each daemon at each size."""
    rows: list[tuple[Cell, ...]] = []
    for size in SIZES[:1] if options.quick else SIZES:
        theirs, ours = memory(KEEPALIVED, size), memory(OURS, size)
        parts = {f"its {name}": [part] for name, part in zip(PROCESSES, ours)}
        for name, processes in {"lvs-nat": ours, **parts, "keepalived": theirs}.items():
            sums = [sum(it) for it in zip(*processes)]
            shares = [ratio(it, sum(other)) for it, other in zip(sums, zip(*theirs))]
            rows.append((name, size, len(processes), *(it / 1024 for it in sums), *shares))
    yield Table("Memory, checks of TCP once a second", COLUMNS, tuple(rows), bars="PSS MB")


def memory(daemon: Daemon, size: int) -> list[tuple[float, float]]:
    """Return the memory in kB of each process of a daemon that is past its start."""
    command.say(f"{daemon.name} with {size} servers")
    with Helper("sink.c") as helper:
        pool = Pool("tcp", Sink(helper).servers(size))
        with running(daemon, [pool]) as it:
            time.sleep(settled(daemon, pool))
            return [machine.memory(pid) for pid in it.pids]


if __name__ == "__main__":
    sys.exit(command.run("bench.footprint", __doc__, measure))
