"""Changes of folders are told by the kernel (inotify(7)), which Python has no module for."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

# sys/inotify.h: what makes a file in a folder say something else, and the end of the folder.
CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x008, 0x040, 0x080
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
ATTRIB, ONLYDIR = 0x004, 0x01000000
CHANGES = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | ATTRIB
ENDS = DELETE_SELF | MOVE_SELF
OVERFLOW, IGNORED = 0x4000, 0x8000

_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name behind it
_MOST = 65536


class Inotify:
    """Tells what changes in the folders that are watched."""

    def __init__(self) -> None:
        """Raise OSError where the kernel gives this user no more of these."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._called("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        # One watch has several names where links lead to the same folder.
        self._folders: dict[int, set[str]] = {}

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def watch(self, folder: str) -> None:
        """Watch *folder* from now on; raise OSError where that cannot be."""
        mask = CHANGES | ENDS | ONLYDIR
        watch = self._called("inotify_add_watch", self._fd, os.fsencode(folder), mask)
        self._folders.setdefault(watch, set()).add(folder)

    def changes(self) -> Iterator[tuple[str, str]]:
        """Yield folder and name of what has changed.

        Without a name the folder is not watched any more; without a folder all may have changed.
        """
        try:
            data = os.read(self._fd, _MOST)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, place)
            place += _EVENT.size
            name = os.fsdecode(data[place : place + length].rstrip(b"\0"))
            place += length
            if mask & OVERFLOW:
                yield "", ""
            elif mask & (IGNORED | MOVE_SELF):
                # A folder that has moved would be watched where nobody looks.
                yield from ((folder, "") for folder in self._folders.pop(watch, ()))
                self._libc.inotify_rm_watch(self._fd, watch)
            else:
                yield from ((folder, name) for folder in self._folders.get(watch, ()))

    def _called(self, function: str, *arguments: object) -> int:
        result = getattr(self._libc, function)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return int(result)
