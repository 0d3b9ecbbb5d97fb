"""Which settings lvs-nat.conf has, and what each may be."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from ipaddress import ip_address
from typing import Any

from configobj.validate import ValidateError

from lvs_nat.core import phrasing
from lvs_nat.core.questions import Step, Style, Verify
from lvs_nat.core.setup import Drift, From, OnFailure, OnStart, OnStop, OnUnknown, Own
from lvs_nat.model import Address, Endpoint, Listener, Mark, ServiceName, Transport

MARK_MAX = 2**32 - 1


def _choice(choices: type[Enum]) -> str:
    return f"choice({', '.join(it.value for it in choices)}, default=None)"


# Nothing here has a default but None, "as written above it": defaults live in core/setup.py
# and core/questions.py.  The least interval keeps 200 servers below 4,000 probes a second;
# Linux repeats a lost SYN after 1 s, so a timeout of a minute has been asked six times.
TIMING_KEYS = (
    "interval = seconds(0.05, 3600, default=None)",
    "timeout = seconds(0.01, 60, default=None)",
    "fast = seconds(0.02, 3600, default=None)",
    "fall = count(1, 100, default=None)",
    "rise = count(1, 100, default=None)",
    "down_interval = seconds(0.05, 3600, default=None)",
    f"on_unknown = {_choice(OnUnknown)}",
    "port = count(1, 65535, default=None)",
    "address = address(default=None)",
    "from = origin(default=None)",
    "interface = interface(default=None)",
)
QUESTION_KEYS = (
    "reset = switch(default=None)",
    "path = words(default=None)",
    "method = token(default=None)",
    "host = text(default=None)",
    "headers = headers(default=None)",
    "login = text(default=None)",
    "body = text(default=None)",
    "status = ranges(default=None)",
    "contains = text(default=None)",
    "matches = text(default=None)",
    "digest = token(default=None)",
    "json = text(default=None)",
    "redirects = count(0, 10, default=None)",
    "tls = switch(default=None)",
    "server_name = token(default=None)",
    f"verify = {_choice(Verify)}",
    "ca = text(default=None)",
    "min_days = count(0, 3650, default=None)",
    "alpn = token(default=None)",
    "certificate = text(default=None)",
    "key = text(default=None)",
    "grpc_service = token(default=None)",
    "query = token(default=None)",
    "type = token(default=None)",
    "answer = text(default=None)",
    "rcode = token(default=None)",
    "over_tcp = switch(default=None)",
    "send = octets(default=None)",
    "reply = switch(default=None)",
    "receive = octets(default=None)",
    "mask = octets(default=None)",
    "least = count(0, 65535, default=None)",
    "most = count(0, 65535, default=None)",
    "secret = text(default=None)",
    "count = count(1, 10, default=None)",
    "size = count(0, 1400, default=None)",
    "talk = talk(default=None)",
    "program = words(default=None)",
    f"style = {_choice(Style)}",
    "file = text(default=None)",
    "absent = choice(up, unknown, default=None)",
)
CHECK_KEYS = ("check = words(default=None)", *TIMING_KEYS, *QUESTION_KEYS)
SERVICE_KEYS = (
    *CHECK_KEYS,
    f"on_failure = {_choice(OnFailure)}",
    "remove_after = seconds(0, 3600, default=None)",
)
DIRECTOR_KEYS = (
    *SERVICE_KEYS,
    f"on_start = {_choice(OnStart)}",
    f"on_stop = {_choice(OnStop)}",
    f"own = {_choice(Own)}",
    f"drift = {_choice(Drift)}",
    "sysctl = switch(default=None)",
)
SPEC = (
    *DIRECTOR_KEYS,
    "[checks]",
    "[[__many__]]",
    *CHECK_KEYS,
    "[services]",
    "[[__many__]]",
    *SERVICE_KEYS,
    "[[[__many__]]]",
    *CHECK_KEYS,
)
WORDS: Mapping[str, type[Enum]] = {
    "on_unknown": OnUnknown,
    "on_failure": OnFailure,
    "on_start": OnStart,
    "on_stop": OnStop,
    "own": Own,
    "drift": Drift,
}


def _names(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line.split(" = ")[0] for line in lines)


TIMING = _names(TIMING_KEYS)
CHECK = _names(CHECK_KEYS)
# By depth: the director, [services] or [checks], one service or check, one real server.
KEYS = tuple(map(_names, (DIRECTOR_KEYS, (), SERVICE_KEYS, CHECK_KEYS)))
PLACES = (
    "at the top of the file",
    "in [services]",
    "in the section of a virtual service",
    "in the section of a real server",
)
CHECKS_PLACE = "in [checks]"
SECTIONS = ("checks", "services")
SERVICE_FORMS = "[[tcp 172.25.0.10:80]], [[udp ...]], [[sctp ...]], [[fwmark 5]], [[fwmark 5 ipv6]]"
SERVER_FORMS = "[[[192.168.122.10:80]]] or [[[[fd00::20]:80]]]"
MARKERS = "a section is [services], [[tcp 172.25.0.10:80]] or [[[192.168.122.10:80]]]"

UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}) ?(ms|s|m|)")
SWITCH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def service_name(text: str) -> ServiceName:
    """Read a service's name as `str` spells it; raise ValueError for anything else."""
    words = text.split()
    if len(words) == 2 and words[0].upper() in Transport.__members__:
        try:
            return Listener(Transport[words[0].upper()], Endpoint.parse(words[1]))
        except ValueError as error:
            raise ValueError(f"{text!r} is not the name of a virtual service") from error
    if words[:1] == ["fwmark"] and words[2:] in ([], ["ipv6"]):
        mark = words[1] if len(words) > 1 else ""
        if re.fullmatch("[0-9]{1,10}", mark) and 1 <= int(mark) <= MARK_MAX:
            return Mark(int(mark), 6 if words[2:] else 4)
    raise ValueError(f"{text!r} is not the name of a virtual service")


