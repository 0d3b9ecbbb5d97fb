"""Other programs are run: beside our own work, for a bounded time, with nothing of ours open."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence

from lvs_nat.errors import LvsNatError

# Where the system's own programs are, whatever PATH we were started with.
FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
SECONDS = 5.0  # how long one may take
MOST = 64 * 1024  # bytes of what it says


def find(program: str) -> str | None:
    """Return where *program* is, or None."""
    places = (f"{folder}/{program}" for folder in FOLDERS)
    return next((place for place in places if os.access(place, os.X_OK)), None)


class Child:
    """One run of *command*, which reads *text*; used with `with`, it does not outlive the block.

    `fileno` can be read whenever `ended` has something to do.  Raises LvsNatError where there
    is no such program.
    """

    def __init__(self, command: Sequence[str], text: str = "") -> None:
        program = find(command[0])
        if program is None:
            raise LvsNatError(f"{command[0]} is not there")
        self._command = command
        self._said = b""
        self._status: int | None = None
        told = os.memfd_create(command[0])
        try:
            with open(told, "w", closefd=False) as file:
                file.write(text)
            os.lseek(told, 0, os.SEEK_SET)
            self._reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._reading, False)
            try:
                self._pid = os.posix_spawn(
                    program,
                    list(command),
                    {"PATH": ":".join(FOLDERS), "LC_ALL": "C"},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, told, 0),
                        (os.POSIX_SPAWN_DUP2, writing, 1),
                        (os.POSIX_SPAWN_DUP2, writing, 2),
                    ],
                    setsigdef=[signal.SIGPIPE],
                )
            except OSError:
                os.close(self._reading)
                raise
            finally:
                os.close(writing)
        finally:
            os.close(told)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._reading

    def ended(self) -> bool:
        """Read what it says; return whether that was all."""
        while len(self._said) < MOST:
            try:
                data = os.read(self._reading, MOST)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._said += data
        return True

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def result(self) -> str:
        """Return what it said, to be asked once it has ended; raise LvsNatError if it failed."""
        if self._status is None:
            self._reap()
        words = " ".join(self._said.decode(errors="replace").split())
        if self._status:
            raise LvsNatError(f"{' '.join(self._command)}: {words or f'status {self._status}'}")
        return words

    def _reap(self) -> None:
        os.close(self._reading)
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def run(command: Sequence[str], text: str = "", seconds: float = SECONDS) -> str:
    """Run *command* to its end; return what it said, raise LvsNatError where it fails."""
    deadline = time.monotonic() + seconds
    with Child(command, text) as child:
        poll = select.poll()
        poll.register(child, select.POLLIN)
        while not child.ended():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LvsNatError(f"{' '.join(command)}: no end within {seconds:g} s")
            poll.poll(left * 1000)
        return child.result()
