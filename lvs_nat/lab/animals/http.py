"""Web servers: a check asks for /, and expects a status of 200 to 299 and the text TEXT."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from lvs_nat.lab.animals.animal import (
    FAILS,
    MUTE,
    PASSES,
    REFUSES,
    SILENT,
    STALLS,
    Absent,
    Act,
    Animal,
    Conduct,
    Deed,
    Script,
    Stream,
    told,
)

TEXT = "I am well"
PAGE = b"I am well.\n"
END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked" + END
# A server that is slow but well answers after this many seconds.
SLOW = 0.5
# Between two packets, in seconds: what leaves apart arrives apart.
APART = 0.02
# A server without end says this many bytes at a time: it costs it little.
FLOOD = 1 << 16


def whole(body: bytes, length: str = "", first: bytes = OK) -> bytes:
    """Return an answer of *body*, whose length is said to be *length*."""
    return first + f"Content-Length: {length or len(body)}".encode() + END + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def flood(piece: bytes) -> bytes:
    return piece * (FLOOD // len(piece))


def asked(*deeds: Deed, over: Sequence[Deed] = ()) -> Conduct:
    """Return the conduct of a server that hears a request and then does as `told`."""

    def conduct() -> Script:
        heard = b""
        while END not in heard:
            heard += yield Act.HEAR
        yield from told(*deeds, over=over)()

    return conduct


def by_bits(data: bytes, size: int, rest: float) -> list[Deed]:
    """Return the deeds that say *data* in pieces of *size* bytes, *rest* seconds apart."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return [deed for piece in pieces for deed in (piece, rest)]


BAD_REQUEST = whole(b"This port speaks no TLS.\n", first=b"HTTP/1.1 400 Bad Request\r\n")
BOMB = whole(gzip.compress(bytes(1 << 24), mtime=0), first=OK + b"Content-Encoding: gzip\r\n")
LARGE = whole(PAGE + bytes(1 << 20))

WELL = {
    "well": asked(whole(PAGE)),
    "slow": asked(SLOW, whole(PAGE)),
    "by-bits": asked(*by_bits(whole(PAGE), 7, 0.01)),
    "chunked": asked(CHUNKED, *map(chunk, (PAGE[:4], PAGE[4:])), b"0" + END),
    "until-close": asked(b"HTTP/1.0 200 OK" + END, PAGE),
    # The end is where Content-Length says, whether or not the connection ends.
    "keep-alive": asked(whole(PAGE), Act.STAY),
    "continue": asked(b"HTTP/1.1 100 Continue" + END, APART, whole(PAGE)),
    "large": asked(LARGE),
}
ILL = {
    "error": (FAILS, asked(whole(PAGE, first=b"HTTP/1.1 500 Internal Server Error\r\n"))),
    "overloaded": (FAILS, asked(whole(PAGE, first=b"HTTP/1.1 503 Service Unavailable\r\n"))),
    "other-page": (FAILS, asked(whole(b"Index of /\n"))),
    "redirect-to-itself": (
        FAILS,
        asked(whole(b"", first=b"HTTP/1.1 302 Found\r\nLocation: /\r\n")),
    ),
    # Those that never come to an end
    "mute": (MUTE, told(Act.STAY)),
    "drip": (STALLS, asked(*by_bits(b"HTTP/1.1 200 OK\r\nX: ", 1, 1.0), over=(b"x", 1.0))),
    "drip-body": (STALLS, asked(whole(b"", "100000"), over=(b"x", 1.0))),
    "endless-headers": (STALLS, asked(OK, over=(flood(b"X-Header: of many\r\n"),))),
    "endless-header": (STALLS, asked(OK + b"X: ", over=(flood(b"x"),))),
    "endless-body": (STALLS, asked(OK + b"\r\n", over=(flood(b"x"),))),
    "endless-chunks": (STALLS, asked(CHUNKED, over=(flood(chunk(b"x")),))),
    "endless-continue": (STALLS, asked(over=(flood(b"HTTP/1.1 100 Continue" + END),))),
    # Those that are wrong about themselves
    "no-code": (FAILS, asked(whole(PAGE, first=b"HTTP/1.1 OK\r\n"))),
    "nul-in-code": (FAILS, asked(whole(PAGE, first=b"HTTP/1.1 2\x000 OK\r\n"))),
    "long-code": (FAILS, asked(whole(PAGE, first=b"HTTP/1.1 2000000000000 OK\r\n"))),
    "negative-length": (FAILS, asked(whole(PAGE, "-1"))),
    "huge-length": (STALLS, asked(whole(PAGE, "1" + 23 * "0"), Act.STAY)),
    "two-lengths": (FAILS, asked(whole(PAGE, first=OK + b"Content-Length: 4\r\n"))),
    "body-too-short": (FAILS, asked(whole(PAGE, "100000"))),
    "body-too-long": (FAILS, asked(whole(PAGE, "4"))),
    "chunk-without-size": (FAILS, asked(CHUNKED, b"size\r\n" + PAGE + END)),
    "chunk-too-short": (FAILS, asked(CHUNKED, b"1000\r\n" + PAGE)),
    "gzip-bomb": (FAILS, asked(BOMB)),
    "no-header": (FAILS, asked(PAGE)),
    "not-http": (FAILS, told(b"SSH-2.0-OpenSSH_9.2p1\r\n", Act.STAY)),
    # Those that break off
    "closes": (FAILS, asked()),
    "half-closed": (FAILS, told(Act.SHUT, Act.STAY)),
    "reset-at-once": (FAILS, told(Act.RESET)),
    "reset-after-request": (FAILS, asked(Act.RESET)),
    "reset-in-header": (FAILS, asked(OK, APART, Act.RESET)),
    "reset-in-body": (FAILS, asked(whole(PAGE, "100000"), APART, Act.RESET)),
}

ANIMALS = (
    *(Animal(f"http-{name}", "http", PASSES, Stream(life)) for name, life in WELL.items()),
    *(Animal(f"http-{name}", "http", right, Stream(life)) for name, (right, life) in ILL.items()),
    Animal("http-refuses", "http", REFUSES, Absent.REFUSING),
    Animal("http-silent", "http", SILENT, Absent.FULL),
)
