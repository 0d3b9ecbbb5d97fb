"""The records between director and prober, packed and unpacked.

One record is one datagram of at most RECORD bytes.  What the prober sends is not believed
further than its form: a malformed record raises ValueError, and all it can say is a verdict.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Union

from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.setup import Check, CheckKind, Target
from lvs_nat.model import Endpoint

RECORD = 48 * 1024
WORDS = 200

_TARGETS = struct.Struct("<cIII")  # kind, generation, how many in all, number of the first
_TARGET = struct.Struct("<B16sHBdddHH")  # family, address, port, check
_VERDICTS = struct.Struct("<cI")  # kind, generation
_VERDICT = struct.Struct("<IBddB")  # number, outcome, latency, next in, length of the words
_KINDS = tuple(CheckKind)


class Order(NamedTuple):
    """A part of what is to be asked: targets from number *first* on, of *total*."""

    generation: int
    total: int
    first: int
    targets: tuple[Target, ...]


class Told(NamedTuple):
    """One verdict on the target of a number; next_in is seconds to the next probe."""

    number: int
    verdict: Verdict
    next_in: float


class Verdicts(NamedTuple):
    """Verdicts on targets of one generation of orders."""

    generation: int
    told: tuple[Told, ...]


class Hello(NamedTuple):
    """A prober has started and knows nothing yet."""


class Lost(NamedTuple):
    """A prober has ended, and how."""

    words: str


Report = Union[Verdicts, Hello, Lost]

HELLO = b"H"


def pack_order(generation: int, targets: Sequence[Target]) -> Iterator[bytes]:
    """Yield the records that tell a prober to ask *targets* and nobody else."""
    room = (RECORD - _TARGETS.size) // _TARGET.size
    for first in range(0, len(targets) or 1, room):
        part = targets[first : first + room]
        head = _TARGETS.pack(b"T", generation, len(targets), first)
        yield head + b"".join(map(_pack_target, part))


def _pack_target(target: Target) -> bytes:
    endpoint, check = target.endpoint, target.check
    return _TARGET.pack(
        endpoint.address.version,
        endpoint.address.packed.ljust(16, b"\0"),
        endpoint.port,
        _KINDS.index(check.kind),
        check.interval,
        check.timeout,
        check.fast,
        check.fall,
        check.rise,
    )


def unpack_order(record: bytes) -> Order:
    """Read a record that `pack_order` made; raise ValueError for anything else."""
    try:
        kind, generation, total, first = _TARGETS.unpack_from(record)
        entries = list(_TARGET.iter_unpack(record[_TARGETS.size :]))
    except struct.error as error:
        raise ValueError(f"not an order: {error}") from error
    if kind != b"T":
        raise ValueError(f"an order of unknown kind {kind!r}")
    return Order(generation, total, first, tuple(_target(*entry) for entry in entries))


def _target(
    family: int,
    packed: bytes,
    port: int,
    kind: int,
    interval: float,
    timeout: float,
    fast: float,
    fall: int,
    rise: int,
) -> Target:
    if family not in (4, 6) or kind >= len(_KINDS):
        raise ValueError("an order for an address or a check that does not exist")
    address = IPv4Address(packed[:4]) if family == 4 else IPv6Address(packed)
    check = Check(_KINDS[kind], interval, timeout, fast, fall, rise)
    return Target(Endpoint(address, port), check)


def pack_verdicts(generation: int, told: Sequence[Told]) -> Iterator[bytes]:
    """Yield the records that tell a director *told*; long words are cut at WORDS bytes."""
    head = _VERDICTS.pack(b"V", generation)
    record = head
    for number, verdict, next_in in told:
        words = verdict.words.encode()[:WORDS]
        entry = _VERDICT.pack(number, verdict.outcome.value, verdict.latency, next_in, len(words))
        if len(record) + len(entry) + len(words) > RECORD:
            yield record
            record = head
        record += entry + words
    yield record


def pack_lost(words: str) -> bytes:
    """Return the record that a prober has ended."""
    return b"L" + words.encode()[:WORDS]


def unpack_report(record: bytes) -> Report:
    """Read a record that came from the prober's side; raise ValueError for nonsense."""
    if record == HELLO:
        return Hello()
    if record[:1] == b"L":
        return Lost(_words(record[1 : 1 + WORDS]))
    if record[:1] != b"V":
        raise ValueError(f"a record of unknown kind {record[:1]!r}")
    try:
        return Verdicts(_VERDICTS.unpack_from(record)[1], tuple(_told(record)))
    except struct.error as error:
        raise ValueError(f"a record cut short: {error}") from error


def _told(record: bytes) -> Iterator[Told]:
    place = _VERDICTS.size
    while place < len(record):
        number, outcome, latency, next_in, length = _VERDICT.unpack_from(record, place)
        place += _VERDICT.size
        words = record[place : place + length]
        place += length
        if len(words) != length or not (latency >= 0 and 0 <= next_in < 1e9):
            raise ValueError("a verdict cut short or out of range")
        yield Told(number, Verdict(Outcome(outcome), _words(words), latency), next_in)


def _words(raw: bytes) -> str:
    """Return text that cannot do more to a terminal or a log than be read."""
    text = raw.decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
