"""What stands between the daemon and this machine in a bench: a table in memory, a listener."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.plan import AddDestination, DelDestination, Operation, SetDestination
from lvs_nat.daemon import watching
from lvs_nat.daemon.link import Probed
from lvs_nat.system import ipvs, privileges
from tests.fakes import FakeIpvs

SILENCE = "no answer within "


class Table(FakeIpvs):
    """The table in memory, writing down what is changed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("a", buffering=1)

    def apply(self, operations: Sequence[Operation]) -> Any:
        """Carry out *operations*; return what was refused."""
        now = time.monotonic()
        for it in operations:
            if isinstance(it, DelDestination):
                self._file.write(f"del {it.endpoint} 0 {now:.6f}\n")
            elif isinstance(it, (AddDestination, SetDestination)):
                word = "add" if isinstance(it, AddDestination) else "edit"
                row = it.destination
                self._file.write(f"{word} {row.endpoint} {row.weight} {now:.6f}\n")
        return super().apply(operations)


class Listener:
    """The director's line to its prober, overheard."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._load: Any = None
        self._late = self._slowest = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def events(self) -> Sequence[Any]:
        """Return what the prober has told, and print a line if it has told of itself."""
        found: Sequence[Any] = self._link.events()
        for event in found:
            if isinstance(event, Probed):
                self._slowest = max(self._slowest, event.verdict.latency)
                if event.verdict.outcome is Outcome.SILENT:
                    self._late = max(self._late, _lateness(event.verdict))
        if self._link.load is not self._load:
            self._load = load = self._link.load
            line = {"at": time.monotonic(), "probes": load.probes, "lag": load.lag}
            print(json.dumps({**line, "late": self._late, "slowest": self._slowest}), flush=True)
            self._late = self._slowest = 0.0
        return found


def _lateness(verdict: Verdict) -> float:
    words = verdict.words
    if not words.startswith(SILENCE):
        return 0.0  # a router has told it
    return verdict.latency - float(words[len(SILENCE) :].split()[0])


def begin(changes: Path) -> None:
    """Give whoever opens IPVS from now on a table that writes down its *changes*."""
    ipvs.Ipvs = lambda *_: Table(changes)
    watching.opened = lambda _: None  # it taps the machine's own interfaces
    privileges.keep_only = lambda _: None  # there is nothing here that needs any
