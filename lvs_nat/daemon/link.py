"""The director's end of the line to its prober."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Union

from lvs_nat.core import wire
from lvs_nat.core.health import Verdict
from lvs_nat.core.setup import Target


class Probed(NamedTuple):
    """A target has been asked; next_in is the seconds to the next time."""

    target: Target
    verdict: Verdict
    next_in: float


class ProberLost(NamedTuple):
    """The prober is gone and another one has been started; the table stays as it is."""

    words: str

    def __str__(self) -> str:
        return f"the prober was lost and is started anew: {self.words}"


class Nonsense(NamedTuple):
    """The prober has said something that it cannot mean; it was not believed."""

    words: str

    def __str__(self) -> str:
        return f"a record from the prober was dropped: {self.words}"


# Verdicts on orders older than this many are not waited for.
REMEMBERED = 8

Event = Union[Probed, ProberLost, Nonsense]


class Link:
    """Sends orders and receives verdicts; no call waits.

    Whoever owns it calls `events` when `fileno` can be read, and `flush` while `pending`.
    """

    def __init__(self, line: socket.socket, spawner: int = 0) -> None:
        line.setblocking(False)
        self._line = line
        self._spawner = spawner
        self._generation = 0
        # What was ordered lately, by generation: verdicts may still be under way.
        self._orders: dict[int, tuple[Target, ...]] = {0: ()}
        self._lost = False
        self._to_send: deque[bytes] = deque()

    def fileno(self) -> int:
        return self._line.fileno()

    @property
    def pending(self) -> bool:
        """Whether orders are waiting for room on the line."""
        return bool(self._to_send)

    def ask(self, targets: Sequence[Target]) -> None:
        """Have *targets* asked from now on, and nobody else."""
        self._order(tuple(targets))

    def _order(self, targets: tuple[Target, ...]) -> None:
        self._generation += 1
        self._orders[self._generation] = targets
        self._orders.pop(self._generation - REMEMBERED, None)
        self._to_send = deque(wire.pack_order(self._generation, targets))
        self.flush()

    def flush(self) -> None:
        """Send as many waiting orders as the line takes."""
        while self._to_send:
            try:
                self._line.send(self._to_send[0])
            except BlockingIOError:
                return
            except OSError:
                self._to_send.clear()  # nobody is there; who comes next is given all again
                return
            self._to_send.popleft()

    def events(self) -> Iterator[Event]:
        """Yield what has come since the last call."""
        self.flush()
        while True:
            try:
                record = self._line.recv(wire.RECORD)
            except BlockingIOError:
                return
            if not record:
                raise ConnectionError("the prober and its spawner are gone")
            try:
                report = wire.unpack_report(record)
            except ValueError as error:
                yield Nonsense(str(error))
                continue
            yield from self._understood(report)

    def _understood(self, report: wire.Report) -> Iterator[Event]:
        if isinstance(report, wire.Lost):
            self._lost = True
            yield ProberLost(report.words)
        elif isinstance(report, wire.Hello):
            # The first prober finds its orders on the line, a later one has to be told again.
            if self._lost:
                self._lost = False
                self._order(self._orders[self._generation])
        else:
            yield from self._told(report)

    def _told(self, report: wire.Verdicts) -> Iterator[Event]:
        targets = self._orders.get(report.generation)
        if targets is None:
            yield Nonsense(f"verdicts on orders number {report.generation}")
            return
        for number, verdict, next_in in report.told:
            if number < len(targets):
                yield Probed(targets[number], verdict, next_in)
            else:
                yield Nonsense(f"a verdict on target {number} of {len(targets)}")

    def close(self) -> None:
        """Hang up; prober and spawner end by themselves, and are waited for."""
        self._line.close()
        if self._spawner:
            os.waitpid(self._spawner, 0)
