"""Conversations that are known by a name: what well-known servers say when they are well.

Each waits for the end of what the server says, and takes leave as a client should, so that no
server logs a broken connection.  The regular expressions are searched for in what has come
since the last one matched; what their group "fail" finds is a refusal, and where their group
"done" finds anything, what is sent and expected next is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from lvs_nat.core.questions import Expect, Step, Tls, Verb

Steps = tuple[Step, ...]
# Makes steps for a user and a password ("" for no login), going over to TLS or not.
Talk = Callable[[str, str, bool], Steps]

_SECURED: Steps = (Step(Verb.TLS),)
_OURSELVES = b"lvs-nat.localdomain"


def _talk(*parts: bytes) -> Steps:
    """Return the steps of *parts*: expected and sent in turn, beginning with expected."""
    verbs = (Verb.EXPECT, Verb.SEND)
    steps = (Step(verbs[number % 2], part) for number, part in enumerate(parts))
    return tuple(step for step in steps if step.data)


def _command(line: bytes, answer: bytes) -> Steps:
    """Return the steps that say a *line* and expect *answer*."""
    return _talk(b"", line + b"\r\n", answer)


def _line(text: str) -> bytes:
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("has a control character in it")
    return text.encode()


def _reply(code: bytes) -> bytes:
    """Return what finds the last line of a reply *code*, or a 4xx or 5xx (RFC 5321, 4.2)."""
    return rb"(?m)^" + code + rb"(?: .*)?\r?\n|(?P<fail>^[45][0-9]{2}(?: .*)?\r?\n)"


def _smtp(user: str, password: str, tls: bool) -> Steps:
    hello = _command(b"EHLO " + _OURSELVES, _reply(b"250"))
    steps = _talk(_reply(b"220")) + hello
    if tls:
        # RFC 3207, 4.2: what was said before counts no more.
        steps += _command(b"STARTTLS", _reply(b"220")) + _SECURED + hello
    if user:
        words = b"\0" + _line(user) + b"\0" + _line(password)
        steps += _command(b"AUTH PLAIN " + base64.b64encode(words), _reply(b"235"))
    return steps + _command(b"QUIT", _reply(b"221"))


_OK = rb"^\+OK.*\n|(?P<fail>^-.*\n)"


def _pop3(user: str, password: str, tls: bool) -> Steps:
    steps = _talk(_OK)
    if tls:
        steps += _command(b"STLS", _OK) + _SECURED
    if user:
        steps += _command(b"USER " + _line(user), _OK) + _command(b"PASS " + _line(password), _OK)
    return steps + _command(b"QUIT", _OK)


def _imap(user: str, password: str, tls: bool) -> Steps:
    steps = _talk(rb"^\* (?:OK|PREAUTH).*\n|(?P<fail>^\* .*\n)")
    if tls:
        steps += _tagged(b"a", b"STARTTLS") + _SECURED
    if user:
        steps += _tagged(b"b", b"LOGIN " + _quoted(user) + b" " + _quoted(password))
    return steps + _tagged(b"c", b"LOGOUT")


def _tagged(tag: bytes, words: bytes) -> Steps:
    answer = rb"(?m)^" + tag + rb" OK.*\n|(?P<fail>^" + tag + rb" .*\n)"
    return _command(tag + b" " + words, answer)


def _quoted(text: str) -> bytes:
    return b'"' + _line(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _ftp(user: str, password: str, tls: bool) -> Steps:
    steps = _talk(_reply(b"220"))
    if tls:
        steps += _command(b"AUTH TLS", _reply(b"234")) + _SECURED
    if user:
        steps += _command(b"USER " + _line(user), _reply(b"(?:230|331)"))
        steps += _command(b"PASS " + _line(password), _reply(b"(?:230|202)"))
    return steps + _command(b"QUIT", _reply(b"221"))


def _nntp(user: str, password: str, tls: bool) -> Steps:
    steps = _talk(_reply(b"20[01]"))
    if tls:
        steps += _command(b"STARTTLS", _reply(b"382")) + _SECURED
    if user:
        steps += _command(b"AUTHINFO USER " + _line(user), _reply(b"(?:281|381)"))
        steps += _command(b"AUTHINFO PASS " + _line(password), _reply(b"281"))
    return steps + _command(b"QUIT", _reply(b"205"))


def _redis(user: str, password: str, _tls: bool) -> Steps:
    steps: Steps = ()
    if user:
        # The user "default" needs no name; before Redis 6 there was none to be given.
        name = () if user == "default" else (_line(user),)
        words = (b"AUTH", *name, _line(password))
        said = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        steps = _talk(b"", b"*%d\r\n" % len(words) + said, rb"^\+OK\r\n|(?P<fail>^-.*\n)")
    return steps + _talk(b"", b"PING\r\n", rb"^\+PONG\r\n|(?P<fail>^-.*\n)", b"QUIT\r\n")


def _mysql(user: str, password: str, tls: bool) -> Steps:
    """The greeting, of protocol 10, and a login: with no user given, one that may be denied.

    A server counts those who leave without trying to come in, and after max_connect_errors of
    them lets nobody in from that address; whom it denies it does not count.
    """
    _needless(password)
    # A packet: its length in three bytes, its number, its content; 0xff begins an error.
    steps = _talk(rb"^(?s:.){3}\x00\x0a[^\x00]+\x00(?s:.){31,}|(?P<fail>^(?s:.){4}\xff(?s:.)*)")
    # PROTOCOL_41, SECURE_CONNECTION and PLUGIN_AUTH, for TLS with SSL; 16 MiB; utf8_general_ci.
    able = (0x88A00 if tls else 0x88200).to_bytes(4, "little")
    head = able + b"\0\0\0\1" + b"\x21" + bytes(23)
    number = 2 if tls else 1
    if tls:
        steps += _talk(b"", _packet(1, head)) + _SECURED
    # A password of no bytes, also in the way that a server may want it given instead (0xfe).
    login = head + _line(user or "lvs-nat") + b"\0\0mysql_native_password\0"
    # Well, or of no user given: access denied (1045), in MariaDB's words for its sockets (1698).
    well = rb"^(?s:.){4}\x00" if user else rb"^(?s:.){4}(?:\x00|\xff(?:\x15\x04|\xa2\x06))"
    denied = rb"|(?P<fail>^(?s:.){4}\xff(?s:.)*)"
    sizes = b"|".join(_whole(size, number + 1) for size in range(1, 256))
    otherwise = b"|^(?:" + sizes + b")"
    steps += _talk(b"", _packet(number, login), well + rb"(?P<done>)" + denied + otherwise)
    leave = _packet(0, b"\1")  # COM_QUIT
    return steps + _talk(b"", _packet(number + 2, b""), well + denied, leave)


def _packet(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number]) + content


def _whole(size: int, number: int) -> bytes:
    """Return what finds the whole of a packet of *size* bytes that begins with 0xfe."""
    return rb"\x%02x\x00\x00\x%02x\xfe(?s:.){%d}" % (size, number, size - 1)


_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"


def _pgsql(user: str, password: str, tls: bool) -> Steps:
    """Whether TLS can be had, which only a running server can say; with a user, its login.

    How a password is asked for shows that the server takes clients; none is sent.
    """
    _needless(password)
    steps: Steps = ()
    if tls or not user:
        wanted = rb"^S" if tls else rb"^[SN]"
        steps = _talk(b"", _SSL_REQUEST, wanted + rb"|(?P<fail>^(?s:.)+)")
    if tls:
        steps += _SECURED
    if user:
        words = b"\0\3\0\0user\0" + _line(user) + b"\0database\0postgres\0\0"  # version 3.0
        said = (len(words) + 4).to_bytes(4, "big") + words
        steps += _talk(b"", said, rb"^R|(?P<fail>^E(?s:.)*)")
    return steps


def _needless(password: str) -> None:
    if password:
        raise ValueError("has a password, which cannot be used here; write USER: without one")


def _ldap(user: str, password: str, tls: bool) -> Steps:
    """A simple bind, anonymous without a user (RFC 4511, 4.2); a user is a distinguished name."""
    steps: Steps = ()
    if tls:
        wanted = _ber(0x77, _ber(0x80, b"1.3.6.1.4.1.1466.20037"))  # StartTLS (4.14)
        steps = _talk(b"", _message(1, wanted), _result(b"x")) + _SECURED
    words = _ber(0x02, b"\3") + _ber(0x04, _line(user)) + _ber(0x80, _line(password))
    bind = _message(2, _ber(0x60, words))
    return steps + _talk(b"", bind, _result(b"a"), _message(3, _ber(0x42)))


def _ber(tag: int, content: bytes = b"") -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def _message(number: int, content: bytes) -> bytes:
    return _ber(0x30, _ber(0x02, bytes([number])) + content)


def _result(tag: bytes) -> bytes:
    """Return what finds a response *tag* of success, or any other."""
    head = rb"^\x30(?s:.){1,6}?\x02\x01(?s:.)" + tag + rb"(?s:.){1,5}?\x0a\x01"
    return head + rb"\x00|(?P<fail>" + head + rb"[^\x00](?s:.)*)"


def _plainly(*parts: bytes) -> Talk:
    def made(user: str, _password: str, _tls: bool) -> Steps:
        if user:
            raise ValueError("is of no use: this conversation has no login")
        return _talk(*parts)

    return made


_OPTIONS = (
    b"OPTIONS sip:check SIP/2.0\r\nVia: SIP/2.0/TCP lvs-nat;branch=z9hG4bK-lvs-nat\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:lvs-nat@localhost>;tag=1\r\nTo: <sip:check@localhost>\r\n"
    b"Call-ID: lvs-nat\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
_DESCRIBE = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: lvs-nat\r\n\r\n"
_TALKS: Mapping[str, Talk] = {
    "smtp": _smtp,
    "submission": _smtp,
    "pop3": _pop3,
    "imap": _imap,
    "ftp": _ftp,
    "nntp": _nntp,
    "redis": _redis,
    "memcached": _plainly(
        b"", b"version\r\n", rb"^VERSION .*\n|(?P<fail>^.*ERROR.*\n)", b"quit\r\n"
    ),
    "mysql": _mysql,
    "pgsql": _pgsql,
    # RFC 3261, 7.2; a provisional answer may come first.
    "sip": _plainly(b"", _OPTIONS, rb"(?m)^SIP/2\.0 200 |(?P<fail>^SIP/2\.0 [3-6].*\n)"),
    "rtsp": _plainly(b"", _DESCRIBE, rb"^RTSP/1\.0 200 |(?P<fail>^RTSP/1\.0 .*\n)"),
    "ldap": _ldap,
}
# With TLS from the first byte, and those that know no other way into TLS.
SECURE = {"smtps": "smtp", "pop3s": "pop3", "imaps": "imap", "ldaps": "ldap", "ftps": "ftp"}
_AT_ONCE = (*SECURE, "redis", "memcached", "sip", "rtsp")
NAMES = (*_TALKS, *SECURE)


def conversation(name: str, user: str = "", password: str = "", tls: Tls | None = None) -> Expect:
    """Return the conversation called *name*, with a login where a user is given, inside *tls*.

    Raises ValueError where there can be no login, or not this one.
    """
    at_once = name in _AT_ONCE
    steps = _TALKS[SECURE.get(name, name)](user, password, tls is not None and not at_once)
    return Expect(steps, name, tls, immediate=tls is not None and at_once)
