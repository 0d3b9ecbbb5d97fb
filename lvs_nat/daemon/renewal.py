"""The spawner goes over to the program that is installed now, at the director's request."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence

from lvs_nat.daemon import handover
from lvs_nat.daemon.handover import Part
from lvs_nat.system.program import WORDS, Program

# What the installed program may take to be tried, in seconds.
PATIENCE = 20.0
_REQUEST = b"R"


def request(orders: socket.socket) -> socket.socket:
    """Have the spawner raise a prober of the installed program; return the line to it.

    The prober there is goes on, on the line that it has, until that is hung up.  The new one
    says HELLO; if there is to be none, the reason can be read from *orders*.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            socket.send_fds(orders, [_REQUEST], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    return ours


def obey(
    orders: socket.socket, program: Program, prober: int, beats: int, raw: Sequence[int]
) -> bool:
    """Read what the director wants, and become what it wants; say whether it has ended.

    Returns only where it has ended, or where the installed program cannot be used, of which
    it is told.  *prober* and its *beats* are left to the next image, and so are the *raw*
    sockets.
    """
    request, fds, _, _ = socket.recv_fds(orders, 1, 1)
    if not request:
        return True
    (line,) = fds
    try:
        words = _tried(program)
        if not words:
            told = {"line": line, "orders": orders.fileno(), "prober": prober, "beats": beats}
            environ = handover.environ(Part.SPAWNER, raw=list(raw), **told)
            program.become(environ, (line, orders.fileno(), beats, *raw))
    except OSError as error:
        words = str(error)
    orders.send(words.encode()[:WORDS])
    os.close(line)
    return False


def _tried(program: Program) -> str:
    """Return why the installed program cannot be used by this user, or nothing."""
    attempt = program.attempt(handover.environ(Part.TRIAL))
    deadline = time.monotonic() + PATIENCE
    while select.select([attempt], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if attempt.over():
            return attempt.close()
    attempt.close()
    return f"no end within {PATIENCE:g} s"
