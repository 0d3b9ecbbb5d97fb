"""python -m bench.checks: what checks cost, how many there can be, how punctual they are.

Daemons run one after the other on one core of this machine, in turn, several times, and medians
are compared; a server in C takes their checks on another core.  What counts is the processor's
time of all processes of a daemon, once it is past its start.  lvs-nat is whole, with its
director, over a table in memory (bench/director.py); keepalived is Debian's, over IPVS calls
that succeed (bench/ipvs_shim.c); ldirectord is Debian's.  Exits 1 if a promise is broken.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence

from bench import command
from bench.command import say
from bench.daemons import KEEPALIVED, LDIRECTORD, OURS, Daemon
from bench.figures import Cell, Promise, Table, ratio, share
from bench.pools import Pool
from bench.samples import Sample, gaps, samples, silenced
from bench.sinks import Helper, Sink

# In shares of what keepalived takes for the check beside it, all in one run.
THEIRS = {"tcp": "tcp", "connect": "tcp", "syn": "tcp", "status": "status"}
LIMITS = {"tcp": 0.6, "connect": 0.9, "syn": 0.3, "status": 0.75}
# At these rates (a second) the limits hold; 4,000 for what asks more than a connection.
RATES = {"tcp": 5000, "connect": 5000, "syn": 5000, "status": 4000}
SIZES = (100, 1000, 10_000)
MOST, ASKED, SHORTEST = 1.5, 6000, 0.1
PUNCTUAL, LAG = 0.05, 0.1
COST = "CPU s of 10,000"
PARTS = ("cost", "promised", "most", "punctual", "silent")
COLUMNS = ("daemon", "check", "checks/s", COST, "/ keepalived's", "the prober's part")

Found = Mapping[tuple[str, str], Sample]


def measure(options: Namespace) -> Iterator[Table]:
    """Measure all, or in little where it is to be quick."""
    quick = options.quick
    runs, seconds = (1, 5.0) if quick else (options.runs, 10.0)
    kinds = [kind for kind in THEIRS if OURS.knows(kind)]
    bare = [kind for kind in kinds if kind != "status"]
    many = 20 if quick else SIZES[-1]
    for size in (20,) if quick else SIZES:
        if "cost" in options.only:
            yield cost(kinds, size, runs, seconds)
    if "promised" in options.only:
        yield promised([kinds[0]] if quick else kinds, 50 if quick else None, runs, seconds)
    if "most" in options.only:
        yield most(bare, 50 if quick else ASKED, runs, seconds)
    if "punctual" in options.only:
        yield punctual(many, seconds)
    if "silent" in options.only:
        yield all_silent(many)


def cost(kinds: Sequence[str], size: int, runs: int, seconds: float) -> Table:
    """Return what each kind costs, and what the rivals' nearest costs."""
    pairs: list[tuple[Daemon, str]] = [(OURS, kind) for kind in kinds]
    pairs += [(KEEPALIVED, "tcp"), (KEEPALIVED, "status")]
    if size <= SIZES[0]:  # it asks one server after the other
        pairs += [(LDIRECTORD, "tcp"), (LDIRECTORD, "status")]
    found = samples(pairs, dict.fromkeys(THEIRS, size), 1.0, runs, seconds, urgent=True)
    return Table(
        f"{size:,} servers, each once a second",
        COLUMNS,
        tuple(row(daemon, kind, found) for daemon, kind in pairs),
        bars=COST,
    )


def promised(kinds: Sequence[str], size: int | None, runs: int, seconds: float) -> Table:
    """Return what is promised of each kind, at the rate for which it is."""
    theirs = sorted({THEIRS[kind] for kind in kinds})
    pairs = [(OURS, kind) for kind in kinds] + [(KEEPALIVED, kind) for kind in theirs]
    sizes = {kind: size or rate for kind, rate in RATES.items()}
    found = samples(pairs, sizes, 1.0, runs, seconds, urgent=True)
    promises = [
        Promise(
            f"processor time of {kind} / keepalived's",
            against(found, OURS, kind) or 0.0,
            LIMITS[kind],
        )
        for kind in kinds
    ]
    seen = found[OURS.name, "tcp"].accepts
    accepts = Promise("half-open checks that the server's application sees", seen, 0)
    return Table(
        "Promised: 5,000 checks a second, 4,000 of HTTP",
        COLUMNS,
        tuple(row(daemon, kind, found) for daemon, kind in pairs),
        promises=(*promises, accepts),
        bars=COST,
    )


