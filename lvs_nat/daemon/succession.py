"""A director gives way to the program that is installed now, in the same process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

import lvs_nat
from lvs_nat.core import wire
from lvs_nat.daemon import handover, renewal
from lvs_nat.daemon.desk import Desk, Later
from lvs_nat.daemon.handover import Part
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import LvsNatError
from lvs_nat.system import logs, notify
from lvs_nat.system.claim import Claim
from lvs_nat.system.program import Attempt, Program
from lvs_nat.system.watcher import Watcher

log = logging.getLogger(__name__)

# What each step may take on a busy machine, in seconds.
PATIENCE = 30.0
# So long those who are being answered are waited for, in looks of so many seconds.
LOOK = 0.02
LOOKS = 50


@dataclass(frozen=True)
class Seat:
    """What a director has from its beginning, or from the image before it.

    lock is the descriptor that holds the lock, listening that of the control socket where an
    image before has opened it: then all that it knew is in the state file.  claim is what
    tells a second director of this one.
    """

    program: Program
    lock: int
    listening: int | None = None
    claim: Claim | None = None


class Succession:
    """The way to a successor, one step at a time.

    The installed program is tried first, beside us, with what we know, as it will have to go
    on from that.  Then the spawner goes over to it and raises a prober of it, on a new line.
    Only when that has greeted is our own image given up.  Whatever fails before leaves us
    serving as we are.  *write* leaves all that we know, or raises OSError.
    """

    def __init__(
        self,
        seat: Seat,
        paths: Paths,
        loop: Loop,
        desk: Desk,
        link: Link,
        write: Callable[[], None],
        watcher: Watcher | None = None,
    ) -> None:
        self._watcher = watcher
        self._seat = seat
        self._paths = handover.spell_paths(paths)
        self._loop = loop
        self._desk = desk
        self._link = link
        self._write = write
        self._asked: Later | None = None
        self._line: socket.socket | None = None

    def begin(self) -> Later:
        """Go the first step; the answer is given when the last one is certain, or is not."""
        if self._asked:
            raise LvsNatError("a re-execution is under way already")
        self._asked = asked = Later()
        if not self._written():
            return asked
        try:
            attempt = self._seat.program.attempt(handover.environ(Part.TRIAL, paths=self._paths))
        except OSError as error:
            self._stay(str(error))
            return asked
        self._loop.watch(attempt.fileno(), lambda: self._hear(attempt))
        self._loop.after("succession", PATIENCE, lambda: self._tried(attempt, late=True))
        return asked

    def _hear(self, attempt: Attempt) -> None:
        if attempt.over():
            self._tried(attempt)

    def _tried(self, attempt: Attempt, late: bool = False) -> None:
        self._loop.unwatch(attempt.fileno())
        words = attempt.close()
        if late:
            words = f"no end of its trial within {PATIENCE:g} s"
        if words:
            self._stay(words)
            return
        try:
            self._renew(self._link.orders)
        except OSError as error:
            self._stay(f"the spawner cannot be asked: {error.strerror}")

    def _renew(self, orders: socket.socket) -> None:
        self._line = line = renewal.request(orders)
        self._loop.watch(orders.fileno(), lambda: self._refused(orders, line))
        self._loop.watch(line.fileno(), lambda: self._greeted(line))
        self._loop.after("succession", PATIENCE, lambda: self._stay("its prober does not greet"))

    def _refused(self, orders: socket.socket, line: socket.socket) -> None:
        words = orders.recv(wire.RECORD).decode(errors="replace")
        self._stay(f"for its prober: {words}" if words else "the spawner is gone")
        line.close()

    def _greeted(self, line: socket.socket) -> None:
        # Left to be read by the successor.
        said = line.recv(wire.RECORD, socket.MSG_PEEK)
        if said != wire.HELLO:
            # Its line stays open: were it hung up, the spawner would end, and our prober with it.
            self._stay("its prober does not live")
            return
        self._unwatch()
        self._desk.rest()
        self._leave(line, LOOKS)

    def _leave(self, line: socket.socket, looks: int) -> None:
        """Go the last step, as soon as nobody is in the midst of being answered."""
        if self._desk.busy and looks:
            self._loop.after("succession", LOOK, lambda: self._leave(line, looks - 1))
            return
        if not self._written():
            self._desk.resume()
            return
        self._answer({})
        self._become(line)

    def _written(self) -> bool:
        """Write down all that a successor goes on from; stay where that cannot be."""
        try:
            self._write()
        except OSError as error:
            self._stay(str(error), ": what it knows cannot be written down")
            return False
        return True

    def _become(self, line: socket.socket) -> None:
        kept = {
            "lock": self._seat.lock,
            "control": self._desk.fileno(),
            "line": line.fileno(),
            "orders": self._link.orders.fileno(),
        }
        lacking = ""
        if self._watcher:
            packets, table = self._watcher.descriptors
            kept["packets"], lacking = packets, self._watcher.lacking
            kept.update({} if table is None else {"table": table})
        told = {"paths": self._paths, "spawner": self._link.spawner, "log": logs.kind()}
        environ = handover.environ(Part.DIRECTOR, lacking=lacking, **told, **kept)
        log.info("version %s gives way to the one that is installed", lvs_nat.__version__)
        notify.reloading()
        notify.longer(PATIENCE)
        try:
            self._seat.program.become(environ, kept.values())
        except OSError as error:  # it has just been tried: memory or processes are at an end
            raise LvsNatError(f"{error}; ending, and leaving the table as it is") from error

    def _stay(self, why: str, what: str = ", the one that is installed fails") -> None:
        self._unwatch()
        words = f"version {lvs_nat.__version__} goes on{what}: {why}"
        log.error("%s", words)
        self._answer({"error": words})

    def _unwatch(self) -> None:
        self._loop.forget("succession")
        if self._line:
            self._loop.unwatch(self._line.fileno())
        self._loop.unwatch(self._link.orders.fileno())

    def _answer(self, words: dict[str, str]) -> None:
        asked, self._asked = self._asked, None
        if asked:
            asked.give(words)
