"""python -m bench.hostile: what daemons make of servers that misbehave, and at what cost.

The zoo (lvs_nat.lab.zoo) is asked once a second by each daemon in turn, each time for half a
minute; by ldirectord, which asks one server after the other, for some more.  A verdict is right
if a server that is well is in service at the end, and another is not.  Rivals are asked for the
kinds of check that they have; what is compared with them is what lvs-nat takes for those.
Exits 1 if a promise is broken.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench import command, machine
from bench.daemons import KEEPALIVED, LDIRECTORD, OURS, Change, Daemon, Running
from bench.figures import Cell, Promise, Table, ratio
from bench.pools import Pool
from bench.samples import running
from lvs_nat.lab.zoo import ANIMALS, Zoo

# The time-out of every check, in seconds; servers that are well keep it.
TIMEOUT = 1.0
SETTLED, WATCHED = 8.0, 22.0
# ldirectord asks one server after the other: for each this many seconds until it knows all.
ONE_BY_ONE = 3.0
# What is asked half-open is well; who connects finds that it is not.
SKIPPED = frozenset({"tcp-resets"})
SHARE, MEMORY, LATE = 0.1, 32.0, 0.1
# What the prober may grow by, in MB, while it is watched: none of what an answer took may stay.
GROWTH = 0.5
COLUMNS = ("daemon", "servers", "misjudged", "ill ones served, s", "CPU %", "RSS MB")


@dataclass(frozen=True)
class Visit:
    """What a daemon made of the zoo.

    wrong names what it misjudged; ill ones were served for so many seconds at first; cpu and
    memory are percents of a core and MB, those of our prober alone in prober, and grown is by
    how many MB the last of the daemon's processes has grown; slowest is the longest that a
    verdict of ours took, in seconds.
    """

    asked: int
    wrong: tuple[str, ...]
    served: float
    cpu: float
    memory: float
    grown: float
    prober: tuple[float, float] = (0.0, 0.0)
    slowest: float = 0.0


def measure(options: Namespace) -> Iterator[Table]:
    """Let each daemon visit the zoo."""
    watched = 6.0 if options.quick else WATCHED
    every = tuple(
        name for name, animal in ANIMALS.items() if OURS.knows(animal.kind) and name not in SKIPPED
    )
    visits: dict[str, Visit] = {}
    with Zoo(every) as zoo:
        visits[OURS.name] = visit(OURS, every, zoo, watched)
        for rival in (KEEPALIVED, LDIRECTORD):
            names = tuple(name for name in every if rival.knows(ANIMALS[name].kind))
            visits[alike(rival)] = visit(OURS, names, zoo, watched)
            visits[rival.name] = visit(rival, names, zoo, watched)
    yield verdicts(visits)
    yield misjudged(visits)


def alike(rival: Daemon) -> str:
    """Return the name of the visit in which ours is asked what *rival* can be asked."""
    return f"lvs-nat, as {rival.name}"


def visit(daemon: Daemon, names: Collection[str], zoo: Zoo, watched: float) -> Visit:
    """Let *daemon* ask the animals *names* for SETTLED and *watched* seconds."""
    command.say(f"{daemon.name} asks {len(names)} servers")
    kinds = dict.fromkeys(ANIMALS[name].kind for name in names)
    places = {name: str(zoo[name]) for name in names}
    pools = [
        Pool(
            kind, tuple(places[name] for name in names if ANIMALS[name].kind == kind), 1.0, TIMEOUT
        )
        for kind in kinds
    ]
    began = time.monotonic()
    settled = ONE_BY_ONE * len(names) if daemon is LDIRECTORD else SETTLED
    with running(daemon, pools, str(zoo.authority)) as it:
        time.sleep(settled)
        pids = it.pids
        used, used_there = machine.used(pids), machine.used(pids[2:])
        before = megabytes(pids)
        time.sleep(watched)
        cpu, cpu_there = machine.used(pids) - used, machine.used(pids[2:]) - used_there
        memory = megabytes(it.pids)
        slowest = reported(it, began + settled + watched) if daemon is OURS else 0.0
        wrong, served = judged(it.changes(), places, began)
    return Visit(
        len(names),
        wrong,
        served,
        100 * cpu / watched,
        sum(memory),
        memory[-1] - before[-1],
        (100 * cpu_there / watched, memory[-1]),
        slowest,
    )


def megabytes(pids: Iterable[int]) -> list[float]:
    """Return the resident memory of each of *pids*."""
    return [machine.memory(pid)[0] / 1024 for pid in pids]


def reported(it: Running, until: float) -> float:
    """Return the slowest verdict that our prober has reported by now."""
    slowest = 0.0
    while True:
        report = it.report()
        slowest = max(slowest, float(report["slowest"]))
        if report["at"] >= until:
            return slowest


def judged(
    changes: Iterable[Change], places: Mapping[str, str], began: float
) -> tuple[tuple[str, ...], float]:
    """Return who is misjudged after *changes*, and for how long ill ones were served at first."""
    serving = dict.fromkeys(places.values(), False)
    left = dict.fromkeys(places.values(), began)
    for change in changes:
        now = change.word != "del" and change.weight > 0
        if serving.get(change.server) and not now:
            left[change.server] = change.at
        serving[change.server] = now
    wrong = tuple(name for name, place in places.items() if serving[place] != ANIMALS[name].well)
    ill = [left[place] - began for name, place in places.items() if not ANIMALS[name].well]
    return wrong, max(ill, default=0.0)


def verdicts(visits: Mapping[str, Visit]) -> Table:
    """Return how many were misjudged, and what it cost."""
    rows: list[tuple[Cell, ...]] = []
    for name, it in visits.items():
        rows.append((name, it.asked, len(it.wrong), it.served, it.cpu, it.memory))
        if it.prober[1] and name == OURS.name:
            rows.append(("its prober", None, None, None, *it.prober))
    ours, theirs = visits[alike(KEEPALIVED)], visits[KEEPALIVED.name]
    return Table(
        "Servers that misbehave, each asked once a second",
        COLUMNS,
        tuple(rows),
        promises=(
            Promise("servers that lvs-nat misjudges", len(visits[OURS.name].wrong), 0),
            Promise(
                "the prober's CPU / keepalived's", ratio(ours.prober[0], theirs.cpu) or 0, SHARE
            ),
            Promise("the prober's RSS, MB", visits[OURS.name].prober[1], MEMORY),
            Promise("growth of the prober's RSS, MB", visits[OURS.name].grown, GROWTH),
            Promise("the slowest verdict, s", visits[OURS.name].slowest, TIMEOUT + LATE),
        ),
        notes=(
            "lvs-nat takes nobody in before a check has passed; keepalived and ldirectord do.",
            "ldirectord asks one server after the other: what it never comes to is out.",
        ),
        bars=COLUMNS[4],
    )


def misjudged(visits: Mapping[str, Visit]) -> Table:
    """Return whom each daemon misjudges."""
    rows = tuple(
        (name, wrong, "is taken out" if ANIMALS[wrong].well else "stays in service")
        for name, it in visits.items()
        for wrong in it.wrong
    )
    return Table("Misjudged servers", ("daemon", "server", "what becomes of it"), rows)


if __name__ == "__main__":
    sys.exit(command.run("bench.hostile", __doc__, measure))
