"""Files are read within bounds; they are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from lvs_nat.errors import ConfigError, Problem

# 100 times the rules of the largest director we know of.
LIMIT = 16 * 1024 * 1024
WORDS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "cannot be read by this user; run as root",
    errno.EPERM: "cannot be read by this user; run as root",
    errno.EISDIR: "is a directory; name a file",
    errno.ENOTDIR: "lies below something that is not a directory",
    errno.ESPIPE: "is a pipe; name a file",
    errno.ELOOP: "is a symbolic link that leads in a circle",
}


def read_text(path: Path, limit: int = LIMIT) -> str:
    """Return the text of a file of at most *limit* bytes; ConfigError says why it is none."""
    return text_of(read_bytes(path, limit + 1), path, limit)


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Return what a file holds, or the first bytes of it; ConfigError says why it is no file."""
    try:
        return _read(path, most)
    except OSError as error:
        what = WORDS.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ConfigError([Problem(str(path), 0, what)]) from error


def text_of(data: bytes, path: Path, limit: int = LIMIT) -> str:
    """Return the text that *data* is, of a file with that name; ConfigError says why it is none."""
    if len(data) > limit:
        what = f"is larger than {limit >> 20} MiB; this is not a file of ours"
        raise ConfigError([Problem(str(path), 0, what)])
    return _decode(data, path)


def _read(path: Path, most: int) -> bytes:
    # O_NONBLOCK: a FIFO without a writer must not hold the director up.
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(number, "rb") as file:
        kind = os.fstat(number).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISFIFO(kind):  # what it has to say now may be half of it
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))
        return file.read(most) or b""


def open_to_all(path: Path) -> bool:
    """Say whether everybody may pass all folders above *path*."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def boot_id(root: Path = Path("/proc/sys")) -> str:
    """Return the name of this boot, or nothing where the kernel gives none."""
    try:
        return (root / "kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _decode(data: bytes, path: Path) -> str:
    try:
        text = data.decode()
        where, what = data.find(b"\0"), "a NUL byte; this is not a text"
    except UnicodeDecodeError as error:
        where, what = error.start, "a byte that is not UTF-8; save the file as UTF-8 text"
    if where < 0:
        return text
    line = data.count(b"\n", 0, where) + 1
    raise ConfigError([Problem(str(path), line, f"there is {what}")])


def write_atomic(path: Path, text: str | bytes, mode: int | None = None) -> None:
    """Replace a file so that a reader, or a crash, meets the old text or the new one whole.

    *mode* None keeps mode and owner of the present file (0644 for a new one).  A symbolic link
    stays; what it leads to is replaced.  Raises OSError and leaves nothing behind.
    """
    target = Path(os.path.realpath(path))
    name = target.parent / f".{target.name}.{os.urandom(6).hex()}"
    # 0600 until it is dressed: what the old file hid, its successor never shows.
    number = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(number, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            _dress(number, target, mode)
            file.flush()
            os.fsync(number)
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    _settle(target.parent)


def _dress(number: int, target: Path, mode: int | None) -> None:
    with suppress(FileNotFoundError):
        present = target.stat()
        if (present.st_uid, present.st_gid) != (os.geteuid(), os.getegid()):
            # Where the owner cannot be kept, the file becomes the writer's.
            with suppress(PermissionError):
                os.fchown(number, present.st_uid, present.st_gid)
        mode = stat.S_IMODE(present.st_mode) if mode is None else mode
    os.fchmod(number, 0o644 if mode is None else mode)


def _settle(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