def row(daemon: Daemon, kind: str, found: Found) -> tuple[Cell, ...]:
    """Return the row of one daemon and kind, under COLUMNS."""
    it = found[daemon.name, kind]
    return daemon.name, kind, it.rate, it.cost, against(found, daemon, kind), it.prober


def against(found: Found, daemon: Daemon, kind: str) -> float | None:
    """Return the cost of *kind* in units of keepalived's for the check that is nearest."""
    theirs = found.get((KEEPALIVED.name, THEIRS[kind]))
    return ratio(found[daemon.name, kind].cost, theirs.cost if theirs else None)


def most(kinds: Sequence[str], size: int, runs: int, seconds: float) -> Table:
    """Return how many checks a second one core can do, where more are asked for."""
    pairs = [(OURS, kind) for kind in kinds] + [(KEEPALIVED, "tcp")]
    found = samples(pairs, dict.fromkeys(THEIRS, size), SHORTEST, runs, seconds, urgent=True)
    rates = {key: it.rate for key, it in found.items()}
    theirs = rates[KEEPALIVED.name, "tcp"]
    rows = tuple((*key, rate, ratio(rate, theirs)) for key, rate in rates.items())
    best = max(rates[OURS.name, kind] for kind in kinds)
    return Table(
        f"{size / SHORTEST:,.0f} checks a second asked of one core",
        ("daemon", "check", "checks/s", "/ keepalived's"),
        rows,
        promises=(Promise("most checks / keepalived's", ratio(best, theirs) or 0, MOST, True),),
        bars="checks/s",
    )


def punctual(size: int, seconds: float) -> Table:
    """Return by how much the time between two checks of a server is more than the interval."""
    rows: list[tuple[Cell, ...]] = []
    lateness = []
    for daemon in (OURS, KEEPALIVED):
        say(f"punctuality of {daemon.name} at {size} servers")
        with Helper("sink.c") as helper:
            sink = Sink(helper)
            late = [
                gap - 1.0 for gap in gaps(daemon, Pool("tcp", sink.servers(size)), sink, seconds)
            ]
        lateness.append(share(late, 0.99))
        rows.append((daemon.name, size, *(share(late, part) * 1000 for part in (0.5, 0.99, 1.0))))
    return Table(
        f"Lateness of a check, {size:,} servers each once a second",
        ("daemon", "servers", "median ms", "99 % ms", "worst ms"),
        tuple(rows),
        notes=("From outside: the time from SYN to SYN of a server, less a second.",),
        promises=(Promise("lateness that 99 % keep, s", lateness[0], PUNCTUAL),),
        bars="99 % ms",
    )


def all_silent(size: int) -> Table:
    """Return what becomes of our punctuality when all servers fall silent at once."""
    say(f"{size} servers fall silent")
    with Helper("sink.c") as helper:
        sink = Sink(helper)
        lag, late, out = silenced(Pool("tcp", sink.servers(size)), sink)
    return Table(
        f"{size:,} servers fall silent at once",
        ("daemon", "servers", "worst lag s", "latest verdict s", "out of the table after s"),
        ((OURS.name, size, lag, late, out),),
        promises=(
            Promise("lag of the loop, s", lag, LAG),
            Promise("lateness of a verdict, s", late, LAG),
        ),
    )


def options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--runs", type=int, default=3, help="of which medians are taken (3)")
    add("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
        help=f"only these: {', '.join(PARTS)}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(command.run("bench.checks", __doc__, measure, options))
