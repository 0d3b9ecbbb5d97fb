"""Can a connection to the real server be kept open?  Its end asks the server again at once.

The question is a whole handshake; between questions one more connection is kept, on which
nothing is said.  Its end proves nothing: many servers hang up on clients who say nothing, so
the next answer decides.
"""

from __future__ import annotations

import socket

from lvs_nat.checks import connect, sockets, tcp
from lvs_nat.checks.kind import Kind
from lvs_nat.core.setup import Target

# A greeting is read and dropped; who says more than this many bytes is not listened to.
GREETING = 4096
# A connection that ends before the server has passed this many times again was a short one.
SHORT = 5
# After short ones this many passes, twice as many each time up to the last, are let go by
# before the next is opened: a server that hangs up at once is not asked twice as often.
PATIENCE = (0, 1, 2, 4, 8, 16, 32, 64)
# Seconds of silence until the kernel makes sure that the other side still knows of the
# connection (tcp(7)): a server that was switched off and on again sent no word.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class Held:
    """The connection that is kept between questions, from the first pass on."""

    def __init__(self, asked: connect.Handshake) -> None:
        self._towards = asked.towards
        self._connection: socket.SocketType | None = None
        self._passes = 0
        self._said = 0
        self._shorts = 0
        self._rest = 0

    def fileno(self) -> int:
        return self._connection.fileno() if self._connection else -1

    def stirred(self) -> bool:
        """Read what has come; say whether the connection has ended."""
        assert self._connection is not None
        try:
            said = len(self._connection.recv(GREETING))
        except BlockingIOError:
            return False
        except OSError:
            said = 0
        self._said += said
        if said and self._said <= GREETING:
            return False
        self._ended()
        return True

    def passed(self) -> None:
        """Open the connection, unless it is open or was short too often."""
        if self._connection:
            self._passes += 1
        elif self._rest:
            self._rest -= 1
        else:
            self._open()

    def close(self) -> None:
        """Hang up, and hold nothing any more."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self._passes = self._said = 0
        try:
            connection = sockets.make(self._towards)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
            sockets.connect(connection, self._towards.place)
        except OSError:
            self._ended()  # the server is asked all the same
        else:
            self._connection = connection

    def _ended(self) -> None:
        self.close()
        short = self._passes < SHORT
        self._shorts = min(self._shorts + 1, len(PATIENCE) - 1) if short else 0
        self._rest = PATIENCE[self._shorts]


def prepare(target: Target) -> connect.Handshake:
    """Return what `start` is to be called with for *target*."""
    return connect.Handshake(sockets.where(target))


KIND = Kind(prepare, connect.start, tcp.proceed, sentinel=Held)
