"""Does the real server accept a TCP connection?  Asked with the whole handshake."""

from __future__ import annotations

import socket
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Kind
from lvs_nat.checks.tcp import proceed
from lvs_nat.core.questions import Connect
from lvs_nat.core.setup import Target


class Handshake(NamedTuple):
    """Whom to ask, and whether the connection is ended by a reset."""

    towards: sockets.Where
    reset: bool = False


def prepare(target: Target) -> Handshake:
    """Return what `start` is to be called with for *target*."""
    question = target.check.question
    assert isinstance(question, Connect)
    return Handshake(sockets.where(target), question.reset)


def start(asked: Handshake) -> socket.SocketType:
    """Begin to connect; the socket becomes writable when the handshake is through.

    A reset leaves nothing behind on either side; what ends by FIN waits a minute here for
    stray packets (TIME_WAIT), but no server takes it for an attack or an error.
    """
    asking = sockets.make(asked.towards)
    if asked.reset:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockets.ABORT)
    sockets.connect(asking, asked.towards.place)
    return asking


KIND = Kind(prepare, start, proceed)
