"""Does the real server accept a TCP connection?  Asked half-open: it never sees one."""

from __future__ import annotations

import errno
import os
import socket
import struct

from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.model import Endpoint

# Our own shortage or fault says nothing about the server.
OURS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL,
        errno.EACCES, errno.EPERM, errno.ENETDOWN, errno.EAGAIN, errno.EAFNOSUPPORT,
        errno.EINVAL,
    }
)  # fmt: skip
ABORT = struct.pack("ii", 1, 0)  # struct linger: close sends a reset
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def begin(endpoint: Endpoint) -> socket.socket:
    """Send the first packet; the socket becomes writable when the answer is there.

    The handshake's last packet is put off (TCP_QUICKACK, tcp(7)) and the reset that closing
    sends comes first, so the server's application never learns of the connection.  Raises
    OSError where no packet could be sent.
    """
    family = FAMILIES[endpoint.address.version]
    asking = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        number = asking.connect_ex((str(endpoint.address), endpoint.port))
        if number not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise OSError(number, os.strerror(number))
    except OSError:
        asking.close()
        raise
    return asking


def finish(asking: socket.socket, latency: float) -> Verdict:
    """Return what the answer says, and close."""
    number = asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    asking.close()
    if number == 0:
        return Verdict(Outcome.PASS, "connected", latency)
    return judge(number, latency)


def unasked(number: int) -> Verdict:
    """Return the verdict where no packet could be sent: without a route that is our fault."""
    if number == errno.ENETUNREACH:
        return Verdict(Outcome.UNKNOWN, "this director has no route to it")
    return judge(number)


def judge(number: int, latency: float = 0.0) -> Verdict:
    """Return the verdict that an errno stands for.

    An unreachable host or network is the server's silence with a reason: whether a router
    told us or the address could not be resolved on the wire, clients fare the same.
    """
    words = os.strerror(number).lower()
    if number == errno.ECONNREFUSED:
        return Verdict(Outcome.REFUSED, words, latency)
    if number in OURS:
        return Verdict(Outcome.UNKNOWN, f"this director could not ask: {words}", latency)
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN):
        return Verdict(Outcome.SILENT, words, latency)
    return Verdict(Outcome.FAIL, words, latency)
