"""What the prober tells the director: packed on one side, distrusted on the other.

One record is one datagram of at most RECORD bytes.  What comes from the prober is believed
only in its form: whatever is malformed raises ValueError, and all that is well formed is a
verdict, a load or words that can do no more than be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Union

from lvs_nat.core.health import Outcome, Verdict, Weight
from lvs_nat.model import WEIGHT_MAX

# Four of these fit the 212,992 bytes that a socket buffer has by default (socket(7)).
RECORD = 48 * 1024
WORDS = 200
# Nothing is due or takes longer than this many seconds; infinity and NaN are not times.
LONGEST = 1e9

_VERDICTS = struct.Struct("=cI")  # kind, generation
# Number, outcome, times, latency, next in, how the weight is meant, weight, bytes of words.
_VERDICT = struct.Struct("=IBBddBdB")
_NO_WEIGHT, _A_SHARE, _A_WEIGHT = range(3)
_LOAD = struct.Struct("=cQIIId")
_OUTCOMES = tuple(Outcome)
_SOME = 50  # probes that one verdict can stand for at most


class Told(NamedTuple):
    """A verdict on the target of a number, and the seconds to that target's next probe.

    times says how many probes in a row, at most 50, have ended as well, or as badly, since
    the last time the target was told of.
    """

    number: int
    verdict: Verdict
    next_in: float
    times: int = 1


class Verdicts(NamedTuple):
    """Verdicts on targets of one generation of orders."""

    generation: int
    told: tuple[Told, ...]


class Hello(NamedTuple):
    """A prober has started and knows nothing yet."""


class Load(NamedTuple):
    """How the prober fares; lag is its loop's worst lateness in seconds since the last load.

    probes counts those that have ended, looked_again those asked anew because the prober
    itself was late, both since it started; in_flight are under way of at most *room*.
    """

    probes: int
    looked_again: int
    in_flight: int
    room: int
    lag: float


class Trouble(NamedTuple):
    """A fault of the prober's own, in words."""

    words: str


class Lost(NamedTuple):
    """A prober has ended, and how; the spawner tells it."""

    words: str


Report = Union[Verdicts, Hello, Load, Trouble, Lost]

HELLO = b"H"


def pack_verdicts(generation: int, told: Iterable[Told]) -> Iterator[tuple[bytes, int]]:
    """Yield records that hold *told*, each with the number of verdicts in it."""
    head = _VERDICTS.pack(b"V", generation)
    parts, size = [head], len(head)
    for number, verdict, next_in, times in told:
        words = _bounded(verdict.words)
        meant, weight = _NO_WEIGHT, 0.0
        if verdict.weight:
            meant, weight = _A_SHARE if verdict.weight.share else _A_WEIGHT, verdict.weight.value
        entry = _VERDICT.pack(
            number, verdict.outcome.value, min(times, _SOME), verdict.latency, next_in,
            meant, weight, len(words),
        )  # fmt: skip
        if size + len(entry) + len(words) > RECORD:
            yield b"".join(parts), len(parts) - 1
            parts, size = [head], len(head)
        parts.append(entry + words)
        size += len(entry) + len(words)
    if len(parts) > 1:
        yield b"".join(parts), len(parts) - 1


def pack_load(load: Load) -> bytes:
    """Return the record of *load*."""
    return _LOAD.pack(b"B", *load)


def pack_trouble(words: str) -> bytes:
    """Return the record of a fault, with as many of *words* as it can hold."""
    return b"T" + _bounded(words)


def pack_lost(words: str) -> bytes:
    """Return the record of a prober's end, with as many of *words* as it can hold."""
    return b"L" + _bounded(words)


def unpack_report(record: bytes) -> Report:
    """Read a record that came from the prober's side; raise ValueError for anything else."""
    kind = record[:1]
    try:
        if kind == b"V":
            return Verdicts(_VERDICTS.unpack_from(record)[1], tuple(_told(record)))
        if kind == b"B":
            load = Load(*_LOAD.unpack(record)[1:])
            return load._replace(lag=_time(load.lag))
        if kind == b"T":
            return Trouble(_words(record[1:]))
        if kind == b"L":
            return Lost(_words(record[1:]))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a record that ends too soon: {error}") from error
    if record == HELLO:
        return Hello()
    raise ValueError(f"a record of no known kind, {kind!r}")


def _told(record: bytes) -> Iterator[Told]:
    place = _VERDICTS.size
    while place < len(record):
        number, outcome, times, latency, next_in, meant, weight, length = _VERDICT.unpack_from(
            record, place
        )
        place += _VERDICT.size
        words = record[place : place + length]
        place += length
        if len(words) != length or not 1 <= times <= _SOME:
            raise ValueError("a verdict without all its words, or of no probe or too many")
        verdict = Verdict(_OUTCOMES[outcome], _words(words), _time(latency), _weight(meant, weight))
        yield Told(number, verdict, _time(next_in), times)


def _weight(meant: int, value: float) -> Weight | None:
    if meant not in (_NO_WEIGHT, _A_SHARE, _A_WEIGHT) or not 0.0 <= value <= WEIGHT_MAX:
        raise ValueError(f"{value} is no weight")
    return None if meant == _NO_WEIGHT else Weight(value, meant == _A_SHARE)


def _time(seconds: float) -> float:
    if not 0.0 <= seconds <= LONGEST:
        raise ValueError(f"{seconds} is no number of seconds")
    return seconds


def _bounded(words: str) -> bytes:
    """Return *words* as at most WORDS bytes that end with a whole letter."""
    if not words.isprintable():
        words = "".join(letter if letter.isprintable() else "?" for letter in words)
    return words.encode(errors="replace")[:WORDS].decode(errors="ignore").encode()


def _words(raw: bytes) -> str:
    if len(raw) > WORDS:
        raise ValueError(f"words of {len(raw)} bytes, more than {WORDS}")
    words = raw.decode()
    if not words.isprintable():
        raise ValueError("words that would do more to a terminal than be read")
    return words
