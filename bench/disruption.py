"""python -m bench.disruption: what clients notice while a director is restarted, upgraded, killed.

In the lab 200 transfers are open through the director, and 100 requests a second come anew, while
one thing is done to its daemon: to lvs-nat, and beside it to keepalived and ldirectord (Debian's
packages) with the same two real servers, each as its package does it.  Counted are the requests
that fail and the transfers that break; medians of some runs.  An upgrade is what the package does
once its files are replaced; a daemon that hangs is killed and started again after two seconds, as
systemd's watchdog does with ours.

Exits 1 if a promise is broken: with lvs-nat no request fails and no transfer breaks, in any run.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from operator import methodcaller
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import command, daemons, operated
from bench.figures import Cell, Promise, Table
from bench.operated import Operated
from lvs_nat.errors import NotInstalled
from lvs_nat.lab.topology import URL, Lab, until

ACTS: Mapping[str, Callable[[Operated], None]] = {
    "restart": methodcaller("restart"),
    "reload": methodcaller("reload"),
    "reload of a broken file": methodcaller("reload_broken"),
    "upgrade": methodcaller("upgrade"),
    "kill -9 and start": methodcaller("kill"),
    "hang, watchdog": methodcaller("hang"),
}
GUEST = 3600  # seconds that all may take
TRANSFER = 20.0  # seconds that each transfer lasts, with a line every PACE of them
PACE = 0.5
OPENING = 2.0  # seconds in which they are opened
PATIENCE = 5.0  # seconds that a request may take; a guest is slow while a daemon starts
SETTLED = 1.5  # seconds that requests go on once all is as before


class Harm(NamedTuple):
    """What clients have noticed of one act, which took *seconds*."""

    failed: int
    requests: int
    broken: int
    transfers: int
    seconds: float


class Crowd(NamedTuple):
    """The clients: transfers that are open all the time, and requests a second."""

    transfers: int = 200
    rate: int = 100


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--act", choices=tuple(ACTS), action="append", help="only this one")


def fetch() -> None:
    """Have all that a guest needs."""
    daemons.tools()
    if not shutil.which("perl"):
        raise NotInstalled("ldirectord needs perl; on Debian: apt install perl")


def measure(options: Namespace) -> Iterator[Table]:
    """Measure all, or in little where it is to be quick."""
    crowd, runs, acts = Crowd(), options.runs, options.act or tuple(ACTS)
    if options.quick:
        crowd, runs, acts = Crowd(20, 20), 1, acts[:2]
    harms: dict[tuple[str, str], list[Harm]] = {}
    with Lab(("lvs01", "lvs02")) as lab:
        lab.run("director", ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        for _ in range(runs):
            for act in acts:
                for kind in operated.ALL:
                    with tempfile.TemporaryDirectory() as folder:
                        daemon = kind(lab, Path(folder))
                        harm = disrupted(lab, daemon, ACTS[act], crowd)
                    command.say(f"{act}, {daemon.name}: {harm}")
                    harms.setdefault((act, daemon.name), []).append(harm)
    yield table(harms, crowd, runs)


def disrupted(lab: Lab, daemon: Operated, act: Callable[[Operated], None], crowd: Crowd) -> Harm:
    """Do *act* to *daemon* while the crowd is there; return what that has noticed."""
    daemon.start()
    url = f"{URL}stream?seconds={TRANSFER:g}&pace={PACE:g}"
    transfers = lab.load(crowd.transfers / OPENING, OPENING, url=url, timeout=2 * TRANSFER)
    requests = lab.load(crowd.rate, 10 * TRANSFER, timeout=PATIENCE)
    opening = time.monotonic()
    until(lambda: connected(lab) >= crowd.transfers, TRANSFER / 2, "all transfers open")
    before = daemon.table()
    began = time.monotonic()
    act(daemon)
    until(lambda: daemon.table().keys() == before.keys(), TRANSFER, "all servers back")
    now = time.monotonic()
    if now - opening > TRANSFER:
        raise SystemExit(f"{daemon.name} took {now - began:.1f} s: transfers have ended before")
    time.sleep(SETTLED)
    asked, sent = requests.stop(), transfers.finished()
    daemon.stop()
    failed, broken = ([it for it in records if not it.ok] for records in (asked, sent))
    return Harm(len(failed), len(asked), len(broken), len(sent), round(now - began, 1))


def connected(lab: Lab) -> int:
    """Return how many connections through the director are open."""
    lines = lab.run("director", ["ipvsadm", "-L", "-n"]).stdout.splitlines()
    return sum(int(line.split()[4]) for line in lines if " Masq " in line)


def table(harms: Mapping[tuple[str, str], list[Harm]], crowd: Crowd, runs: int) -> Table:
    """Return the medians, beside one another, and what ours promises of each run."""
    names = tuple(dict.fromkeys(name for _, name in harms))
    acts = tuple(dict.fromkeys(act for act, _ in harms))
    rows: list[tuple[Cell, ...]] = []
    promises: list[Promise] = []
    for act in acts:
        cells: list[Cell] = []
        for name in names:
            found = harms[act, name]
            cells += [median(it.failed for it in found), median(it.broken for it in found)]
        rows.append((act, *cells))
        ours = harms[act, operated.Ours.name]
        promises.append(Promise(f"{act}: failed requests", max(it.failed for it in ours), 0))
        promises.append(Promise(f"{act}: broken transfers", max(it.broken for it in ours), 0))
    return Table(
        f"{crowd.transfers} open transfers and {crowd.rate} new requests a second",
        ("act", *(f"{name}: {what}" for name in names for what in ("failed", "broken"))),
        tuple(rows),
        notes=(
            f"failed: requests; broken: of {crowd.transfers} transfers; medians of {runs} runs.",
            "The kernel's settings are those that each daemon leaves; forwarding is on.",
        ),
        promises=tuple(promises),
    )


if __name__ == "__main__":
    sys.exit(command.run("bench.disruption", __doc__, measure, options, guest=GUEST, fetch=fetch))
