"""A real server's HTTP server: says its name at once, slowly, or bit by bit.

python web.py NAME PORT MOOD_FILE; prints a line when it listens.

/                         NAME host!
/stream?seconds=N&pace=S  the same line every S seconds (by default 0.1) for N seconds

The file holds the seconds by which every answer is late, and behind them, if it is to be another
than 200, the status of every answer.  It may be changed at any time.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

PACE = 0.1  # seconds between two lines of a stream


class Answer(NamedTuple):
    """What is said in pieces, and the seconds between two of them."""

    pieces: Iterator[bytes]
    pace: float


class Web:
    """Serves one port from one thread: nothing waits but in the selector."""

    def __init__(self, name: str, port: int, mood: Path) -> None:
        self._line = f"{name} host!\n".encode()
        self._mood = mood
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, socket.socket, Answer]] = []
        self._turn = 0  # breaks ties in the heap
        self._listener = _listener(port)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            wait = max(0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, client, answer = heapq.heappop(self._due)
                self._say(client, answer)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                self._selector.register(client, selectors.EVENT_READ)

    def _hear(self, client: socket.socket) -> None:
        """Take a request; all of it is in one packet, as a GET without a body is."""
        self._selector.unregister(client)
        try:
            request = client.recv(65536).decode("latin-1").split()
        except ConnectionError:
            request = []
        if len(request) < 2:
            client.close()
            return
        delay, *status = self._mood.read_text().split()
        answer = self._answer(request[1], HTTPStatus(int(status[0])) if status else HTTPStatus.OK)
        self._later(float(delay), client, answer)

    def _answer(self, target: str, status: HTTPStatus) -> Answer:
        url = urlsplit(target)
        asked = dict(parse_qsl(url.query))
        pace, seconds = float(asked.get("pace", PACE)), float(asked.get("seconds", 0))
        lines = max(1, round(seconds / pace)) if url.path == "/stream" else 1
        return Answer(self._pieces(lines, status), pace)

    def _pieces(self, lines: int, status: HTTPStatus) -> Iterator[bytes]:
        """Give what is sent apart."""
        yield (
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n"
            % (status, status.phrase.encode(), lines * len(self._line))
        ) + self._line
        for _ in range(lines - 1):
            yield self._line

    def _say(self, client: socket.socket, answer: Answer) -> None:
        piece = next(answer.pieces, None)
        try:
            if piece is not None:
                client.sendall(piece)
        except OSError:  # the client has gone
            piece = None
        if piece is None:
            client.close()
        else:
            self._later(answer.pace if b"\r\n" not in piece else 0, client, answer)

    def _later(self, seconds: float, client: socket.socket, answer: Answer) -> None:
        self._turn += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._turn, client, answer))


def _listener(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        family = socket.AF_INET6
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=1024)


if __name__ == "__main__":
    web = Web(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    print("ready", flush=True)
    web.serve()
