"""A director claims the table of its network namespace, so that a second one knows of it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from contextlib import suppress

from lvs_nat.errors import LvsNatError

# An abstract name: the kernel has one of each in every network namespace, and frees it by itself.
NAME = "\0lvs-nat/director"
# A second director hangs up at once; who does not is turned away.
WAITING = 16


class Claimed(LvsNatError):
    """Another director is there; pid is 0 where it is not in our namespace of processes."""

    def __init__(self, pid: int) -> None:
        super().__init__("another director has this network's table")
        self.pid = pid


class Claim:
    """The name, as long as this process has it.

    Raises Claimed where one of *trusted* has it, who is another director, and OSError where
    it is not to be had for another reason: any user could take it.
    """

    def __init__(self, name: str = NAME, trusted: Collection[int] | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(name)
            self._socket.listen(WAITING)
        except OSError:
            self._socket.close()
            pid, uid = _holder(name)
            if uid in ({0, os.geteuid()} if trusted is None else trusted):
                raise Claimed(pid) from None
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def turn_away(self) -> None:
        """Let whoever has come know no more than that we are here."""
        with suppress(OSError):
            self._socket.accept()[0].close()

    def close(self) -> None:
        self._socket.close()


def _holder(name: str) -> tuple[int, int]:
    """Return the pid and the user of who has *name*; the user is -1 if that cannot be seen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(name)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0, -1
    pid, uid, _ = struct.unpack("3i", told)
    return pid, uid
