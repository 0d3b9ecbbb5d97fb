"""Is one HTTP request answered as it should be?"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from lvs_nat.checks import content, sockets, stream
from lvs_nat.checks.effort import read
from lvs_nat.checks.kind import Answer, shown
from lvs_nat.checks.response import Malformed, Response, usual
from lvs_nat.checks.stream import MUTE, Again, End, Heard, Line
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Http
from lvs_nat.core.setup import Target
from lvs_nat.model import Endpoint

# Answers that send the client elsewhere; after the first kind it asks by GET (RFC 9110, 15.4).
_BY_GET = frozenset({301, 302, 303})
_REDIRECTS = _BY_GET | {307, 308}
# What a field of ours is called, to be left out where the operator gives it.
_OURS = {
    "user-agent": "User-Agent: lvs-nat",
    "accept": "Accept: */*",
    "connection": "Connection: close",
}


class Wanted(NamedTuple):
    """A request in bytes, and what its answer must be; passes has the good statuses."""

    request: bytes
    question: Http
    endpoint: Endpoint
    passes: Mapping[int, Answer]
    judges: tuple[content.Judge, ...]


def prepare(target: Target) -> Line:
    """Return the line on which *target* is asked; the request is made once for all probes."""
    question = target.check.question
    assert isinstance(question, Http)
    endpoint = target.endpoint
    request = _request(question, endpoint)
    passes, judges = _passes(question.status), content.judges(question)
    wanted = Wanted(request, question, endpoint, passes, judges)
    begin = partial(Exchange, wanted)
    if question.tls is None:
        return Line(sockets.where(target), begin, first=True)
    from lvs_nat.checks import secure  # the daemon is lean where nothing is asked inside TLS

    return Line(sockets.where(target), *secure.inside(question.tls, begin), first=True)


@lru_cache(16)
def _passes(ranges: tuple[tuple[int, int], ...]) -> Mapping[int, Answer]:
    """Return the answer for each status in *ranges*, made once for thousands of servers."""
    return {
        status: Answer(Outcome.PASS, f"status {status}")
        for low, high in ranges
        for status in range(low, high + 1)
    }


def _request(question: Http, endpoint: Endpoint) -> bytes:
    given = {line.partition(":")[0].strip().lower(): line for line in question.headers}
    body = question.body.encode()
    lines = [f"{question.method} {_path(question.path)} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {_host(question, endpoint)}")
    lines += [line for name, line in _OURS.items() if name not in given]
    if question.login:
        lines.append(f"Authorization: Basic {b64encode(question.login.encode()).decode()}")
    lines += question.headers
    if body or question.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


def _path(path: str) -> str:
    """Return *path* with what cannot stand in a request percent-encoded (RFC 3986, 2.1)."""
    octets = path.encode("utf-8", "surrogateescape")
    return "".join(chr(it) if 0x20 < it < 0x7F else f"%{it:02X}" for it in octets)


def _host(question: Http, endpoint: Endpoint) -> str:
    return question.host or _authority(str(endpoint), question.tls is not None)


def _authority(text: str, secure: bool) -> str:
    """Return host and port, without the port that goes without saying (RFC 3986, 6.2.3)."""
    return text.lower().removesuffix(":443" if secure else ":80")


class Exchange:
    """The dialogue: one request, one response; *followed* redirects have led here."""

    __slots__ = ("_followed", "_response", "_wanted", "outgoing")

    def __init__(self, wanted: Wanted, followed: int = 0) -> None:
        self.outgoing = wanted.request
        self._wanted = wanted
        self._followed = followed
        self._response: Response | None = None

    def _reading(self) -> Response:
        """Return the response, as far as it has come."""
        if self._response is None:
            wanted = self._wanted
            self._response = Response(wanted.question.method == "HEAD", bool(wanted.judges))
        return self._response

    def hear(self, data: bytes) -> Heard:
        if self._response is None and (found := usual(data)):
            status, body = found
            if status in self._wanted.passes:
                return self._judge(status, body, True)
        response = self._reading()
        try:
            whole = read(response.feed, data)
        except Malformed as error:
            return Answer(Outcome.FAIL, str(error))
        status = response.status
        if not status:
            return None
        wanted = self._wanted
        if status in _REDIRECTS and wanted.question.redirects:
            return self._follow()
        if status not in wanted.passes:
            to = f" to {shown(response.location)}" if status in _REDIRECTS else ""
            return Answer(Outcome.FAIL, f"status {status}{to}")
        if not whole:
            return None
        return self._judge(status, response.body, True)

    def end(self, why: End) -> Answer | None:
        response = self._reading()
        if why is End.CLOSED and response.open_ended:
            return self._judge(response.status, response.body, True)
        if why is End.FULL and response.status:
            return self._judge(response.status, response.body, False)
        if why is End.LATE and response.silent:
            return MUTE
        if why is End.BROKEN:
            return None
        return Answer(Outcome.FAIL, f"{why.value} after {response.progress}")

    def _judge(self, status: int, body: bytes, whole: bool) -> Answer:
        for judge in self._wanted.judges:
            if fault := judge(body, whole):
                return Answer(Outcome.FAIL, fault)
        return self._wanted.passes[status]

    def _follow(self) -> Heard:
        wanted, response = self._wanted, self._reading()
        question, status, location = wanted.question, response.status, response.location
        if self._followed == question.redirects:
            words = f"redirected more than {self._followed} times, to {shown(location)}"
            return Answer(Outcome.FAIL, words)
        path = _here(wanted, location)
        if path is None:
            return Answer(Outcome.FAIL, f"redirected to another server: {shown(location)}")
        further = replace(question, path=path)
        if status in _BY_GET and question.method != "HEAD":
            further = replace(further, method="GET", body="")
        request = _request(further, wanted.endpoint)
        return Again(
            Exchange(wanted._replace(request=request, question=further), self._followed + 1)
        )


def _here(wanted: Wanted, location: bytes) -> str | None:
    """Return the path that *location* names on the server that was asked, None if it does not."""
    from urllib.parse import urljoin, urlsplit

    question = wanted.question
    scheme = "http" if question.tls is None else "https"
    host = _host(question, wanted.endpoint)
    try:
        text = location.decode("utf-8", "surrogateescape")
        parts = urlsplit(urljoin(f"{scheme}://{host}{question.path}", text))
    except ValueError:
        return None
    names = {_authority(it, question.tls is not None) for it in (host, str(wanted.endpoint))}
    if parts.scheme != scheme or _authority(parts.netloc, scheme == "https") not in names:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


KIND = stream.kind(prepare)
