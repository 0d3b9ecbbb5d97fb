"""The settings of a check become its question, or a sentence about the one that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lvs_nat.core import presets
from lvs_nat.core.questions import (
    Agent,
    Bfd,
    Connect,
    Dns,
    Expect,
    File,
    Grpc,
    Http,
    Idle,
    Nothing,
    Ping,
    Question,
    Radius,
    Script,
    Step,
    Style,
    Syn,
    Tcp,
    Tls,
    Udp,
    Verb,
    Verify,
)

Given = Mapping[str, Any]

TLS = ("server_name", "verify", "ca", "min_days", "alpn", "certificate", "key")
_SECURE = ("tls", *TLS)
_HTTP = (
    *("path", "method", "host", "headers", "login", "body", "status", "contains", "matches"),
    *("digest", "json", "redirects"),
)
# What each word of `check =` uses of the settings.
USES: Mapping[str, tuple[str, ...]] = {
    "tcp": (),
    "connect": ("reset",),
    "syn": (),
    "idle": (),
    "tls": TLS,
    "http": (*_HTTP, *_SECURE),
    "https": (*_HTTP, *TLS),
    "grpc": ("grpc_service", *_SECURE),
    "dns": ("query", "type", "answer", "rcode", "over_tcp"),
    "udp": ("send", "reply", "receive", "mask", "least", "most"),
    "radius": ("secret", "login"),
    "ping": ("count", "size"),
    "expect": ("talk", *_SECURE),
    "agent": ("send",),
    "script": ("program", "style"),
    "file": ("file", "absent"),
    "bfd": (),
    "none": (),
    **dict.fromkeys(presets.NAMES, ("login", *_SECURE)),
}
# Every setting of a question, in the order of the manual.
SETTINGS = tuple(dict.fromkeys(key for keys in USES.values() for key in keys))


class Wrong(ValueError):
    """A setting cannot be used; key says which."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def questions(word: str, given: Given) -> tuple[Question, ...]:
    """Return what `check = word` asks with the settings *given*; raise Wrong.

    Each path of an HTTP check is a question of its own.
    """
    if word in ("http", "https"):
        return _http(word, given)
    if word in presets.NAMES:
        return (_preset(word, given),)
    return (BUILDERS[word](given),)


def _named(given: Given) -> Given:
    """Return the settings with the host for server_name, where it is a name and none is given.

    A server of many names shows the certificate of the one that it is asked for.
    """
    host = re.sub(":[0-9]+$", "", given.get("host") or "")
    if given.get("server_name") or not re.search("[A-Za-z]", host) or ":" in host:
        return given
    return {**given, "server_name": host}


def _http(word: str, given: Given) -> tuple[Question, ...]:
    if given.get("login"):
        _login(given)
    names = ("method", "host", "headers", "login", "body", "status", "json", "redirects")
    renamed = {"text": given.get("contains"), "regex": given.get("matches")}
    digest = given.get("digest")
    if digest and not re.fullmatch("(?:[0-9A-Fa-f]{32}){1,2}", digest):
        raise Wrong("digest", "is neither an MD5 (32 hex digits) nor a SHA-256 (64)")
    if given.get("json") and not re.match("/[^=]*=", given["json"]):
        raise Wrong("json", "is no JSON pointer and value; write /status=ok")
    if given.get("matches"):
        _regex("matches", given["matches"])
    paths = given.get("path") or ("/",)
    for path in paths:
        if not path.startswith("/"):
            raise Wrong("path", "has one that does not begin with /")
    found = {name: given.get(name) for name in names}
    values = {key: value for key, value in {**found, **renamed}.items() if value is not None}
    whole = Http(**values, digest=(digest or "").lower(), tls=_tls(_named(given), word == "https"))
    return tuple(replace(whole, path=path) for path in paths)


def _tls(given: Given, secure: bool = False) -> Tls | None:
    """Return how TLS is spoken; None where it is not."""
    if not (given.get("tls") if given.get("tls") is not None else secure):
        return None
    return _certain(given)


def _certain(given: Given) -> Tls:
    found = {key: given[key] for key in TLS if given.get(key) is not None}
    made = Tls(**{**found, "verify": Verify(found.get("verify", Tls().verify))})
    if made.verify is Verify.NAME and not made.server_name:
        raise Wrong("verify", "name needs server_name, the name that the certificate must have")
    if bool(made.certificate) is not bool(made.key):
        key = "certificate" if made.certificate else "key"
        raise Wrong(key, "needs the other of certificate and key")
    for key in ("ca", "certificate", "key"):
        _absolute(key, getattr(made, key))
    return made


def _dns(given: Given) -> Question:
    names = {"query": "name", "type": "type", "answer": "answer", "rcode": "rcode"}
    found = {field: given[key] for key, field in names.items() if given.get(key) is not None}
    for field in ("type", "rcode"):
        if field in found:
            found[field] = found[field].upper()
            if not re.fullmatch("[A-Z0-9]{1,16}", found[field]):
                raise Wrong(field, "is no word of DNS; write SOA, A, NXDOMAIN")
    return Dns(**found, tcp=bool(given.get("over_tcp")))


