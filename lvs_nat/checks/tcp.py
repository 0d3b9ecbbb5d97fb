"""Does the real server accept a TCP connection?  Asked half-open: its application sees none."""

from __future__ import annotations

import select
import socket

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge
from lvs_nat.checks.sockets import connect, make
from lvs_nat.core.health import Outcome

CONNECTED = Answer(Outcome.PASS, "connected")
_ABORT = (socket.SOL_SOCKET, socket.SO_LINGER, sockets.ABORT)
_WRITABLE = select.EPOLLOUT


def start(towards: sockets.Where) -> socket.SocketType:
    """Send the SYN and return the socket that becomes writable when it is answered.

    The handshake's last packet is put off (TCP_QUICKACK, tcp(7)) and the reset that closing
    sends overtakes it, so accept() never returns for this connection.  Raises OSError where
    the answer, or the reason why none can come, is there at once.
    """
    asking = make(towards)
    asking.setsockopt(*_ABORT)
    asking.setsockopt(*sockets.LATE_ACK)
    connect(asking, towards.place)
    return asking


def proceed(asking: socket.SocketType, events: int) -> Answer | None:
    """Return what the answer says, or None if there is none yet."""
    if events == _WRITABLE:
        return CONNECTED
    if events & select.EPOLLERR:
        number = asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return judge(number) if number else CONNECTED
    return CONNECTED if events & select.EPOLLOUT else None


KIND = Kind(sockets.where, start, proceed)
