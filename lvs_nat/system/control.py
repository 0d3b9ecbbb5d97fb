"""The control socket: one JSON request a connection, one JSON answer, and who asked."""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from lvs_nat.errors import LvsNatError, NotRunning

REQUEST_LIMIT = 64 * 1024
ANSWER_LIMIT = 64 * 1024 * 1024
# As many connections may wait to be accepted; connecting waits while there are more.
BACKLOG = 128
PEER = struct.Struct("3i")  # struct ucred, unix(7)
SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no name for it
# Python asks the kernel for no more than 1,024 bytes: of a user in more groups the first alone
# counts.
GROUPS = 256
TIMEVAL = struct.Struct("ll")  # struct timeval, socket(7)


class Conversation:
    """One client: its request comes in, its answer goes out, nothing blocks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._heard = b""
        self._to_say = b""
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def uid(self) -> int:
        """The user who opened the connection, as the kernel knows it (SO_PEERCRED)."""
        return self._peer()[1]

    @property
    def gids(self) -> frozenset[int]:
        """All groups of that user, as the kernel knew them then."""
        first = self._peer()[2]
        try:
            others = self._socket.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * GROUPS)
        except OSError:  # Linux before 4.13, or there are more
            return frozenset((first,))
        return frozenset((first, *memoryview(others).cast("I")))

    def _peer(self) -> tuple[int, int, int]:
        """Return the pid, the user and the group of who opened the connection."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
        pid, uid, gid = PEER.unpack(raw)
        return pid, uid, gid

    def hear(self) -> dict[str, Any] | None:
        """Return the request once it is whole; None while it is not.

        Raises ValueError where what comes is not a request; at the client's end `closed` is
        set.
        """
        try:
            piece = self._socket.recv(REQUEST_LIMIT)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        if not piece:
            self.closed = True
            return None
        self._heard += piece
        if len(self._heard) > REQUEST_LIMIT:
            raise ValueError("the request is longer than 64 KiB")
        if b"\n" not in self._heard:
            return None
        request = _load(self._heard.partition(b"\n")[0])
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            raise ValueError("a request is one JSON object with a verb")
        return request

    def say(self, answer: bytes) -> None:
        """Queue what `spell` has made of an answer; `flush` sends it."""
        self._to_say = answer

    def flush(self) -> bool:
        """Send what the socket takes; return True once all is sent or nobody listens."""
        try:
            self._to_say = self._to_say[self._socket.send(self._to_say) :]
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not self._to_say

    def close(self) -> None:
        self.closed = True
        self._socket.close()


class Control:
    """The listening end.  A socket file that a crash left behind is replaced.

    *listening* is the socket where there is one already, of another image of this process.
    """

    def __init__(self, path: Path, listening: int | None = None) -> None:
        self.path = path
        if listening is not None:
            self._socket = socket.socket(fileno=listening)
            self._socket.setblocking(False)
            self._socket.set_inheritable(False)
            return
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        # Anybody may ask; peer credentials decide what is answered.
        path.chmod(0o666)
        self._socket.listen(BACKLOG)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Conversation | None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return None
        return Conversation(connection)

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def spell(words: dict[str, Any]) -> bytes:
    """Return a request or an answer as it is sent."""
    return json.dumps(words).encode() + b"\n"


def ask(path: Path, verb: str, timeout: float = 5.0, **more: Any) -> dict[str, Any]:
    """Ask the director at *path*; return its answer.

    Raises NotRunning if nobody listens, TimeoutError if no answer comes in *timeout* seconds,
    LvsNatError with the director's words and exit code if it refuses.
    """
    try:
        heard = _exchange(path, spell({"verb": verb, **more}), timeout)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning("lvs-nat is not running") from error
    except (BlockingIOError, socket.timeout) as error:
        raise TimeoutError(f"no answer within {timeout:g} s; see the director's log") from error
    if not heard.endswith(b"\n"):
        raise LvsNatError("the director broke off before its answer was whole; see its log")
    try:
        answer = _load(heard)
    except ValueError as error:
        raise LvsNatError(f"the director's answer cannot be read: {error}") from error
    if not isinstance(answer, dict):
        raise LvsNatError("the director's answer is not one of this version; restart it")
    if "error" in answer:
        refusal = LvsNatError(str(answer["error"]))
        refusal.exit_code = int(answer.get("exit_code", 1))
        raise refusal
    return answer


def _exchange(path: Path, request: bytes, timeout: float) -> bytes:
    """Return what comes back for *request* until a line's end, or until the other end is shut."""
    heard = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        # Where many wait already a connect that may not block fails at once, whatever its time.
        limit = TIMEVAL.pack(int(timeout), int(timeout % 1 * 1_000_000))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        client.connect(os.fspath(path))
        client.settimeout(timeout)
        # A client that is turned away is answered before it has asked.
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(request)
        with suppress(ConnectionResetError):
            while not heard.endswith(b"\n") and len(heard) < ANSWER_LIMIT:
                piece = client.recv(1 << 20)
                if not piece:
                    break
                heard += piece
    return bytes(heard)


def _load(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
