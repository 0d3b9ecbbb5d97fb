"""What the director orders of its prober, as records of one datagram each.

An order is a number of records of one generation: one for each check that is asked, then
those that name the targets.  The prober obeys once it has them all.  A haste is one record, and
no more than a hint.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Union

from lvs_nat.core import plain
from lvs_nat.core.setup import Check, Target
from lvs_nat.core.wire import RECORD
from lvs_nat.model import Endpoint

_CHECK = struct.Struct("=cII")  # kind, generation, number
_ORDER = struct.Struct("=cIII")  # kind, generation, targets in all, number of the first here
_TARGET = struct.Struct("=B?16sHI")  # version, path, address, port, number of the check
_HASTE = struct.Struct("=cI")  # kind, generation; then the targets' numbers
_NUMBER = struct.Struct("=I")
HASTE = b"N"  # how a haste begins; an order begins otherwise


class CheckNamed(NamedTuple):
    """The check that targets of the same generation call by *number*; they come after it."""

    generation: int
    number: int
    check: Check


class Part(NamedTuple):
    """A part of what is to be asked: targets from number *first* on, of *total*.

    Each is an endpoint, whether it is asked for the way back, and the number of its check.
    """

    generation: int
    total: int
    first: int
    targets: tuple[tuple[Endpoint, bool, int], ...]


Order = Union[CheckNamed, Part]


class Haste(NamedTuple):
    """Targets, by their numbers in an order of that generation, that are to be asked at once."""

    generation: int
    numbers: tuple[int, ...]


def pack(generation: int, targets: Sequence[Target]) -> Iterator[bytes]:
    """Yield the records that tell a prober to ask *targets* and nobody else.

    Raises ValueError for a check that no record can hold.
    """
    numbers: dict[int, int] = {}  # of checks by identity: thousands of targets share a few
    known: dict[str, int] = {}
    for check in {id(it.check): it.check for it in targets}.values():
        text = plain.spell(check)
        if text not in known:
            known[text] = len(known)
            record = _CHECK.pack(b"C", generation, known[text]) + text.encode()
            if len(record) > RECORD:
                raise ValueError(f"a check of {len(record)} bytes is too long")
            yield record
        numbers[id(check)] = known[text]
    room = (RECORD - _ORDER.size) // _TARGET.size
    for first in range(0, len(targets) or 1, room):
        part = targets[first : first + room]
        head = _ORDER.pack(b"T", generation, len(targets), first)
        yield head + b"".join(_pack_target(it, numbers[id(it.check)]) for it in part)


def _pack_target(target: Target, number: int) -> bytes:
    endpoint = target.endpoint
    address = endpoint.address
    return _TARGET.pack(address.version, target.path, address.packed, endpoint.port, number)


def unpack(record: bytes) -> Order:
    """Read a record that `pack` made; raise ValueError for anything else."""
    try:
        if record[:1] == b"C":
            _, generation, number = _CHECK.unpack_from(record)
            check = plain.read(record[_CHECK.size :].decode())
            if not isinstance(check, Check):
                raise ValueError("not a check")
            return CheckNamed(generation, number, check)
        kind, generation, total, first = _ORDER.unpack_from(record)
        targets = tuple(_targets(record[_ORDER.size :]))
    except struct.error as error:
        raise ValueError(f"not an order: {error}") from error
    if kind != b"T" or first + len(targets) > total:
        raise ValueError("not an order")
    return Part(generation, total, first, targets)


def _targets(entries: bytes) -> Iterator[tuple[Endpoint, bool, int]]:
    for version, path, packed, port, number in _TARGET.iter_unpack(entries):
        address = IPv6Address(packed) if version == 6 else IPv4Address(packed[:4])
        yield Endpoint(address, port), path, number


def pack_haste(generation: int, numbers: Sequence[int]) -> bytes:
    """Return the record of a haste, with as many of *numbers* as it can hold."""
    numbers = numbers[: (RECORD - _HASTE.size) // _NUMBER.size]
    return _HASTE.pack(HASTE, generation) + b"".join(map(_NUMBER.pack, numbers))


def unpack_haste(record: bytes) -> Haste:
    """Read a record that `pack_haste` made; raise ValueError for anything else."""
    try:
        kind, generation = _HASTE.unpack_from(record)
        numbers = tuple(number for (number,) in _NUMBER.iter_unpack(record[_HASTE.size :]))
    except struct.error as error:
        raise ValueError(f"not a haste: {error}") from error
    if kind != HASTE:
        raise ValueError("not a haste")
    return Haste(generation, numbers)


class Hearing:
    """Orders as they come in, record by record; `take` returns one once it is whole."""

    def __init__(self) -> None:
        self._generation = -1
        self._checks: dict[int, Check] = {}
        self._targets: list[Target] = []

    def take(self, record: bytes) -> tuple[int, list[Target]] | None:
        """Return the generation and the targets of an order that *record* completes.

        A part without its beginning, meant for a prober that is dead, is dropped.  Raises
        ValueError for a record that is none of an order.
        """
        order = unpack(record)
        if order.generation != self._generation:
            self._generation, self._checks, self._targets = order.generation, {}, []
        if isinstance(order, CheckNamed):
            self._checks[order.number] = order.check
            return None
        whole = order.first == len(self._targets)
        if not whole or not {number for _, _, number in order.targets} <= self._checks.keys():
            return None
        self._targets += [
            Target(endpoint, self._checks[number], path) for endpoint, path, number in order.targets
        ]
        if len(self._targets) < order.total:
            return None
        targets, self._targets = self._targets, []
        return order.generation, targets
