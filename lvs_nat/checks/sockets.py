"""Sockets that ask real servers are made: towards an endpoint, from where the check says."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from lvs_nat.core.setup import Target

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ABORT = struct.pack("ii", 1, 0)  # struct linger: closing sends a reset
# The acknowledgement of a SYN-ACK is put off (tcp(7)): what is sent next overtakes it.
LATE_ACK = (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
# linux/in.h: binding chooses an address and leaves the port to connect(), so that thousands
# of probes from one address share its ports (since Linux 4.2).
IP_BIND_ADDRESS_NO_PORT = 24


# Read as names of this module: what is asked thousands of times a second looks nothing up twice.
SocketType = socket.SocketType
STREAM = socket.SOCK_STREAM
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_UNDER_WAY = (0, errno.EINPROGRESS)


class Where(NamedTuple):
    """Whom to ask and from where, as the socket calls take it; None and b"" for anywhere."""

    family: int
    place: tuple[str, int]
    source: tuple[str, int] | None = None
    interface: bytes = b""


def where(target: Target) -> Where:
    """Return whom `make` is to ask for *target*."""
    endpoint, way = target.endpoint, target.check.way
    return Where(
        FAMILIES[endpoint.address.version],
        (str(endpoint.address), endpoint.port),
        (str(way.source), 0) if way.source else None,
        way.interface.encode(),
    )


def make(towards: Where, kind: int = STREAM, protocol: int = 0) -> socket.SocketType:
    """Return a non-blocking socket that will ask from where it should; raise OSError if not.

    It is the type beneath socket.socket, which is made and closed in half the time.
    """
    family, _, source, interface = towards
    made = SocketType(family, kind | _FLAGS, protocol)
    if source or interface:
        try:
            _direct(made, towards)
        except OSError:
            made.close()
            raise
    return made


def _direct(made: socket.SocketType, towards: Where) -> None:
    if towards.interface:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, towards.interface + b"\0")
    if towards.source:
        made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind(towards.source)


def connect(asking: socket.SocketType, place: tuple[str, int]) -> None:
    """Begin to connect; raise OSError, the socket closed, where that has failed at once."""
    number = asking.connect_ex(place)
    if number not in _UNDER_WAY:
        asking.close()
        raise OSError(number, os.strerror(number))


def datagram(towards: Where, data: bytes) -> socket.SocketType:
    """Send *data* and return the socket that its answers come to; raise OSError if it cannot.

    It is connected: what anybody else sends never arrives, ICMP errors do.
    """
    asking = make(towards, socket.SOCK_DGRAM)
    try:
        asking.connect(towards.place)
        asking.send(data)
    except OSError:
        asking.close()
        raise
    return asking
