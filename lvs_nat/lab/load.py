"""A client that sends HTTP requests at a steady rate, however slowly they are answered.

python load.py URL RATE COUNT TIMEOUT; prints a JSON line as each request ends.
SIGTERM ends it when the requests under way have ended.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """How one request went: *start* in monotonic seconds, *latency* in seconds until its end.

    *error* is empty if the whole answer came with status 200, and then *body* is its text.
    """

    start: float
    latency: float
    body: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the client got what it asked for."""
        return not self.error


class Exchange:
    """One request under way on a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        path = parts.path or "/"
        query = f"?{parts.query}" if parts.query else ""
        self.start = time.monotonic()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.setblocking(False)
        self._question = (
            f"GET {path}{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        ).encode()
        self._answer = b""
        self.socket.connect_ex((host, port))  # its outcome is read when the socket is ready

    def advance(self) -> Request | None:
        """Do what the ready socket allows; return the record if that was the last of it."""
        try:
            if self._question:
                refused = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if refused:
                    return self.ended(os.strerror(refused))
                self.socket.sendall(self._question)
                self._question = b""
                return None
            data = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            return self.ended(os.strerror(error.errno or 0))
        self._answer += data
        return None if data else self._judged()

    def ended(self, error: str, body: str = "") -> Request:
        """Return the record of this exchange, which is over."""
        self.socket.close()
        return Request(self.start, time.monotonic() - self.start, body, error)

    @property
    def asking(self) -> bool:
        """Whether the question has still to be sent."""
        return bool(self._question)

    def _judged(self) -> Request:
        head, _, body = self._answer.partition(b"\r\n\r\n")
        words = head.split()
        if b"Content-Length:" in words:
            expected = int(words[words.index(b"Content-Length:") + 1])
        else:
            expected = len(body)
        if words[1:2] != [b"200"]:
            return self.ended(f"answered {words[1:2]}")
        if len(body) != expected:
            return self.ended(f"cut off after {len(body)} of {expected} bytes")
        return self.ended("", body.decode())


class Load:
    """Starts an exchange whenever it is time; writes each record as it comes."""

    def __init__(self, url: str, rate: float, count: int, timeout: float) -> None:
        self._url = url
        self._starts = [number / rate for number in range(count)][::-1]
        self._timeout = timeout
        self._selector = selectors.DefaultSelector()
        self._open: dict[Exchange, float] = {}  # oldest first, with the time it is given up

    def run(self) -> None:
        """Send all requests; return when the last has ended."""
        signal.signal(signal.SIGTERM, lambda *_: self._starts.clear())
        begun = time.monotonic()
        while self._starts or self._open:
            now = time.monotonic()
            while self._starts and begun + self._starts[-1] <= now:
                self._starts.pop()
                self._begin()
            self._give_up(now)
            self._wait(begun)

    def _begin(self) -> None:
        exchange = Exchange(self._url)
        self._open[exchange] = exchange.start + self._timeout
        self._selector.register(exchange.socket, selectors.EVENT_WRITE, exchange)

    def _give_up(self, now: float) -> None:
        for exchange in [exchange for exchange, end in self._open.items() if end <= now]:
            self._selector.unregister(exchange.socket)
            self._end(exchange, exchange.ended("timed out"))

    def _wait(self, begun: float) -> None:
        events = [begun + start for start in self._starts[-1:]]
        events += [min(self._open.values())] if self._open else []
        if not events:
            return
        for key, _ in self._selector.select(max(0, min(events) - time.monotonic())):
            exchange: Exchange = key.data
            record = exchange.advance()
            if record:
                self._selector.unregister(key.fileobj)
                self._end(exchange, record)
            elif not exchange.asking:
                self._selector.modify(exchange.socket, selectors.EVENT_READ, exchange)

    def _end(self, exchange: Exchange, record: Request) -> None:
        del self._open[exchange]
        print(json.dumps(asdict(record)), flush=True)


if __name__ == "__main__":
    Load(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])).run()
