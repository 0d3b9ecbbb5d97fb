"""What stands behind a setting's = becomes a value, or a sentence about why it cannot."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any

from configobj.validate import ValidateError

from lvs_nat.core import phrasing
from lvs_nat.core.questions import Step
from lvs_nat.core.setup import From
from lvs_nat.model import Address, Endpoint

UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}) ?(ms|s|m|)")
SWITCH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


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
            raise ValidateError('has what is no header; write "Name: value", one or more')
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


def share(value: Any) -> float:
    """Read a percentage as a share of 1."""
    match = re.fullmatch("([0-9]{1,3}(?:\\.[0-9]{1,3})?) ?%", plain(value))
    if not match or float(match[1]) > 100:
        raise ValidateError("is no percentage; write 50%")
    return float(match[1]) / 100


def endpoints(value: Any) -> tuple[Endpoint, ...]:
    """Read addresses with ports, blanks or commas between them."""
    try:
        return tuple(map(Endpoint.parse, words(value)))
    except ValueError as error:
        raise ValidateError("is no address and port; write 192.168.122.99:80") from error


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
    "share": share,
    "endpoints": endpoints,
}
