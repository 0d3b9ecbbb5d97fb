"""A small process keeps one prober alive, so that a dead one is replaced without privilege."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lvs_nat.checks import kinds
from lvs_nat.checks.kind import NOTHING_LENT, Lent
from lvs_nat.core import wire
from lvs_nat.daemon import prober, renewal
from lvs_nat.daemon.link import Link
from lvs_nat.system import family, files, logs, privileges, raw
from lvs_nat.system.program import Program

USERS = ("lvs-nat-check", "nobody")
# A prober gives a sign of life every second.  Silence is counted in looks of this many
# seconds, not measured: where the whole machine stood still, only one look was missed.
LOOK = 1.0
SILENT_LOOKS = 5

Run = Callable[[socket.socket, int, Lent], None]


def spawn(run: Run = prober.run, look: float = LOOK, program: Program | None = None) -> Link:
    """Fork the spawner, which forks the prober; return the director's end of their line.

    To be called once in the process that is the director to its end (after detaching, and by
    its main thread, at whose end the spawner is woken), before anything is open that a prober
    should not have.  As root, both become the first of USERS that exists; they have no capability,
    but the raw sockets that the spawner has opened before.  *program*, by default the one that
    we are, is what the spawner goes over to when it is asked (daemon/renewal.py).
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders, ordered = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = program or Program.of_this_process()
    child = os.fork()
    if child == 0:
        _only(lambda: _begin(Spawner(theirs, ordered, program, run, look)))
    theirs.close()
    ordered.close()
    return Link(ours, child, orders=orders)


def go_on(spawner: Spawner) -> None:
    """Be *spawner* in the place of one of another version, in its process."""
    _deaf()
    privileges.become()
    spawner.serve()


def _only(task: Callable[[], None]) -> None:
    """Do *task* and end: a forked child runs nothing else of its parent's."""
    status = 1
    try:
        task()
        status = 0
    except BaseException:
        os.write(2, "\n".join([*logs.trace(traceback.format_exc()), ""]).encode())
    finally:
        os._exit(status)


def _begin(spawner: Spawner) -> None:
    gc.freeze()  # no object of the director's may be finalized here, and close a new descriptor
    _deaf()
    _close_all_but({0, 1, 2, *spawner.descriptors})
    spawner.lent = Lent(raw.opened())
    os.chdir("/")
    if not all(files.open_to_all(Path(it)) for it in (os.__file__, __file__)):
        kinds.preload()  # a Python in root's home is out of reach from now on
    privileges.become(*USERS)
    spawner.serve()


def _deaf() -> None:
    """Take signals as a new process does, and leave those for the director to the director."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would leave no child to wait for
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_all_but(kept: Collection[int]) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            with suppress(OSError):  # the descriptor that listed the directory itself
                os.close(fd)


class Former(NamedTuple):
    """A prober that another image of this process has raised, and the end of its beats.

    It ends by itself when its director hangs up; without this end it would do so at once.
    """

    prober: int
    beats: int

    def ended(self) -> bool:
        """Reap it if it has ended, and say whether it has."""
        if not os.waitpid(self.prober, os.WNOHANG)[0]:
            return False
        os.close(self.beats)
        return True


class Spawner:
    """Raises a prober on *line* whenever there is none, until the director has ended.

    Whatever has become of a prober, the programs that it ran for checks end with it.  lent is
    what probers get that only root could open.
    """

    def __init__(
        self,
        line: socket.socket,
        orders: socket.socket,
        program: Program,
        run: Run = prober.run,
        look: float = LOOK,
        former: Former | None = None,
        lent: Lent = NOTHING_LENT,
    ) -> None:
        self.lent = lent
        self._line = line
        self._orders = orders
        self._run = run
        self._look = look
        self._program = program
        self._former = former

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._line.fileno(), self._orders.fileno(), *(it.fileno() for it in self.lent.raw))

    def serve(self) -> None:
        """Return once the director has hung up, and nobody is left of what was raised."""
        family.adopt()
        family.wake_at_parents_end()
        self._line.setblocking(False)
        try:
            self._serve()
        finally:
            family.end()

    def _serve(self) -> None:
        while True:
            began = time.monotonic()
            try:
                words = self._raise_one()
            except OSError as error:
                words = f"no process can be made: {error.strerror}"
            if words:
                with suppress(BlockingIOError):  # then the greeting of the next one tells enough
                    self._line.send(wire.pack_lost(words))
            # A prober that cannot live is not raised in a busy loop.
            short = time.monotonic() - began < SILENT_LOOKS * self._look
            if self._hung_up(self._look if short else 0.0):
                return

    def _raise_one(self) -> str:
        """Fork a prober; return how it ended, or "" where the director has ended."""
        beats, beat = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            spawner = os.getpid()
            child = os.fork()
            if child == 0:
                _only(lambda: self._prober(beat, spawner))
        finally:
            os.close(beat)
        try:
            hung = self._watch(child, beats)
        finally:
            os.close(beats)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        family.end(kept=self._probers())
        if hung is None:
            return ""
        if hung:
            return f"it hung: no sign of life for {SILENT_LOOKS * self._look:g} s"
        return f"killed by signal {-status}" if status < 0 else f"it ended with status {status}"

    def _prober(self, beat: int, spawner: int) -> None:
        # Orders are the spawner's alone.
        _close_all_but({0, 1, 2, beat, *self.descriptors} - {self._orders.fileno()})
        family.die_with(spawner)
        self._run(self._line, beat, self.lent)

    def _watch(self, child: int, beats: int) -> bool | None:
        """Wait until the prober ends (False) or hangs (True), or the director ends (None)."""
        poll = select.poll()
        poll.register(beats, select.POLLIN)
        poll.register(self._line, select.POLLRDHUP)
        poll.register(self._orders, select.POLLIN)
        missed = 0
        while missed < SILENT_LOOKS:
            ready = dict(poll.poll(self._look * 1000))
            if self._former and self._former.ended():
                self._former = None
                family.end(kept=self._probers(child))
            family.bury(kept=self._probers(child))  # what programs of checks have left running
            if self._line.fileno() in ready:
                return None
            if self._orders.fileno() in ready and self._told_to_end(child, beats):
                return None
            if beats not in ready:
                missed += 1
            elif os.read(beats, 4096):
                missed = 0
            else:
                return False
        return True

    def _probers(self, *present: int) -> tuple[int, ...]:
        return (*present, self._former.prober) if self._former else present

    def _told_to_end(self, child: int, beats: int) -> bool:
        """Read what the director wants, which may be another program in our place."""
        raw_ = [it.fileno() for it in self.lent.raw]
        return renewal.obey(self._orders, self._program, child, beats, raw_)

    def _hung_up(self, seconds: float) -> bool:
        """Say whether the director ends within *seconds*."""
        poll = select.poll()
        poll.register(self._line, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000))