def _udp(given: Given) -> Question:
    names = {"receive": "expect", "send": "send", "mask": "mask", "least": "least", "most": "most"}
    found = {field: given[key] for key, field in names.items() if given.get(key) is not None}
    made = Udp(**found, reply=bool(given.get("reply")))
    if len(made.mask) not in (0, len(made.expect)):
        raise Wrong("mask", f"has {len(made.mask)} bytes, receive has {len(made.expect)}")
    if made.least > made.most:
        raise Wrong("least", "is greater than most")
    # Who names an answer wants one.
    wants = made.reply or bool(made.expect) or made.least > 0
    if given.get("reply") is False and wants:
        raise Wrong("reply", "cannot be no where receive or least say what the answer must be")
    return replace(made, reply=wants)


def _radius(given: Given) -> Question:
    if not given.get("secret"):
        raise Wrong("secret", "is needed for check = radius")
    if given.get("login"):
        _login(given)
    return Radius(given["secret"], given.get("login") or "")


def _expect(given: Given) -> Question:
    steps = given.get("talk")
    if not steps:
        raise Wrong("talk", "is needed for check = expect, such as: expect ^220 send QUIT\\r\\n")
    if all(step.verb is not Verb.EXPECT for step in steps):
        raise Wrong("talk", "expects nothing, so any server would do; write expect REGEX")
    tls = _tls(given)
    if any(step.verb is Verb.TLS for step in steps):
        return Expect(steps, tls=tls or _certain(given))
    return Expect(steps, tls=tls, immediate=tls is not None)


def _preset(word: str, given: Given) -> Question:
    tls = _tls(given, word in presets.SECURE)
    if tls is None and word in presets.SECURE:
        raise Wrong("tls", f"cannot be no for {word}; without TLS it is {presets.SECURE[word]}")
    user, password = _login(given) if given.get("login") else ("", "")
    try:
        return presets.conversation(word, user, password, tls)
    except ValueError as error:
        raise Wrong("login", str(error)) from error


def _script(given: Given) -> Question:
    command = given.get("program")
    if not command:
        raise Wrong("program", "is needed for check = script: a program and its arguments")
    _absolute("program", command[0])
    return Script(command, Style(given.get("style") or "plain"))


def _file(given: Given) -> Question:
    if not given.get("file"):
        raise Wrong("file", "is needed for check = file: the file to read")
    _absolute("file", given["file"])
    absent = given.get("absent")
    return File(given["file"], True if absent is None else absent == "up")


def _absolute(key: str, path: str) -> None:
    if path and not path.startswith("/"):
        raise Wrong(key, "is not an absolute path; it has to begin with /")


def _login(given: Given) -> tuple[str, str]:
    user, colon, password = given["login"].partition(":")
    if not colon or not user:
        raise Wrong("login", "is no user and password; write USER:PASSWORD")
    return user, password


def _some(kind: Callable[..., Question], *keys: str) -> Callable[[Given], Question]:
    return lambda given: kind(**{key: given[key] for key in keys if given.get(key) is not None})


BUILDERS: Mapping[str, Callable[[Given], Question]] = {
    "tcp": _some(Tcp),
    "connect": _some(Connect, "reset"),
    "syn": _some(Syn),
    "idle": _some(Idle),
    "tls": _certain,
    "grpc": lambda given: Grpc(given.get("grpc_service") or "", _tls(given)),
    "dns": _dns,
    "udp": _udp,
    "radius": _radius,
    "ping": _some(Ping, "count", "size"),
    "expect": _expect,
    "agent": _some(Agent, "send"),
    "script": _script,
    "file": _file,
    "bfd": _some(Bfd),
    "none": _some(Nothing),
}


def conversation(words: Iterable[str]) -> tuple[Step, ...]:
    """Return the steps that *words* tell: expect REGEX, send TEXT, tls; raise ValueError."""
    steps = []
    whole = list(words)
    left = list(whole)
    while left:
        place = len(whole) - len(left) + 1
        verb = left.pop(0).lower()
        if verb not in {it.value for it in Verb}:
            what = f"needs a step to begin at word {place}; write expect, send or tls"
            raise ValueError(f"{what}, and quotes around text with blanks")
        if verb == Verb.TLS.value:
            steps.append(Step(Verb.TLS))
            continue
        if not left:
            raise ValueError(f"ends with {verb} and nothing behind it")
        text = left.pop(0)
        if verb == Verb.EXPECT.value:
            _regex("talk", text)
            steps.append(Step(Verb.EXPECT, text.encode()))
        else:
            steps.append(Step(Verb.SEND, octets(text)))
    return tuple(steps)


def _regex(key: str, text: str) -> None:
    try:
        re.compile(text.encode())
    except re.error as error:
        # Names in it are left out: the expression may be a secret's.
        why = re.split(" b?['\"]", error.msg)[0]
        raise Wrong(key, f"is no regular expression: {why} at position {error.pos}") from error


_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)


def octets(text: str) -> bytes:
    r"""Return the bytes that *text* means, with \r \n \t \0 \\ \x0a; raise ValueError."""
    parts, place = [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[place : match.start()].encode())
        place = match.end()
        if match[1].startswith("x") and len(match[1]) == 3:
            parts.append(bytes.fromhex(match[1][1:]))
        elif match[1] in _ESCAPES:
            parts.append(_ESCAPES[match[1]])
        else:
            raise ValueError(
                "has an escape that is not known; known are \\r \\n \\t \\0 \\\\ and \\x0a"
            )
    return b"".join((*parts, text[place:].encode()))
