"""python -m bench.failover: what clients notice of a server that fails, and for how long.

A client sends 50 requests a second through the director to two real servers (in one case 20),
and gives up after three seconds.  Each daemon in turn watches over them, the servers break in each
of the ways that its check can see, and are mended.  At equal settings all ask once a second by
checks alone, wait for a second, believe two failures, and then remove the server at once; by
default they do as they are shipped, but that keepalived and ldirectord, too, ask once a second and
wait for a second.  Medians of several runs are compared, whose faults come at moments spread evenly
from one check of the daemon to its next.  All have net.ipv4.vs.expire_nodest_conn = 1.

Exits 1 if a promise is broken.  Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on
one.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from math import inf

from bench import command
from bench.command import say
from bench.contenders import Contender
from bench.daemons import tools
from bench.faults import FAULTS, Fault
from bench.figures import Cell, Promise, Table, ratio
from bench.trials import GIVES_UP, LATE, Grounds, Trial, medians
from lvs_nat.lab.topology import Lab

GUEST = 3 * 3600  # seconds that all may take
RIVALS = ("keepalived", "ldirectord")
OURS = "lvs-nat"
WAYS = ("equal", "default")
RESCUE = "with rescue"
ALONE = Contender(OURS, "by checks alone", ("watch = no",))
# What clients of servers that refuse, or fall silent, notice at default settings.
OUT = {"killed": 0.1, "drop": 0.4}
FAILED = {"killed": 2, "drop": 0}
# Of what keepalived and ldirectord cost the clients, and of keepalived's time where many fail.
THIRD, MANY = 1 / 3, 0.35
# By checks alone: seconds until a server that refuses is gone, a silent one takes nobody new.
REMOVED, SHUNNED, ALONE_RUNS = 0.8, 1.5, 20
COLUMNS = (
    "daemon", "settings", "failed", "for its rivals' best", "late", "no new client after s",
    "out of the table after s", "back after s",
)  # fmt: skip

Found = Mapping[Contender, Trial]


def measure(options: Namespace) -> Iterator[Table]:
    """Measure what is asked for, or one run of each where it is to be quick."""
    runs = 1 if options.quick else options.runs
    with Lab() as lab:
        if not options.active_only:
            for name in options.faults:
                for way in options.settings:
                    if compared(name, way):
                        yield failover(lab, name, way, runs)
        if options.active_only or options.faults == list(FAULTS):
            yield alone(lab, 1 if options.quick else ALONE_RUNS)


def compared(name: str, way: str) -> bool:
    """Say whether the fault *name* is one at which daemons are compared in this *way*."""
    fault = FAULTS[name]
    return fault.seen if way == "equal" else fault.kind == "tcp"


def failover(lab: Lab, name: str, way: str, runs: int) -> Table:
    """Return what the fault *name* costs with each daemon."""
    fault = FAULTS[name]
    contenders = [Contender(daemon, way) for daemon in (OURS, *RIVALS)]
    if way == "default" and name in FAILED:
        contenders.append(Contender(OURS, RESCUE, ("rescue = yes",)))
    grounds = Grounds(lab, fault.servers)
    found = {}
    for it in contenders:
        say(f"{fault.words}: {it}, {runs} runs")
        found[it] = medians(grounds.trials(it, fault, runs, load=True))
    settings = "equal settings" if way == "equal" else "default settings"
    return Table(
        f"Failover at {settings}: {fault.words}",
        COLUMNS,
        tuple(row(it, trial, found) for it, trial in found.items()),
        notes=(
            f"Medians of {runs}; late means after more than {LATE:g} s;"
            f" clients give up after {GIVES_UP:g} s. Times begin when what breaks it has ended.",
        ),
        promises=tuple(equal(found) if way == "equal" else default(name, fault, found)),
        bars="failed",
    )


def row(it: Contender, trial: Trial, found: Found) -> tuple[Cell, ...]:
    """Return the row of one daemon, under COLUMNS."""
    rivals = ratio(trial.failed, best(found)) if it.daemon == OURS else None
    return it.daemon, it.settings, trial.failed, rivals, trial.late, *times(trial)


def times(trial: Trial) -> tuple[Cell, ...]:
    """Return when it left, and came back; who is sent nobody new may go when its last one has."""
    gone: Cell = trial.gone
    if trial.gone == inf:
        gone = "never" if trial.shunned == inf else "later"
    shunned, back = ("never" if it == inf else it for it in (trial.shunned, trial.back))
    return shunned, gone, back


def best(found: Found) -> float:
    """Return the least number of failed requests that a rival has."""
    return min(trial.failed for it, trial in found.items() if it.daemon in RIVALS)


def equal(found: Found) -> Iterator[Promise]:
    """Yield what is promised at equal settings."""
    words = "failed requests, of which the better rival has no fewer"
    yield Promise(words, found[Contender(OURS, "equal")].failed, best(found))


def default(name: str, fault: Fault, found: Found) -> Iterator[Promise]:
    """Yield what is promised at default settings."""
    ours, theirs = found[Contender(OURS, "default")], found[Contender("keepalived", "default")]
    if fault.servers > 2:
        share = ratio(ours.gone, theirs.gone) or 0.0
        yield Promise("time until all are out / keepalived's", share, MANY)
        return
    words = "failed requests, of which the better rival has three times as many"
    yield Promise(words, ours.failed, best(found) * THIRD)
    if name in FAILED:
        yield Promise("seconds until it is out of the table", ours.gone, OUT[name])
        yield Promise("failed requests", ours.failed, FAILED[name])
        rescued = next(trial for it, trial in found.items() if it.settings == RESCUE)
        yield Promise("failed requests with rescue", rescued.failed, 0)


def alone(lab: Lab, runs: int) -> Table:
    """Return how soon checks alone find a server that refuses, and one that is silent."""
    grounds = Grounds(lab, 2)
    found = {}
    for name in ("killed", "drop"):
        say(f"{FAULTS[name].words}: {ALONE}, {runs} runs")
        found[name] = medians(grounds.trials(ALONE, FAULTS[name], runs, load=False))
    return Table(
        "Checks alone, at default settings but for `watch = no`",
        ("what happens", *COLUMNS[-3:]),
        tuple((FAULTS[name].words, *times(it)) for name, it in found.items()),
        notes=(f"Medians of {runs}, without any client.",),
        promises=(
            Promise("seconds until one that refuses is gone", found["killed"].gone, REMOVED),
            Promise("seconds until a silent one takes nobody new", found["drop"].shunned, SHUNNED),
        ),
    )


def options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--runs", type=int, default=7, help="of which medians are taken (7)")
    add("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT",
        help=f"only these: {', '.join(FAULTS)}")  # fmt: skip
    add("--settings", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY",
        help="only at these: equal, default")  # fmt: skip
    add("--active-only", action="store_true", help="only what lvs-nat finds by checks alone")


if __name__ == "__main__":
    sys.exit(command.run("bench.failover", __doc__, measure, options, guest=GUEST, fetch=tools))
