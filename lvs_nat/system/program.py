"""The program is called once more as it is installed now: to be tried, or in our own place."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

# What the next image gets whatever becomes of ours: it has handlers only some time later.
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WORDS = 4096  # bytes that are kept of what an attempt says


@dataclass(frozen=True)
class Program:
    """How this process was called: the interpreter, and all its words.

    The same words find what is installed under them by then.
    """

    path: str
    words: tuple[str, ...]

    @classmethod
    def of_this_process(cls) -> Program:
        """Return how we were called, so that it can be repeated from any directory."""
        given = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
        words = [os.fsdecode(word) for word in given]
        script = sys.argv[0]
        if script in words[1:]:  # called by -m it is not
            words[words.index(script, 1)] = os.path.abspath(script)
        return cls(sys.executable, tuple(words))

    def attempt(self, environ: Mapping[str, str]) -> Attempt:
        """Have it run beside us."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.posix_spawn(
                self.path,
                self.words,
                environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsigmask=(),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return Attempt(pid, reading)

    def become(self, environ: Mapping[str, str], kept: Collection[int]) -> None:
        """Put it in our place, with the descriptors *kept* and none of our others.

        Returns only by raising OSError; then we are as before.  Signals of HELD that come
        meanwhile wait until the new image lets them in.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        for fd in kept:
            os.set_inheritable(fd, True)
        try:
            os.execve(self.path, self.words, environ)  # noqa: S606 - no shell is meant
        finally:
            for fd in kept:
                os.set_inheritable(fd, False)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Attempt:
    """A program under way beside us; `fileno` can be read whenever `over` has to be asked."""

    def __init__(self, pid: int, reading: int) -> None:
        self._pid = pid
        self._reading = reading
        self._said = b""

    def fileno(self) -> int:
        return self._reading

    def over(self) -> bool:
        """Take in what it says; return whether it has ended."""
        piece = os.read(self._reading, WORDS)
        self._said = (self._said + piece)[-WORDS:]
        return not piece

    def close(self) -> str:
        """End it if it is not over; return why it has failed, or "" if it has not."""
        os.close(self._reading)
        os.kill(self._pid, signal.SIGKILL)  # one that has ended by itself keeps its status
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status == 0:
            return ""
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return self._said.decode(errors="replace").strip() or how
