"""It is decided whether a program may be run: nobody but its owner can have changed it."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection

# As many symbolic links as the kernel follows (path_resolution(7)).
LINKS = 40
OTHERS = stat.S_IWGRP | stat.S_IWOTH
ANYBODY = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
ROOT = frozenset({0})


def distrusted(path: str, owners: Collection[int]) -> str:
    """Return why the program at the absolute *path* is not to be run; "" if it may.

    It, every folder above it, and every link on the way must belong to one of *owners* and
    be closed to the writing of others; in a folder like /tmp, where nobody can replace the
    files of others (its sticky bit), they may write.
    """
    try:
        place, _ = _program(path, owners)
        _must_be_executable(path, os.access(place, os.X_OK))
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    except ValueError as error:
        return str(error)
    return ""


def hopeless(path: str, owners: Collection[int]) -> str:
    """Return why nobody at all may run it; "" if somebody may, or we may not look that far."""
    try:
        _, mode = _program(path, owners)
        _must_be_executable(path, mode & ANYBODY)
    except PermissionError:
        return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError as error:
        return str(error)
    return ""


def _program(path: str, owners: Collection[int]) -> tuple[str, int]:
    """Return where *path* leads, and its mode; raise ValueError if that is not to be run."""
    place = _walked(path, owners)
    mode = os.stat(place).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no program")
    return place, mode


def _must_be_executable(path: str, executable: int) -> None:
    if not executable:
        raise ValueError(f"{path} is not executable; chmod +x {path}")


def _walked(path: str, owners: Collection[int]) -> str:
    """Return where *path* leads, every step of which is beyond suspicion; raise ValueError."""
    place, left, links = "/", path.split("/")[::-1], 0
    _look_at("/", os.lstat("/"), owners)
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            place = os.path.dirname(place)
            continue
        step = os.path.join(place, part)
        found = os.lstat(step)
        _look_at(step, found, owners)
        if not stat.S_ISLNK(found.st_mode):
            place = step
            continue
        links += 1
        if links > LINKS:
            raise ValueError(f"{path} goes round in a circle of links")
        target = os.readlink(step)
        left += target.split("/")[::-1]
        if target.startswith("/"):
            place = "/"
    return place


def _look_at(step: str, found: os.stat_result, owners: Collection[int]) -> None:
    if found.st_uid not in owners:
        owner, wanted = _named(found.st_uid), _named(min(owners))
        raise ValueError(f"{step} belongs to {owner}, not {wanted}; chown {wanted} {step}")
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if not stat.S_ISLNK(found.st_mode) and found.st_mode & OTHERS and not sticky:
        raise ValueError(f"{step} can be changed by others than its owner; chmod go-w {step}")


def _named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
