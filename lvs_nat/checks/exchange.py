"""Something is said once over a TCP connection, and what comes back is judged as it comes."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, judge

# Is called with all that has come, and whether that is all: what it returns ends the exchange.
Judge = Callable[[bytes, bool], "Answer | None"]


class Exchange:
    """A connection under way; whatever the other side does, no more than *most* bytes are read.

    What has come by then is taken for all there is, as it is when the other side hangs up.
    """

    __slots__ = ("_judge", "_left", "_most", "_received", "_socket", "events")

    def __init__(self, towards: sockets.Where, request: bytes, judge: Judge, most: int) -> None:
        self._judge = judge
        self._left = request
        self._most = most
        self._received = b""
        self._socket = sockets.make(towards)
        sockets.connect(self._socket, towards.place)
        self.events = select.EPOLLOUT

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def proceed(self, events: int) -> Answer | None:
        """Say and read what can be said and read now; return the answer once there is one."""
        try:
            return self._read() if self.events == select.EPOLLIN else self._say(events)
        except BlockingIOError:
            return None
        except OSError as error:
            return judge(error.errno or 0)

    def _say(self, events: int) -> Answer | None:
        if events & select.EPOLLERR:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return judge(number)
        if self._left:
            self._left = self._left[self._socket.send(self._left) :]
        if not self._left:
            self.events = select.EPOLLIN
        return None

    def _read(self) -> Answer | None:
        part = self._socket.recv(self._most - len(self._received))
        self._received += part
        return self._judge(self._received, not part or len(self._received) == self._most)
