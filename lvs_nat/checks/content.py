"""Is the body of an answer what the question wants it to be?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lvs_nat.checks.effort import SEARCHING, Effort, read
from lvs_nat.checks.kind import shown
from lvs_nat.core.questions import Http

# Returns what is wrong with a body, "" if nothing; whole says whether it is all there.
Judge = Callable[[bytes, bool], str]

_LONG = "its body is longer than is read (64 KiB)"


def judges(question: Http) -> tuple[Judge, ...]:
    """Return what a body must satisfy; nothing, where any will do."""
    found = []
    if question.text:
        found.append(_contains(question.text.encode()))
    if question.regex:
        found.append(_matches(re.compile(question.regex.encode())))
    if question.digest:
        found.append(_digest(question.digest))
    if question.json:
        found.append(_json(*question.json.partition("=")[::2]))
    return tuple(found)


def _within(whole: bool) -> str:
    return "" if whole else " in its first 64 KiB"


def _contains(text: bytes) -> Judge:
    def judge(body: bytes, whole: bool) -> str:
        return "" if text in body else f"its body has no {shown(text)}{_within(whole)}"

    return judge


def _matches(pattern: re.Pattern[bytes]) -> Judge:
    def judge(body: bytes, whole: bool) -> str:
        if Effort(SEARCHING).spend(pattern.search, body):
            return ""
        return f"its body does not match {shown(pattern.pattern)}{_within(whole)}"

    return judge


def _digest(wanted: str) -> Judge:
    # MD5 stands in imported configurations; it is asked for no secret.
    kind = "md5" if len(wanted) == 32 else "sha256"
    import hashlib  # all of OpenSSL comes with it, 3 MB

    def judge(body: bytes, whole: bool) -> str:
        if not whole:
            return _LONG
        found = hashlib.new(kind, body, usedforsecurity=False).hexdigest()
        return "" if found == wanted else f"its body has the digest {found}"

    return judge


def _json(pointer: str, wanted: str) -> Judge:
    tokens = [it.replace("~1", "/").replace("~0", "~") for it in pointer.split("/")[1:]]

    def judge(body: bytes, whole: bool) -> str:
        if not whole:
            return _LONG
        try:
            value = read(_value, body)
        except (ValueError, RecursionError):
            return f"its body is no JSON: {shown(body)}"
        try:
            found = _text(_at(value, tokens))
        except LookupError:
            return f"its JSON has no {pointer}"
        # Half a pair of surrogates is a string of JSON, and no text (RFC 8259, 8.2).
        said = found.encode(errors="backslashreplace")
        return "" if found == wanted else f"{pointer} is {shown(said)}"

    return judge


def _value(text: bytes) -> Any:
    # Numbers stay as they are written, however many digits they have.
    return json.loads(text, parse_int=str, parse_float=str)


def _at(value: Any, tokens: list[str]) -> Any:
    """Return what the pointer of *tokens* names in *value* (RFC 6901); raise LookupError."""
    for token in tokens:
        if isinstance(value, dict):
            value = value[token]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token):
            value = value[int(token)]
        else:
            raise LookupError(token)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