def near(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the known word nearest to *word*, or nothing."""
    found = get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def seconds(value: Any, least: str, most: str) -> float:
    """Read 0.5, 500ms, 1.5s or 2m as seconds."""
    match = TIME.fullmatch(plain(value).lower())
    if not match:
        raise ValidateError("is not a time; write seconds, such as 0.5, or 500ms, 1.5s, 2m")
    number = float(match[1]) * UNITS[match[2]]
    if not float(least) <= number <= float(most):
        raise ValidateError(f"is out of range; write {least} to {most} seconds")
    return number


def count(value: Any, least: str, most: str) -> int:
    """Read a whole number."""
    word = plain(value)
    if not re.fullmatch("[0-9]{1,10}", word) or not int(least) <= int(word) <= int(most):
        raise ValidateError(f"is not a whole number from {least} to {most}")
    return int(word)


def choice(value: Any, *words: str) -> str:
    """Read one of *words*."""
    word = plain(value).lower()
    if word not in words:
        raise ValidateError(f"is none of {', '.join(words)}{near(word, words)}")
    return word


def switch(value: Any) -> bool:
    """Read yes or no."""
    word = plain(value).lower()
    if word not in SWITCH:
        raise ValidateError("is neither yes nor no")
    return SWITCH[word]


def plain(value: Any) -> str:
    """Return the value as written, without quotes around it."""
    word = str(value).strip()
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1].strip() if quoted else word


def text(value: Any) -> str:
    """Read any text but an empty one."""
    word = plain(value)
    if not word:
        raise ValidateError("is empty")
    return word


def token(value: Any) -> str:
    """Read one word without blanks."""
    word = text(value)
    if not word.isprintable() or " " in word:
        raise ValidateError("is not one word")
    return word


def words(value: Any) -> tuple[str, ...]:
    """Read words; blanks and commas part them, quotes hold them together."""
    return _split(value, ", \t")


def _split(value: Any, between: str = " \t") -> tuple[str, ...]:
    found: list[str] = [str(value)]
    for _ in range(2):  # a whole value in quotes is the words in it
        lexer = shlex.shlex(found[0], posix=True)
        lexer.whitespace, lexer.whitespace_split = between, True
        lexer.commenters, lexer.escape = "", ""
        try:
            found = list(lexer)
        except ValueError as error:
            raise ValidateError("has a quote that is not closed") from error
        if len(found) != 1:
            break
    if not found or not all(found):
        raise ValidateError("is empty")
    return tuple(found)


def headers(value: Any) -> tuple[str, ...]:
    """Read header lines, each in quotes of its own."""
    found = _split(value)
    for line in found:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]*", line):
            raise ValidateError(f'has {line!r}; write "Name: value", one or more')
    return found


def ranges(value: Any) -> tuple[tuple[int, int], ...]:
    """Read 200-299,304 as inclusive ranges of HTTP's status codes."""
    found = []
    for part in words(value):
        match = re.fullmatch("([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", part)
        if not match or int(match[1]) > int(match[2] or match[1]):
            raise ValidateError("is no list of status codes; write 200-299,304")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def octets(value: Any) -> bytes:
    """Read text with escapes, or hex digits behind 0x, as bytes."""
    word = text(value)
    try:
        return bytes.fromhex(word[2:]) if word[:2] == "0x" else phrasing.octets(word)
    except ValueError as error:
        what = f"{error}" if word[:2] != "0x" else "is no row of hex digits, two for each byte"
        raise ValidateError(what) from error


def talk(value: Any) -> tuple[Step, ...]:
    """Read a conversation: expect REGEX, send TEXT, tls."""
    try:
        return phrasing.conversation(_split(value))
    except ValueError as error:
        raise ValidateError(str(error)) from error


def address(value: Any) -> Address:
    """Read an IPv4 or IPv6 address."""
    word = plain(value)
    try:
        return ip_address(word[1:-1] if word[:1] == "[" and word[-1:] == "]" else word)
    except ValueError as error:
        raise ValidateError("is not an IP address") from error


def origin(value: Any) -> From | Address:
    """Read auto, none, virtual or an address of ours."""
    word = plain(value).lower()
    if word in {it.value for it in From}:
        return From(word)
    try:
        return address(value)
    except ValidateError:
        raise ValidateError("is none of auto, none, virtual, and no IP address") from None


def interface(value: Any) -> str:
    """Read the name of a network interface (linux/if.h: IFNAMSIZ)."""
    word = token(value)
    if len(word) > 15 or "/" in word:
        raise ValidateError("is not the name of an interface")
    return word


CHECKS: Mapping[str, Callable[..., Any]] = {
    "seconds": seconds,
    "count": count,
    "choice": choice,
    "switch": switch,
    "text": text,
    "token": token,
    "words": words,
    "headers": headers,
    "ranges": ranges,
    "octets": octets,
    "talk": talk,
    "address": address,
    "origin": origin,
    "interface": interface,
}
