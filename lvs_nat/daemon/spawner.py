"""A small process that keeps one prober alive, so that a dead one is replaced without privilege."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Collection

from lvs_nat.core import wire
from lvs_nat.daemon import prober
from lvs_nat.daemon.link import Link
from lvs_nat.system import privileges

USERS = ("lvs-nat-check", "nobody")
# A prober that has given no sign of life for this long hangs (its loop turns every second).
PATIENCE = 5.0
# A prober that dies at once is not started more often than this.
PAUSE = 0.5


def spawn() -> Link:
    """Fork the spawner; return the director's end of the line to its prober.

    To be called before anything is open that a prober should not have.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    director = os.getpid()
    child = os.fork()
    if child == 0:
        _run(lambda: _confined(theirs, director))
    theirs.close()
    return Link(ours, child)


def _run(task: Callable[[], None]) -> None:
    """Run *task* as all that a forked child does: nothing of the parent's is run after it."""
    code = 1
    try:
        task()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _confined(line: socket.socket, director: int) -> None:
    """Give everything up but *line*; then keep a prober alive until the director ends."""
    # The director's signals are not ours: we end when its end of the line closes.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    _close_all_but({0, 1, 2, line.fileno()})
    os.chdir("/")
    if os.geteuid() == 0:
        privileges.become(*USERS)
    privileges.die_with(director)
    keep_alive(line)


def _close_all_but(kept: Collection[int]) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                continue  # the descriptor that listed the directory itself


Prober = Callable[[socket.socket, int], None]


def keep_alive(line: socket.socket, start: Prober = prober.run) -> None:
    """Start a prober, and another whenever it dies or hangs, until the director is gone."""
    while True:
        words = _one(line, start)
        if _gone(line):
            return
        try:
            line.send(wire.pack_lost(words), socket.MSG_DONTWAIT)
        except OSError:
            return
        if select.select([line], [], [], PAUSE)[0] and _gone(line):
            return


def _one(line: socket.socket, start: Prober) -> str:
    """Run one prober to its end; return how it ended."""
    reading, alive = os.pipe2(os.O_NONBLOCK)
    spawner = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)

        def task() -> None:
            privileges.die_with(spawner)
            start(line, alive)

        _run(task)
    os.close(alive)
    hung = False
    while True:
        if not select.select([reading], [], [], PATIENCE)[0]:
            hung = True
            os.kill(child, signal.SIGKILL)
        if hung or not os.read(reading, 4096):
            break
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if hung:
        return f"it gave no sign of life for {PATIENCE:g} s"
    return f"killed by signal {-status}" if status < 0 else f"it ended with status {status}"


def _gone(line: socket.socket) -> bool:
    """Say whether the director has closed its end."""
    poll = select.poll()
    poll.register(line, 0)
    return bool(poll.poll(0))
