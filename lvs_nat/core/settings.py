"""Which settings lvs-nat.conf has, and what each may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any

from configobj.validate import ValidateError

from lvs_nat.core.setup import CheckKind, Drift, OnFailure, OnStart, OnStop, Own
from lvs_nat.model import Endpoint, Listener, Mark, ServiceName, Transport

MARK_MAX = 2**32 - 1


def _choice(choices: type[Enum]) -> str:
    return f"choice({', '.join(choice.value for choice in choices)}, default=None)"


# Nothing here has a default but None, "as written above it": defaults live in core/setup.py.
# The least interval keeps 200 servers below 4,000 probes a second; Linux repeats a lost SYN
# after 1 s, so a timeout of a minute has been asked six times.
CHECK_KEYS = (
    f"check = {_choice(CheckKind)}",
    "interval = seconds(0.05, 3600, default=None)",
    "timeout = seconds(0.01, 60, default=None)",
    "fast = seconds(0.02, 3600, default=None)",
    "fall = count(1, 100, default=None)",
    "rise = count(1, 100, default=None)",
)
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
    "[services]",
    "[[__many__]]",
    *SERVICE_KEYS,
    "[[[__many__]]]",
    *CHECK_KEYS,
)
WORDS: Mapping[str, type[Enum]] = {
    "check": CheckKind,
    "on_failure": OnFailure,
    "on_start": OnStart,
    "on_stop": OnStop,
    "own": Own,
    "drift": Drift,
}

CHECK = ("check", "interval", "timeout", "fast", "fall", "rise")
# By depth: the director, [services], one service, one real server.
KEYS = tuple(
    tuple(line.split(" = ")[0] for line in lines)
    for lines in (DIRECTOR_KEYS, (), SERVICE_KEYS, CHECK_KEYS)
)
PLACES = (
    "at the top of the file",
    "in [services]",
    "in the section of a virtual service",
    "in the section of a real server",
)
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
    if not re.fullmatch("[0-9]{1,9}", word) or not int(least) <= int(word) <= int(most):
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


CHECKS: Mapping[str, Callable[..., Any]] = {
    "seconds": seconds,
    "count": count,
    "choice": choice,
    "switch": switch,
}
