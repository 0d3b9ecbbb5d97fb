"""The director's end of the line to its prober."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Union

from lvs_nat.core import orders, wire
from lvs_nat.core.health import Verdict
from lvs_nat.core.questions import CheckKind
from lvs_nat.core.setup import Target

# However much a prober says, the director goes on with its own work after this many records,
# or after records that tell of this many probes.
RECORDS = 16
PROBES = 20_000
# Of nonsense from the prober the director speaks this often (seconds).
QUIET = 10.0
# How long an ending prober is waited for, in milliseconds.
FAREWELL = 1000


@dataclass(frozen=True)
class Probed:
    """A target has been asked; next_in is how many seconds later it is asked again.

    times is how many probes in a row have ended so since the target was last told of: 1 for
    every one that is news, more only where nothing changed or the director was not listening.
    """

    target: Target
    verdict: Verdict
    next_in: float
    times: int = 1


@dataclass(frozen=True)
class ProberLost:
    """A prober has died or hung; another one has been started and is told everything anew."""

    words: str

    def __str__(self) -> str:
        return f"the prober was lost ({self.words}); another one takes its place"


@dataclass(frozen=True)
class ProberTrouble:
    """The prober has told of a fault of its own, or has said what cannot be meant."""

    words: str

    def __str__(self) -> str:
        return f"trouble with the prober: {self.words}"


Event = Union[Probed, ProberLost, ProberTrouble]


class Link:
    """Orders to the prober and verdicts from it; no call ever waits for the other side.

    `fileno` can be read whenever `events` has something to do, which may be to send on an
    order that the line had no room for.  load is what the prober last told of itself.
    orders, by default one that nobody reads, is the way to the spawner itself, for
    daemon/renewal.py.
    """

    def __init__(
        self,
        line: socket.socket,
        spawner: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        orders: socket.socket | None = None,
    ) -> None:
        line.setblocking(False)
        self.orders = orders or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.load: wire.Load | None = None
        self.spawner = spawner
        self._line = line
        self._clock = clock
        self._greeted = False
        self._generation = 0
        self._order: tuple[bytes, ...] = ()
        self._unsent: deque[bytes] = deque()
        # What numbers meant in earlier orders, until the prober has taken up a later one.
        self._asked: dict[int, tuple[Target, ...]] = {0: ()}
        self._wanted: frozenset[Target] = frozenset()
        # By target, in the last order; filled when it is first needed.
        self._numbers: dict[Target, int] = {}
        self._heard = 0
        self._nonsense = 0
        self._quiet_until = 0.0
        self._poll = select.epoll()
        self._poll.register(line, select.EPOLLIN)

    def fileno(self) -> int:
        return self._poll.fileno()

    def ask(self, targets: Sequence[Target]) -> None:
        """Have *targets* asked from now on, and nobody else.

        Those that stay keep their schedule; targets without a check are left out.
        """
        asked = tuple(dict.fromkeys(it for it in targets if it.check.kind is not CheckKind.NONE))
        self._generation += 1
        self._asked[self._generation] = asked
        self._wanted = frozenset(asked)
        self._numbers = {}
        self._order = tuple(orders.pack(self._generation, asked))
        if self._greeted:
            self._send_order()

    def hasten(self, targets: Iterable[Target]) -> None:
        """Have *targets* asked at once; no more than a hint, lost where the line has no room."""
        if self._unsent or not self._greeted:
            return  # what the prober does not know yet it asks at once anyway
        if not self._numbers:
            asked = self._asked[self._generation]
            self._numbers = {who: number for number, who in enumerate(asked)}
        numbers = [self._numbers[who] for who in targets if who in self._numbers]
        if numbers:
            with suppress(OSError):
                self._line.send(orders.pack_haste(self._generation, numbers))

    def events(self) -> tuple[Event, ...]:
        """Return what has happened since the last call.

        Raises ConnectionError once prober and spawner are both gone: nothing is checked any
        more, and no process that may do so can be started from here.
        """
        return tuple(self._events())

    def close(self) -> None:
        """Hang up: prober and spawner end by themselves."""
        with suppress(OSError):  # they are gone already
            self._line.shutdown(socket.SHUT_WR)
            gone = select.poll()
            gone.register(self._line, 0)
            gone.poll(FAREWELL)
        self._line.close()
        self.orders.close()
        self._poll.close()
        self._reap()

    def _events(self) -> Iterator[Event]:
        self._flush()
        self._heard = 0
        for _ in range(RECORDS):
            if self._heard >= PROBES:
                break
            try:
                record = self._line.recv(2 * wire.RECORD)
            except BlockingIOError:
                break
            if not record:
                self._reap()
                raise ConnectionError("the prober and its spawner are gone")
            yield from self._read(record)
        if self._nonsense and self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + QUIET
            yield ProberTrouble(f"{self._nonsense} malformed records of it were dropped")
            self._nonsense = 0

    def _read(self, record: bytes) -> Iterator[Event]:
        try:
            report = wire.unpack_report(record)
        except ValueError:
            self._nonsense += 1
            return
        if isinstance(report, wire.Verdicts):
            yield from self._told(report)
        elif isinstance(report, wire.Hello):
            self._greeted = True
            self._send_order()
        elif isinstance(report, wire.Load):
            self.load = report
        elif isinstance(report, wire.Trouble):
            yield ProberTrouble(report.words)
        else:
            self._greeted = False
            yield ProberLost(report.words)

    def _told(self, report: wire.Verdicts) -> Iterator[Event]:
        asked = self._asked.get(report.generation)
        if asked is None or any(told.number >= len(asked) for told in report.told):
            self._nonsense += 1
            return
        for earlier in [number for number in self._asked if number < report.generation]:
            del self._asked[earlier]
        for number, verdict, next_in, times in report.told:
            self._heard += times
            if asked[number] in self._wanted:
                yield Probed(asked[number], verdict, next_in, times)

    def _send_order(self) -> None:
        self._unsent = deque(self._order)
        self._flush()

    def _flush(self) -> None:
        """Send what is still unsent of the order, and listen for room if there is none."""
        if not self._unsent:
            return
        while self._unsent:
            try:
                self._line.send(self._unsent[0])
            except BlockingIOError:
                break
            except OSError:
                self._unsent.clear()  # nobody is there, as `events` will find
                break
            self._unsent.popleft()
        room = select.EPOLLOUT if self._unsent else 0
        self._poll.modify(self._line, select.EPOLLIN | room)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            os.waitpid(self.spawner, os.WNOHANG)
