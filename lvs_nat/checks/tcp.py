"""Does the real server accept a TCP connection?  Asked half-open: its application sees none."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct

from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target

Answer = tuple[Outcome, str]

CONNECTED: Answer = (Outcome.PASS, "connected")
# Our own shortage or fault: it says nothing about the server.  EPERM is a packet filter on
# this machine's own way out, EACCES a route of type "prohibit".
OURS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL,
        errno.EADDRINUSE, errno.EACCES, errno.EPERM, errno.ENETDOWN, errno.EAGAIN, errno.EINTR,
        errno.EAFNOSUPPORT, errno.EINVAL,
    }
)  # fmt: skip
# Nobody there: a router said so, or nobody on the wire has the address.
SILENCE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT})
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ABORT = struct.pack("ii", 1, 0)  # struct linger: closing sends a reset


def address(target: Target) -> tuple[int, tuple[str, int]]:
    """Return where `start` is to connect: the address family and the socket address."""
    endpoint = target.endpoint
    return FAMILIES[endpoint.address.version], (str(endpoint.address), endpoint.port)


def start(where: tuple[int, tuple[str, int]]) -> socket.SocketType:
    """Send the SYN and return the socket that becomes writable when it is answered.

    The handshake's last packet is put off (TCP_QUICKACK, tcp(7)) and the reset that closing
    sends overtakes it, so accept() never returns for this connection.  Raises OSError where
    the answer, or the reason why none can come, is there at once.
    """
    family, place = where
    # The type beneath socket.socket: it makes and closes sockets in half the time.
    asking = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        number = asking.connect_ex(place)
    except OSError:
        asking.close()
        raise
    if number and number != errno.EINPROGRESS:
        asking.close()
        raise OSError(number, os.strerror(number))
    return asking


def proceed(asking: socket.SocketType, events: int) -> Answer | None:
    """Return what the answer says, or None if there is none yet."""
    if events & select.EPOLLERR:
        number = asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return judge(number) if number else CONNECTED
    return CONNECTED if events & select.EPOLLOUT else None


def unasked(number: int) -> Answer:
    """Return what it means that `start` failed with this errno.

    Without a route no packet has left: our own link is down or our routes are wrong, and to
    throw servers out for that would only break the connections that outlive it.
    """
    if number == errno.ENETUNREACH:
        return Outcome.UNKNOWN, "this director has no route to it"
    return judge(number)


def judge(number: int) -> Answer:
    """Return what an errno that ended the attempt says about the server."""
    words = os.strerror(number).lower()
    if number == errno.ECONNREFUSED:
        return Outcome.REFUSED, words
    if number in OURS:
        return Outcome.UNKNOWN, f"this director could not ask: {words}"
    return Outcome.SILENT if number in SILENCE else Outcome.FAIL, words
