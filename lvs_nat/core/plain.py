"""Questions and checks become one line of JSON, and that line becomes the same value again."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from lvs_nat.core.questions import QUESTIONS, Step, Style, Verb, Verify
from lvs_nat.core.setup import Check, From, OnUnknown, Way

KNOWN: dict[str, Any] = {
    it.__name__: it for it in (*QUESTIONS, Check, Way, Step, Style, Verb, Verify, From, OnUnknown)
}


def spell(value: Any) -> str:
    """Return *value*, made of the classes of KNOWN and of plain values, as text.

    Equal values have equal texts.
    """
    return json.dumps(_plain(value), separators=(",", ":"))


def read(text: str) -> Any:
    """Return the value that `spell` made *text* of; raise ValueError for anything else."""
    try:
        return _value(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a value of ours: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return {type(value).__name__: value.value}
    if isinstance(value, Step):
        return {"Step": [_plain(part) for part in value]}
    if is_dataclass(value):
        parts = [_plain(getattr(value, field.name)) for field in fields(value)]
        return {type(value).__name__: parts}
    if isinstance(value, (IPv4Address, IPv6Address)):
        return {"address": str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(map(_value, plain))
    if not isinstance(plain, dict):
        return plain
    [(name, inner)] = plain.items()
    if name == "address":
        return ip_address(inner)
    if name == "bytes":
        return inner.encode("latin-1")
    made = KNOWN[name]
    if issubclass(made, Enum):
        return made(inner)
    return made(*map(_value, inner if isinstance(inner, list) else [inner]))
