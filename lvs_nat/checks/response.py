"""One HTTP/1 response is read: strictly, and never without bounds (RFC 9112)."""

from __future__ import annotations

import re

from lvs_nat.checks.kind import shown

# More answers of the kind "100 Continue" than this are no answer.
INTERIM = 8
# No two parts of these can take the same bytes, so that whatever comes is read in one pass; what
# begins with a plain byte is found fast.  A line may end in a bare LF (2.2), and what begins
# with a blank goes on with the line before (5.2).
_START = re.compile(rb"HTTP/1\.\d (\d{3})(?: [^\r\n\0]*)?\r?\n")
_END = re.compile(rb"\n\r?\n")
_NO_FIELD = re.compile(rb"\n[^\n: \t][^\n:]*\n")
_FIELD = re.compile(rb"\n(content-length|transfer-encoding|location)[ \t]*:([^\r\n]*)", re.I)
# Longer than any file; what has more digits is no length.
_LENGTH = re.compile(rb"[0-9]{1,18}")
# The size of a chunk, after the end of the one before (7.1), and what may become that.
_SIZE = rb"([0-9A-Fa-f]{1,15})[ \t]{0,15}(?:;[^\r\n\0]{0,255})?"
_CHUNK = re.compile(rb"\r?\n" + _SIZE + rb"\r?\n")
_CHUNK_PART = re.compile(rb"\r?|\r?\n(?:" + _SIZE + rb"\r?)?")
# In place of a length: bodies of which none is known beforehand, and the fields after chunks.
_CHUNKED, _UNTIL_CLOSE, _TRAILERS = -1, -2, -3


# A response as most are: 2xx, with one length and nothing that changes what that means.
_OTHER = (
    rb"(?:(?!(?i:content-length|transfer-encoding)[ \t]*:)"
    rb"[^\r\n\0: \t][^\r\n\0:]*:[^\r\n\0]*\r\n)*"
)
_USUAL = re.compile(
    rb"HTTP/1\.\d (2\d\d)(?: [^\r\n\0]*)?\r\n"
    + _OTHER
    + rb"(?i:content-length):[ \t]*([0-9]{1,9})[ \t]*\r\n"
    + _OTHER
    + rb"\r\n"
)


class Malformed(ValueError):
    """What came is no HTTP/1 response, in words for the operator."""


