"""A second director is refused, by a lock that ends with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from lvs_nat.errors import AlreadyRunning, LvsNatError

FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
# Whoever asks for the holder has the lock for microseconds; a director has it for good.
TRIES = 5
PAUSE = 0.02


class PidFile:
    """A lock that lasts as long as its holder, however that one ends, and the pid to signal.

    The lock is the kernel's, not the file's existence, so a crash leaves nothing to clean up.
    It is on a file of its own beside the pid file, which nobody else may open: whoever can
    read a file can lock it.  It outlives detaching if the daemon keeps `fileno()` open, and
    every child that keeps it open keeps the lock.  Entering it once more, as DaemonContext
    does after detaching, only writes the pid anew.  Raises AlreadyRunning.

    *number* is that descriptor where the lock is held already, by another image of this
    process.
    """

    def __init__(self, path: Path, number: int = -1) -> None:
        self._path = path
        self._number = number
        self._owner = 0

    def __enter__(self) -> PidFile:
        if self._number < 0:
            self._number = _lock(self._path)
        try:
            self.write()
        except OSError:
            os.close(self._number)
            self._number = -1
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._number < 0:
            return
        if self._owner == os.getpid():  # not in a child that left the story early
            with suppress(OSError):
                if _same(self._number, _beside(self._path)):
                    self._path.unlink(missing_ok=True)
                    _beside(self._path).unlink()
        os.close(self._number)
        self._number = -1

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        return self._number

    def write(self) -> None:
        """Record this process.  To be called again once detached, when the pid is final."""
        self._owner = os.getpid()
        number = os.open(self._path, os.O_WRONLY | os.O_CREAT | FLAGS, 0o644)
        try:
            os.fchmod(number, 0o644)  # whatever the umask: anybody may ask whether we run
            os.ftruncate(number, 0)
            os.pwrite(number, b"%d\n" % self._owner, 0)
        finally:
            os.close(number)


def holder(path: Path) -> int | None:
    """Return the pid of the director that holds the lock, or None if nobody does.

    A file that exists while nobody holds it was left by one that crashed.  Who may not open
    the lock is told of a process that the pid file names, if it is there.
    """
    for _ in range(TRIES):
        try:
            number = os.open(_beside(path), os.O_RDONLY | FLAGS)
        except FileNotFoundError:
            return None
        except PermissionError:
            return _alive(_pid(path))
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            text = _pid(path)
        finally:
            os.close(number)
        if text.isdigit() and int(text) > 0:
            return int(text)
        time.sleep(PAUSE)  # locked, and the pid not yet written
    raise LvsNatError(
        f"{_beside(path)} is locked, but {path} names no process; "
        f"see who has it open: fuser {_beside(path)}"
    )


def _alive(text: str) -> int | None:
    if not text.isdigit():
        return None
    with suppress(PermissionError):  # it is there, and another user's
        try:
            os.kill(int(text), 0)
        except (ProcessLookupError, OverflowError):
            return None
    return int(text)


def _lock(path: Path) -> int:
    for left in reversed(range(TRIES)):
        number = os.open(_beside(path), os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = _pid(path) or "(not yet known)"
            os.close(number)
            if not left:
                raise AlreadyRunning(f"lvs-nat is already running as pid {text}") from None
            time.sleep(PAUSE)
            continue
        except OSError:
            os.close(number)
            raise
        if _same(number, _beside(path)):
            return number
        # The last holder took the file away between our open and our lock.
        os.close(number)
    raise LvsNatError(f"{_beside(path)} is taken away again and again; is another director ending?")


def _beside(path: Path) -> Path:
    return path.with_suffix(".lock")


def _pid(path: Path) -> str:
    try:
        number = os.open(path, os.O_RDONLY | FLAGS)
    except FileNotFoundError:
        return ""
    try:
        return os.pread(number, 20, 0).decode("ascii", "replace").strip()
    finally:
        os.close(number)


def _same(number: int, path: Path) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(number), there)
