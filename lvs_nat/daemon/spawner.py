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

from lvs_nat.checks import kinds
from lvs_nat.checks.kind import Lent
from lvs_nat.core import wire
from lvs_nat.daemon import prober
from lvs_nat.daemon.link import Link
from lvs_nat.system import files, privileges, raw

USERS = ("lvs-nat-check", "nobody")
# A prober gives a sign of life every second.  Silence is counted in looks of this many
# seconds, not measured: where the whole machine stood still, only one look was missed.
LOOK = 1.0
SILENT_LOOKS = 5

Run = Callable[[socket.socket, int, Lent], None]


def spawn(run: Run = prober.run, look: float = LOOK) -> Link:
    """Fork the spawner, which forks the prober; return the director's end of their line.

    To be called once in the process that is the director to its end (after detaching, and by
    its main thread: the spawner dies with it), before anything is open that a prober should
    not have.  As root, both become the first of USERS that exists; they have no capability,
    but the raw sockets that the spawner has opened before.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    director = os.getpid()
    child = os.fork()
    if child == 0:
        _only(lambda: _spawner(theirs, director, run, look))
    theirs.close()
    return Link(ours, child)


def _only(task: Callable[[], None]) -> None:
    """Do *task* and end: a forked child runs nothing else of its parent's."""
    status = 1
    try:
        task()
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(status)


def _spawner(line: socket.socket, director: int, run: Run, look: float) -> None:
    gc.freeze()  # no object of the director's may be finalized here, and close a new descriptor
    _deaf()
    _close_all_but({0, 1, 2, line.fileno()})
    lent = Lent(raw.opened())
    os.chdir("/")
    if not all(files.open_to_all(Path(it)) for it in (os.__file__, __file__)):
        kinds.preload()  # a Python in root's home is out of reach from now on
    privileges.become(*USERS)
    privileges.die_with(director)
    line.setblocking(False)
    while True:
        began = time.monotonic()
        try:
            words = _raise_one(line, run, look, lent)
        except OSError as error:
            words = f"no process can be made: {error.strerror}"
        if words:
            with suppress(BlockingIOError):  # then the greeting of the next one tells enough
                line.send(wire.pack_lost(words))
        # A prober that cannot live is not raised in a busy loop.
        short = time.monotonic() - began < SILENT_LOOKS * look
        if _hung_up(line, look if short else 0.0):
            return


def _deaf() -> None:
    """Take signals as a new process does, and leave those for the director to the director."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_all_but(kept: Collection[int]) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            with suppress(OSError):  # the descriptor that listed the directory itself
                os.close(fd)


def _raise_one(line: socket.socket, run: Run, look: float, lent: Lent) -> str:
    """Fork a prober; return how it ended, or "" where the director has ended."""
    beats, beat = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        spawner = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(beats)
            _only(lambda: _prober(line, beat, spawner, run, lent))
    finally:
        os.close(beat)
    try:
        hung = _watch(line, beats, look)
    finally:
        os.close(beats)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if hung is None:
        return ""
    if hung:
        return f"it hung: no sign of life for {SILENT_LOOKS * look:g} s"
    return f"killed by signal {-status}" if status < 0 else f"it ended with status {status}"


def _prober(line: socket.socket, beat: int, spawner: int, run: Run, lent: Lent) -> None:
    privileges.die_with(spawner)
    run(line, beat, lent)


def _watch(line: socket.socket, beats: int, look: float) -> bool | None:
    """Wait until the prober ends (False) or hangs (True), or the director ends (None)."""
    poll = select.poll()
    poll.register(beats, select.POLLIN)
    poll.register(line, select.POLLRDHUP)
    missed = 0
    while missed < SILENT_LOOKS:
        ready = dict(poll.poll(look * 1000))
        if line.fileno() in ready:
            return None
        if beats not in ready:
            missed += 1
        elif os.read(beats, 4096):
            missed = 0
        else:
            return False
    return True


def _hung_up(line: socket.socket, seconds: float) -> bool:
    """Say whether the director ends within *seconds*."""
    poll = select.poll()
    poll.register(line, select.POLLRDHUP)
    return bool(poll.poll(seconds * 1000))