def usual(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body of a response that is all in *data* and like most; None if not.

    It says what a Response would say, in a fraction of the time.
    """
    match = _USUAL.match(data)
    if match is None:
        return None
    status, length = match.groups()
    ends = match.end() + int(length)
    if ends > len(data) or status == b"204":
        return None
    return int(status), data[match.end() : ends]


class Response:
    """A response while it comes; status is 0 until its head is whole.

    bare says that it has no body whatever its fields say, as the answer to HEAD; keep, that
    its body is wanted.
    """

    __slots__ = (
        "_bare", "_got", "_interim", "_keep", "_left", "_length", "_parts", "_unread",
        "location", "status",
    )  # fmt: skip

    def __init__(self, bare: bool = False, keep: bool = False) -> None:
        self.status = 0
        self.location = b""
        self._bare = bare
        self._keep = keep
        self._interim = 0
        self._unread = b""
        self._length = 0
        self._got = 0
        self._left = 0  # of a chunk
        self._parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    @property
    def silent(self) -> bool:
        """Whether nothing has come at all."""
        return not (self.status or self._unread or self._interim)

    @property
    def open_ended(self) -> bool:
        """Whether the end of the connection is the end of its body."""
        return self.status > 0 and self._length == _UNTIL_CLOSE

    @property
    def progress(self) -> str:
        """How much of it has come."""
        if not self.status:
            return f"{len(self._unread)} bytes of its head"
        whole = f" of {self._length}" if self._length >= 0 else ""
        return f"{self._got}{whole} bytes of its body"

    def feed(self, data: bytes) -> bool:
        """Take *data*; return whether the response is whole.  Raises Malformed."""
        if not self.status:
            rest = self._head(data)
            if rest is None:
                return False
            data = rest
        if self._length == _CHUNKED:
            return self._chunks(data)
        if self._length == _TRAILERS:
            return self._trailers(data)
        if self._length >= 0:
            data = data[: self._length - self._got]  # more is the server's own affair
        self._take(data)
        return self._got == self._length

    def _take(self, data: bytes) -> None:
        self._got += len(data)
        if self._keep:
            self._parts.append(data)

    def _head(self, data: bytes) -> bytes | None:
        """Read the heads that have come; return what follows the last one, if that is there."""
        new = 0
        if self._unread:
            new = max(0, len(self._unread) - 2)  # no blank line begins before
            data = self._unread + data
        place = 0
        while end := _END.search(data, max(place, new)):
            last, after = end.span()
            match = _START.match(data, place, after)
            if (
                match is None
                or data.find(b"\0", place, last) >= 0
                or _NO_FIELD.search(data, place, last + 1)
            ):
                raise Malformed(_fault(data[place : end.end()]))
            status = int(match[1])
            if status >= 200 or status == 101:
                self._fields(status, _FIELD.findall(data, place, last + 1))
                return data[after:]
            self._interim += 1
            if status < 100 or self._interim > INTERIM:
                raise Malformed(f"status {status:03} again and again" if status else "status 000")
            place = after
        self._unread = data[place:]
        if b"\0" in self._unread or not _promising(self._unread):
            raise Malformed(_fault(self._unread))
        return None

    def _fields(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        length = _UNTIL_CLOSE
        for name, value in fields:
            letter = name[:1]
            value = value.strip()
            if letter in b"Tt":
                if value.lower().rpartition(b",")[2].strip() == b"chunked":
                    length = _CHUNKED
            elif letter in b"Ll":
                self.location = value
            elif length != _CHUNKED:
                said = _length(value)
                if length >= 0 and said != length:
                    raise Malformed(f"Content-Length is {length} and {said}")
                length = said
        if self._bare or status in (101, 204, 304):
            length = 0
        elif length == _CHUNKED:
            self._unread = b"\r\n"  # as if there had been a chunk before the first
        self._length = length

    def _chunks(self, data: bytes) -> bool:
        """Take chunks; what cannot be read yet waits."""
        data = self._unread + data
        place = 0
        while True:
            if self._left:
                piece = data[place : place + self._left]
                self._take(piece)
                self._left -= len(piece)
                place += len(piece)
                if self._left:
                    self._unread = b""
                    return False
            match = _CHUNK.match(data, place)
            if match is None:
                break
            self._left = int(match[1], 16)
            if not self._left:
                self._length, self._unread = _TRAILERS, b""
                return self._trailers(data[match.end() :])
            place = match.end()
        self._unread = data[place:]
        if not _CHUNK_PART.fullmatch(self._unread):
            raise Malformed(f"chunk without a size: {shown(self._unread.lstrip())}")
        return False

    def _trailers(self, data: bytes) -> bool:
        """Take the fields that may follow the last chunk (7.1.2), and a blank line."""
        if b"\n" not in data:
            self._unread += data
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        return any(line in (b"", b"\r") for line in lines)


def _length(text: bytes) -> int:
    """Return what Content-Length says, which may say the same twice (RFC 9110, 8.6)."""
    if _LENGTH.fullmatch(text):
        return int(text)
    first, *others = {part.strip() for part in text.split(b",")}
    if others or not _LENGTH.fullmatch(first):
        raise Malformed(f"Content-Length is {shown(text)}")
    return int(first)


def _promising(data: bytes) -> bool:
    """Whether *data* may become the head of a response."""
    if b"\n" in data:
        return _START.match(data) is not None
    return data.startswith(b"HTTP/1."[: len(data)])


def _fault(head: bytes) -> str:
    """Return what is wrong with *head*, which is none."""
    if not _promising(head):
        line = head.partition(b"\n")[0]
        return f"no status line of HTTP: {shown(line)}"
    return "NUL bytes in its head" if b"\0" in head else "its head has a line that is no field"
