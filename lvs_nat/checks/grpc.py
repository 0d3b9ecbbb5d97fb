"""Does gRPC's health protocol say that a service is serving?

HTTP/2 is spoken by h2, a library without sockets.  The two messages of grpc.health.v1 have one
field each, and are made and read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from lvs_nat.checks import sockets, stream
from lvs_nat.checks.effort import TooSlow, read
from lvs_nat.checks.kind import Answer, shown
from lvs_nat.checks.stream import MUTE, End, Heard, Line
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Grpc
from lvs_nat.core.setup import Target

# An answer has some hundred bytes; every small frame costs h2 some microseconds.
MOST = 1 << 14
# grpc.health.v1.HealthCheckResponse.ServingStatus
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
# https://grpc.github.io/grpc/core/md_doc_statuscodes.html: those that say something here.
_CODES = {
    b"4": "deadline exceeded",
    b"5": "no such service",
    b"7": "permission denied",
    b"8": "resource exhausted",
    b"12": "no health service",
    b"14": "unavailable",
    b"16": "unauthenticated",
}
_STREAM = 1  # the first that a client opens (RFC 9113, 5.1.1)


class Asked(NamedTuple):
    """A request: its fields and its message."""

    fields: tuple[tuple[str, str], ...]
    message: bytes


def prepare(target: Target) -> Line:
    """Return the line on which *target* is asked."""
    question = target.check.question
    assert isinstance(question, Grpc)
    tls = question.tls
    authority = (tls.server_name if tls else "") or str(target.endpoint)
    fields = {
        ":method": "POST",
        ":scheme": "https" if tls else "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "lvs-nat",
        "grpc-timeout": f"{target.check.timeout * 1000:.0f}m",
    }
    asked = Asked(tuple(fields.items()), _request(question.service))
    try:
        Call(asked)  # said now, not by every probe
    except ProtocolError as error:
        raise ValueError(f"no request of HTTP/2: {error}") from error
    begin = partial(Call, asked)
    where = sockets.where(target)
    if tls is None:
        return Line(where, begin)
    from lvs_nat.checks import secure  # the daemon is lean where nothing is asked inside TLS

    return Line(where, *secure.inside(replace(tls, alpn=tls.alpn or "h2"), begin))


def _request(service: str) -> bytes:
    """Return a HealthCheckRequest as one message of gRPC, which is not compressed."""
    name = service.encode()
    content = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(content).to_bytes(4, "big") + content


def _varint(number: int) -> bytes:
    return (
        bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + _varint(number >> 7)
    )


def state(message: bytes) -> int:
    """Return the status of a HealthCheckResponse in one message of gRPC; raise ValueError."""
    if len(message) < 5 or message[0] or int.from_bytes(message[1:5], "big") != len(message) - 5:
        raise ValueError("no message")
    content, place, status = message[5:], 0, 0
    while place < len(content):
        key, place = _read(content, place)
        if key == 0x08:  # field 1, a number
            status, place = _read(content, place)
        elif key & 7 == 0:  # fields of times to come
            _, place = _read(content, place)
        elif key & 7 == 2:
            length, place = _read(content, place)
            place += length
        else:
            raise ValueError("no field")
    return status


def _read(data: bytes, place: int) -> tuple[int, int]:
    """Return the varint at *place*, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        number |= (data[place] & 0x7F) << shift
        place += 1
        if data[place - 1] < 0x80:
            return number, place
    raise ValueError("no number")


class Call:
    """The dialogue: one request, and whatever HTTP/2 wants said beside it."""

    __slots__ = ("_fields", "_heard", "_http", "_message", "outgoing")

    def __init__(self, asked: Asked) -> None:
        self._fields: dict[bytes, bytes] = {}
        self._message = b""
        self._heard = 0
        self._http = H2Connection(H2Configuration(header_encoding=None))
        self._http.initiate_connection()
        self._http.send_headers(_STREAM, asked.fields)
        self._http.send_data(_STREAM, asked.message, end_stream=True)
        self.outgoing: bytes = self._http.data_to_send()

    def hear(self, data: bytes) -> Heard:
        # The first that a server says is a frame of type SETTINGS (RFC 9113, 3.4).
        if not self._heard and data[3:4] not in (b"", b"\x04"):
            return _failed(f"speaks no HTTP/2: {shown(data)}")
        self._heard += len(data)
        if self._heard > MOST:
            return _failed(f"no more is read after {MOST} bytes")
        try:
            answer = self._take(read(self._http.receive_data, data))
        except TooSlow:
            raise
        except Exception as error:  # whatever its bytes do to the library is the server's fault
            return _failed(f"HTTP/2: {error}")
        if answer:
            self._http.close_connection()
        self.outgoing += self._http.data_to_send()
        return answer

    def end(self, why: End) -> Answer | None:
        if why is End.BROKEN:
            return None
        if why is End.LATE and not self._heard:
            return MUTE
        return _failed(f"{why.value} before the answer was complete")

    def _take(self, events: Iterable[Event]) -> Answer | None:
        for event in events:
            if isinstance(event, (ResponseReceived, TrailersReceived)):
                self._fields.update(event.headers)
            elif isinstance(event, DataReceived):
                self._message += event.data
            elif isinstance(event, StreamEnded):
                return self._judge()
            elif isinstance(event, StreamReset):
                return _failed(f"HTTP/2 stream reset with error {_number(event.error_code)}")
            elif isinstance(event, ConnectionTerminated):
                return _failed(f"HTTP/2 connection ended with error {_number(event.error_code)}")
        return None

    def _judge(self) -> Answer:
        status, code = (self._fields.get(name, b"") for name in (b":status", b"grpc-status"))
        if status != b"200":
            return _failed(f"status {shown(status)}")
        if code != b"0":
            return _failed(f"gRPC status {shown(code)}: {_CODES.get(code, 'an error')}")
        try:
            found = state(self._message)
        except ValueError:
            return _failed(f"no answer of the health protocol: {shown(self._message)}")
        word = _STATES[found] if found < len(_STATES) else f"status {found}"
        return Answer(Outcome.PASS if word == "SERVING" else Outcome.FAIL, word)


def _number(code: int | None) -> str:
    return "unknown" if code is None else f"{code:d}"


def _failed(words: str) -> Answer:
    return Answer(Outcome.FAIL, words)


KIND = stream.kind(prepare)
