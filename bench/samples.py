"""Runs of one daemon on one pool, and what was seen of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.command import say
from bench.daemons import LDIRECTORD, OURS, Daemon, Running
from bench.figures import middle
from bench.pools import Pool
from bench.sinks import Helper, Sink, Tap

# Seconds after which all that servers in one silence can lead to has happened.
AFTERMATH = 15.0


@dataclass(frozen=True)
class Sample:
    """One run, or the medians of some: seconds of processor for 10,000 checks, checks a second.

    prober is the part of our prober in cost; accepts are the connections that the server saw.
    """

    cost: float
    rate: float
    accepts: int
    prober: float | None = None


@contextmanager
def running(
    daemon: Daemon, pools: Sequence[Pool], authority: str = "", urgent: bool = False
) -> Iterator[Running]:
    """Run a daemon on *pools* for the block of `with`."""
    with tempfile.TemporaryDirectory(prefix="lvs-nat-bench.") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the prober is nobody
        started = daemon.start(pools, folder, authority, urgent)
        try:
            yield started
        finally:
            started.close()


def settled(daemon: Daemon, pool: Pool) -> float:
    """Return the seconds after which *daemon* is past its start; ldirectord forks for each."""
    each = 0.6 if daemon is LDIRECTORD else 1 / 2000
    return 4 + 2 * pool.interval + each * len(pool.servers)


def sample(daemon: Daemon, pool: Pool, sink: Sink, seconds: float, urgent: bool = False) -> Sample:
    """Return what *daemon* uses on *pool* in about *seconds* after its start."""
    with running(daemon, [pool], urgent=urgent) as it:
        if daemon is OURS:
            return _ours(it, pool, sink, seconds)
        time.sleep(settled(daemon, pool))
        pids, began, accepted = it.pids, time.monotonic(), sink.accepted()
        used = machine.used(pids)
        time.sleep(seconds)
        checks = sink.accepted() - accepted
        lasted = time.monotonic() - began
        return Sample((machine.used(pids) - used) / (checks or 1) * 1e4, checks / lasted, checks)


def _ours(it: Running, pool: Pool, sink: Sink, seconds: float) -> Sample:
    """Measure from one report of the prober to another: it counts half-open checks."""
    until = time.monotonic() + settled(OURS, pool)
    first = last = it.report()
    while first["at"] < until:
        first = last = it.report()
    pids, accepted = it.pids, sink.accepted()
    used, used_there = machine.used(pids), machine.used(pids[2:])
    while last["at"] < first["at"] + seconds:
        last = it.report()
    spent, spent_there = machine.used(pids) - used, machine.used(pids[2:]) - used_there
    checks = (last["probes"] - first["probes"]) or 1
    return Sample(
        spent / checks * 1e4,
        checks / (last["at"] - first["at"]),
        sink.accepted() - accepted,
        spent_there / checks * 1e4,
    )


def samples(
    pairs: Sequence[tuple[Daemon, str]],
    sizes: Mapping[str, int],
    interval: float,
    runs: int,
    seconds: float,
    urgent: bool = False,
) -> dict[tuple[str, str], Sample]:
    """Return the medians for each daemon and kind, by their names; runs of all take turns."""
    found: dict[tuple[str, str], list[Sample]] = {(it.name, kind): [] for it, kind in pairs}
    for run in range(runs):
        for daemon, kind in pairs:
            say(f"{daemon.name}, {kind}, {sizes[kind]} servers, run {run + 1} of {runs}")
            with Helper("sink.c") as helper:
                sink = Sink(helper)
                pool = Pool(kind, sink.servers(sizes[kind]), interval)
                found[daemon.name, kind].append(sample(daemon, pool, sink, seconds, urgent))
    return {key: medians(values) for key, values in found.items()}


def medians(values: Sequence[Sample]) -> Sample:
    """Return the sample that has the median of each figure."""
    probers = [it.prober for it in values if it.prober is not None]
    return Sample(
        middle(it.cost for it in values) or 0.0,
        middle(it.rate for it in values) or 0.0,
        max(it.accepts for it in values),
        middle(probers),
    )


def gaps(daemon: Daemon, pool: Pool, sink: Sink, seconds: float) -> list[float]:
    """Return the seconds from check to check of each server, once it is past its start."""
    with Helper("tap.c", str(sink.port)) as helper, running(daemon, [pool]):
        tap = Tap(helper)
        time.sleep(settled(daemon, pool))
        tap.gaps()
        time.sleep(seconds)
        return tap.gaps()


def silenced(pool: Pool, sink: Sink) -> tuple[float, float, float | None]:
    """Let all servers fall silent; return the worst lag, the latest verdict's, seconds to out.

    A verdict is as late as it comes after its deadline; out is when the last server has left
    the table or takes no new clients, None if some still do.
    """
    with running(OURS, [pool]) as it:
        until = time.monotonic() + settled(OURS, pool)
        while it.report()["at"] < until:
            pass
        began = time.monotonic()
        sink.silence()
        reports = [it.report()]
        while reports[-1]["at"] < began + AFTERMATH:
            reports.append(it.report())
        lag, late = (max(report[key] for report in reports) for key in ("lag", "late"))
        return lag, late, gone(it, pool, began)


def gone(it: Running, pool: Pool, began: float) -> float | None:
    """Return after how many seconds the last server of *pool* was out; None if one is in."""
    weights = dict.fromkeys(pool.servers, 0)
    last = None
    for change in it.changes():
        serving = 0 if change.word == "del" else change.weight
        if weights.get(change.server) and not serving:
            last = change.at - began
        weights[change.server] = serving
    return None if any(weights.values()) else last
