"""The process that talks to real servers: orders in, verdicts out, nothing else."""

from __future__ import annotations

import gc
import os
import resource
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from lvs_nat.checks.kind import NOTHING_LENT, Lent
from lvs_nat.core import orders, wire
from lvs_nat.core.setup import Target
from lvs_nat.daemon.engine import Engine
from lvs_nat.daemon.mishaps import Mishaps, described
from lvs_nat.daemon.probe import Probe

# The spawner hears from a prober that is well this often (seconds).
BEAT = 1.0
# A verdict without news is told this often, in seconds, so that status shows fresh latencies;
# where there are thousands, no more than so many a second: the director has other work.
REFRESH = 5.0
TOLD = 200
# Descriptors kept back for what is not a probe.
SPARE = 16
# More probes than this at once only fill the memory: 10,000 silent servers need 8,000.
MOST = 16384


def run(line: socket.socket, beat: int, lent: Lent = NOTHING_LENT) -> None:
    """Probe what the director orders until it closes its end of *line*.

    Writes a byte to the descriptor *beat* every BEAT seconds while the loop turns; lent is what
    the prober could not open itself.
    """
    prober = Prober(line, beat, lent)
    try:
        prober.greet()
        while True:
            prober.turn()
    except (ConnectionError, EOFError):
        return
    except Exception as error:
        prober.say(wire.pack_trouble(described(error)))
        raise


class Prober:
    """An engine between the director's orders and the verdicts it is told.

    Verdicts that are news leave at the end of the turn, the others with the next beat.  What
    the director has no room for is kept, the latest for each target; blocked says that there
    is such.
    """

    def __init__(self, line: socket.socket, beat: int, lent: Lent = NOTHING_LENT) -> None:
        self._line = line
        self._beat = beat
        mishaps = Mishaps(lambda words: self.say(wire.pack_trouble(words)))
        self._engine = Engine(self._ended, _room(), lent=lent, mishaps=mishaps)
        self._generation = 0
        self._hearing = orders.Hearing()
        self._asked: Sequence[Target] = ()
        self._untold: dict[Probe, None] = {}
        self._news = False
        self._refresh = REFRESH
        self._greeted = False
        self.blocked = False
        self._beat_at = 0.0
        self._load_at = 0.0
        self._engine.listen(line.fileno())

    def turn(self) -> None:
        """See to what is due, or wait for it; raise EOFError once the director has ended."""
        now = time.monotonic()
        if now >= self._beat_at:
            self._live(now)
        for _, events in self._engine.turn(max(0.0, self._beat_at - now)):
            if events & select.EPOLLOUT:
                self._unblock()
            if events & ~select.EPOLLOUT:
                self._hear()
        if self._news and not self.blocked:
            self._tell()

    def say(self, record: bytes) -> bool:
        """Send *record* if the line has room for it now; say whether it had."""
        try:
            self._line.send(record, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def greet(self) -> None:
        """Say that there is somebody to be told whom to ask, as soon as the line has room.

        Nothing else is told before it.  A director that stands still may have left the line
        full of the last prober's words; it sends no order to one that it has not heard of.
        """
        self._greeted = self.say(wire.HELLO)
        if not self._greeted:
            self._wait_for_room()

    def _live(self, now: float) -> None:
        """Give a sign of life, and tell what has waited for one."""
        self._beat_at = now + BEAT
        with suppress(BlockingIOError):  # then the spawner has many to read already
            os.write(self._beat, b".")
        if self._untold and not self.blocked:
            self._tell()
        engine = self._engine
        if now >= self._load_at and not self.blocked:
            self._load_at = now + REFRESH
            load = wire.Load(
                engine.probes, engine.looked_again, engine.in_flight, engine.room, engine.worst_lag
            )
            if self.say(wire.pack_load(load)):
                engine.worst_lag = 0.0

    def _hear(self) -> None:
        try:
            record = self._line.recv(wire.RECORD, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not record:
            raise EOFError
        if record.startswith(orders.HASTE):
            self._hasten(orders.unpack_haste(record))
            return
        order = self._hearing.take(record)
        if order is not None:
            self._obey(*order)

    def _obey(self, generation: int, targets: Sequence[Target]) -> None:
        # What is still untold is told under the new numbers.
        self._generation, self._asked = generation, targets
        self._engine.ask(targets)
        self._refresh = max(REFRESH, len(targets) / TOLD)
        self._untold = {probe: None for probe in self._untold if probe.wake >= 0}
        gc.collect()
        gc.freeze()  # thousands of lasting objects need not be walked again
        gc.enable()  # the director, of which this was forked, suspends it while it starts

    def _hasten(self, haste: orders.Haste) -> None:
        if haste.generation == self._generation:
            numbers = (number for number in haste.numbers if number < len(self._asked))
            self._engine.suspect(self._asked[number] for number in numbers)

    def _ended(self, probe: Probe, news: bool) -> None:
        if news:
            self._news = True
            self._untold[probe] = None
        elif probe.began - probe.told_at >= self._refresh:
            self._untold[probe] = None

    def _tell(self) -> None:
        """Send what is untold, as far as the line has room."""
        now = time.monotonic()
        waiting = list(self._untold)
        told = (
            wire.Told(probe.number, probe.verdict, max(0.0, probe.due - now), probe.times)
            for probe in waiting
        )
        sent = 0
        for record, count in wire.pack_verdicts(self._generation, told):
            if not self.say(record):
                self._wait_for_room()
                break
            sent += count
        for probe in waiting[:sent]:
            del self._untold[probe]
            probe.told, probe.told_at, probe.times = probe.outcome, now, 0
        self._news = self.blocked

    def _wait_for_room(self) -> None:
        self.blocked = True
        self._engine.listen(self._line.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _unblock(self) -> None:
        self.blocked = False
        self._engine.listen(self._line.fileno())
        if not self._greeted:
            self.greet()


def _room() -> int:
    """Return how many probes may be under way, after asking for all descriptors to be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST + SPARE if hard == resource.RLIM_INFINITY else min(hard, MOST + SPARE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return int(max(1, most - SPARE))
