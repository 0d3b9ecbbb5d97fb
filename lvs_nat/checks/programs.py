"""Programs are run for checks: bounded in all they do, and ended with all they have started."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from errno import ENOSYS, EPERM
from time import CLOCK_MONOTONIC

from lvs_nat.checks.kind import Answer
from lvs_nat.checks.trust import ROOT, distrusted
from lvs_nat.core.health import Outcome

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Who has written more bytes than this never stops.
ENDLESS = 1 << 20
PIECE = 65536
# Limits against accidents (setrlimit(2)): descriptors, no core dumps, and the size of files,
# which leaves room for a log of its own.
LIMITS = (
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 256 << 20),
)
# Where the kernel has no descriptor for a process (pidfd_open(2), Linux 5.3; not in EL8), it is
# looked at this often (nanoseconds).
TICK = 10_000_000

# So many killed programs of one check may take their time to end before no more is started.
STUCK = 3

# Is called with the exit status and what was written.
Judge = Callable[[int, bytes], Answer]


def no_pidfd(pid: int) -> int:
    """Stand in for what this Python was built without."""
    raise OSError(ENOSYS, os.strerror(ENOSYS))


PIDFD: Callable[[int], int] = getattr(os, "pidfd_open", no_pidfd)


class Programs:
    """All programs that are run for checks; those whose files do not belong to *owners* never.

    pidfd gives a descriptor that becomes readable when a process ends.  dying are those that
    were killed and are not dead yet, each with the one it was run for.
    """

    def __init__(self, owners: Collection[int] = ROOT, pidfd: Callable[[int], int] = PIDFD) -> None:
        self._owners = owners
        self._pidfd = pidfd
        self.dying: dict[int, object] = {}

    def run(
        self, who: object, command: Sequence[str], environment: Mapping[str, str], judge: Judge
    ) -> Running | Answer:
        """Start the program *command* for *who*; where that cannot be, return the answer."""
        self.bury()
        program = command[0]
        why = distrusted(program, self._owners)
        if not why and sum(it is who for it in self.dying.values()) >= STUCK:
            why = f"{program}: {STUCK} were killed and have not ended yet"
        if why:
            return Answer(Outcome.UNKNOWN, why)
        output, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            pid = _spawned(command, {"PATH": PATH, "LC_ALL": "C", **environment}, theirs)
        except OSError as error:
            os.close(output)
            words = (error.strerror or str(error)).lower()
            return Answer(Outcome.UNKNOWN, f"{program} cannot be run: {words}")
        finally:
            os.close(theirs)
        os.set_blocking(output, False)
        return Running(self, who, program, pid, output, judge)

    def watch(self, pid: int) -> tuple[int, bool]:
        """Return a descriptor that is readable when *pid* has ended, or else, True, regularly."""
        try:
            return self._pidfd(pid), False
        except OSError as error:
            if error.errno not in (ENOSYS, EPERM):  # EPERM is a filter that does not know it
                raise
            return _ticking(), True

    def kill(self, pid: int, who: object) -> None:
        """End *pid* and its group; it is buried when it is dead, since nothing here may wait."""
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self.dying[pid] = who
        self.bury()

    def bury(self) -> None:
        """Take leave of those that have died since they were killed."""
        for pid in tuple(self.dying):
            try:
                dead = os.waitpid(pid, os.WNOHANG)[0]
            except ChildProcessError:  # somebody else has seen its end
                dead = pid
            if dead:
                del self.dying[pid]


class Running:
    """A program that has been started."""

    __slots__ = (
        "_judge", "_kept", "_open", "_output", "_pid", "_poll", "_program", "_programs",
        "_ticks", "_watch", "_who", "_written",
    )  # fmt: skip
    events = select.EPOLLIN

    def __init__(
        self, programs: Programs, who: object, program: str, pid: int, output: int, judge: Judge
    ) -> None:
        self._programs = programs
        self._who = who
        self._program = program
        self._pid = pid
        self._output = output
        self._open = True
        self._judge = judge
        self._kept = b""
        self._written = 0
        self._poll: select.epoll | None = None
        self._watch = -1
        try:
            self._poll = select.epoll()
            self._watch, self._ticks = programs.watch(pid)
            self._poll.register(self._watch, select.EPOLLIN)
            self._poll.register(output, select.EPOLLIN)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        assert self._poll is not None
        return self._poll.fileno()

    def proceed(self, events: int) -> Answer | None:
        """Read what it wrote; return the answer once it has ended, whoever else still lives."""
        ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        self._read()
        if ended is None and self._written <= ENDLESS:
            if self._ticks:
                with suppress(BlockingIOError):
                    os.read(self._watch, 8)
            return None
        if ended is None:
            return Answer(Outcome.UNKNOWN, f"{self._program} writes without end")
        if ended.si_code != os.CLD_EXITED:
            words = f"{self._program} was ended by signal {ended.si_status}"
            return Answer(Outcome.UNKNOWN, words)
        return self._judge(ended.si_status, self._kept)

    def close(self) -> None:
        """End the program, and whatever it has started and not taken out of its group."""
        self._programs.kill(self._pid, self._who)
        os.close(self._output)
        if self._poll:
            self._poll.close()
        if self._watch >= 0:
            os.close(self._watch)

    def _read(self) -> None:
        """Read what there is, and keep its beginning; nothing waits for the end of it."""
        while self._open and self._written <= ENDLESS:
            try:
                part = os.read(self._output, PIECE)
            except BlockingIOError:
                return
            if not part:
                self._open = False
                assert self._poll is not None
                self._poll.unregister(self._output)
            self._written += len(part)
            self._kept += part


def _spawned(command: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """Start *command* in a session of its own; return its pid, or raise OSError.

    posix_spawn() shares the memory until the program is there, however large the prober is;
    and limits are inherited, so that they are changed here for a moment.
    """
    before = [(limit, resource.getrlimit(limit)) for limit, _ in LIMITS]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    try:
        for (limit, (_, hard)), (_, wanted) in zip(before, LIMITS):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(limit, (most, hard))
        return os.posix_spawn(
            command[0],
            list(command),
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        for limit, values in before:
            resource.setrlimit(limit, values)


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: interval, then first, in seconds and nanoseconds."""

    _fields_ = (("times", ctypes.c_long * 4),)


def _ticking() -> int:
    """Return a descriptor that is readable every TICK (timerfd_create(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    spec = _TimerSpec((0, TICK, 0, TICK))
    libc.timerfd_settime(fd, 0, ctypes.byref(spec), None)
    return int(fd)
