"""Conversations that are known by a name: what well-known servers say when they are well.

Each begins as its protocol does and takes leave as a client should, so that no server logs
a broken connection.  The regular expressions are searched for in what has come since the
last one matched.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from lvs_nat.core.questions import Expect, Step, Tls, Verb

Steps = tuple[Step, ...]

# Messages with a length in front: nothing but these bytes may stand there.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # PostgreSQL protocol, SSLRequest
_LDAP_BIND = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"  # RFC 4511, anonymous
_LDAP_UNBIND = b"\x30\x05\x02\x01\x02\x42\x00"
_LDAP_SUCCESS = rb"^\x30(?s:.){1,6}?\x02\x01\x01\x61(?s:.){1,5}?\x0a\x01\x00"


def _talk(*parts: bytes) -> Steps:
    """Return the steps of *parts*: expected and sent in turn, beginning with expected."""
    verbs = (Verb.EXPECT, Verb.SEND)
    steps = (Step(verbs[number % 2], part) for number, part in enumerate(parts))
    return tuple(step for step in steps if step.data)


def _line(text: str) -> bytes:
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("has a control character in it")
    return text.encode()


def _smtp(user: str, password: str) -> Steps:
    head = _talk(rb"^220[ -].*\n", b"EHLO lvs-nat\r\n", rb"(?m)^250 .*\n")
    login = b""
    if user:
        whole = base64.b64encode(b"\0" + _line(user) + b"\0" + _line(password))
        login = b"AUTH PLAIN " + whole + b"\r\n"
    tail = _talk(b"", login, rb"^235 .*\n" if user else b"", b"QUIT\r\n", rb"^221[ -].*\n")
    return head + tail


def _pop3(user: str, password: str) -> Steps:
    login: Steps = ()
    if user:
        login = _talk(
            b"", b"USER " + _line(user) + b"\r\n", rb"^\+OK.*\n",
            b"PASS " + _line(password) + b"\r\n", rb"^\+OK.*\n",
        )  # fmt: skip
    return _talk(rb"^\+OK.*\n") + login + _talk(b"", b"QUIT\r\n", rb"^\+OK.*\n")


def _imap(user: str, password: str) -> Steps:
    login: Steps = ()
    if user:
        words = b"a LOGIN " + _quoted(user) + b" " + _quoted(password) + b"\r\n"
        login = _talk(b"", words, rb"(?m)^a OK.*\n")
    return (
        _talk(rb"^\* (?:OK|PREAUTH).*\n") + login + _talk(b"", b"b LOGOUT\r\n", rb"(?m)^b OK.*\n")
    )


def _quoted(text: str) -> bytes:
    return b'"' + _line(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _ftp(user: str, password: str) -> Steps:
    login: Steps = ()
    if user:
        login = _talk(
            b"", b"USER " + _line(user) + b"\r\n", rb"(?m)^(?:230|331) .*\n",
            b"PASS " + _line(password) + b"\r\n", rb"(?m)^2(?:30|02) .*\n",
        )  # fmt: skip
    return _talk(rb"(?m)^220 .*\n") + login + _talk(b"", b"QUIT\r\n", rb"(?m)^221 .*\n")


def _nntp(user: str, password: str) -> Steps:
    login: Steps = ()
    if user:
        login = _talk(
            b"", b"AUTHINFO USER " + _line(user) + b"\r\n", rb"^(?:281|381) .*\n",
            b"AUTHINFO PASS " + _line(password) + b"\r\n", rb"^281 .*\n",
        )  # fmt: skip
    return _talk(rb"^20[01] .*\n") + login + _talk(b"", b"QUIT\r\n", rb"^205 .*\n")


def _redis(user: str, password: str) -> Steps:
    login: Steps = ()
    if user:
        parts = (b"AUTH", _line(user), _line(password))
        words = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        login = _talk(b"", b"*3\r\n" + words, rb"^\+OK\r\n")
    return login + _talk(b"", b"PING\r\n", rb"^\+PONG\r\n", b"QUIT\r\n")


def _plainly(*parts: bytes) -> Callable[[str, str], Steps]:
    def made(user: str, _password: str) -> Steps:
        if user:
            raise ValueError("is of no use: this conversation has no login")
        return _talk(*parts)

    return made


_OPTIONS = (
    b"OPTIONS sip:check SIP/2.0\r\nVia: SIP/2.0/TCP lvs-nat;branch=z9hG4bK-lvs-nat\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:lvs-nat@localhost>;tag=1\r\nTo: <sip:check@localhost>\r\n"
    b"Call-ID: lvs-nat\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
_TALKS: Mapping[str, Callable[[str, str], Steps]] = {
    "smtp": _smtp,
    "submission": _smtp,
    "pop3": _pop3,
    "imap": _imap,
    "ftp": _ftp,
    "nntp": _nntp,
    "redis": _redis,
    "memcached": _plainly(b"", b"version\r\n", rb"^VERSION .*\n", b"quit\r\n"),
    # The greeting of protocol 10; an error message has 0xff there.
    "mysql": _plainly(rb"^(?s:.){3}\x00\x0a[^\x00]+\x00"),
    "pgsql": _plainly(b"", _SSL_REQUEST, rb"^[SN]"),
    "sip": _plainly(b"", _OPTIONS, rb"^SIP/2\.0 200 "),
    "rtsp": _plainly(b"", b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", rb"^RTSP/1\.0 200 "),
    "ldap": _plainly(b"", _LDAP_BIND, _LDAP_SUCCESS, _LDAP_UNBIND),
}
# With TLS from the first byte.
_SECURE = {"smtps": "smtp", "pop3s": "pop3", "imaps": "imap", "ldaps": "ldap", "ftps": "ftp"}
NAMES = (*_TALKS, *_SECURE)


def conversation(name: str, user: str = "", password: str = "") -> Expect:
    """Return the conversation called *name*, with a login where a user is given.

    Raises ValueError where there can be no login, or not this one.
    """
    steps = _TALKS[_SECURE.get(name, name)](user, password)
    secure = name in _SECURE
    return Expect(steps, name, Tls() if secure else None, immediate=secure)
