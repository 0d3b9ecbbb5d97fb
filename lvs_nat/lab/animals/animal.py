"""The words of the zoo: what an animal is, how it lives, what a check must say of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, cycle
from typing import Union

from lvs_nat.core.health import Outcome

# What a check that asks the zoo's question may say.  Where two are named the server may be
# judged by what has come, or by what has not come in time.
PASSES = frozenset({Outcome.PASS})
REFUSES = frozenset({Outcome.REFUSED})
SILENT = frozenset({Outcome.SILENT})
MUTE = frozenset({Outcome.MUTE})
FAILS = frozenset({Outcome.FAIL})
STALLS = SILENT | MUTE | FAILS


class Act(Enum):
    """What a server does beside saying bytes and pausing for seconds."""

    HEAR = "hear"  # wait for the client to say something
    STAY = "stay"  # stay until the client leaves, whatever it says
    SHUT = "shut"  # say that nothing more will be said (FIN), but stay
    RESET = "reset"  # leave with a reset


# Bytes are said, and a number is seconds of rest.
Deed = Union[bytes, float, Act]
# The life of one connection: HEAR gives what the client has said; the end is a close.
Script = Generator[Deed, bytes, None]
Conduct = Callable[[], Script]


@dataclass(frozen=True)
class Stray:
    """An answer that comes from another port than the one that was asked."""

    data: bytes


Answering = Callable[[bytes], Iterable[Union[bytes, Stray]]]


@dataclass(frozen=True)
class Stream:
    """A TCP server; with a certificate (a name of `tls.CERTIFICATES`) it speaks inside TLS."""

    conduct: Conduct
    certificate: str = ""


@dataclass(frozen=True)
class Datagrams:
    """A UDP server: what it answers to one datagram."""

    conduct: Answering


class Absent(Enum):
    """Ports behind which nobody answers."""

    REFUSING = "a closed TCP port"
    FULL = "a TCP port that answers no SYN: its queue is full"
    UNREACHABLE = "a closed UDP port"


Den = Union[Stream, Datagrams, Absent]


@dataclass(frozen=True)
class Animal:
    """One server: its name, the kind of check that it is for, the right verdicts, its life."""

    name: str
    kind: str
    right: frozenset[Outcome]
    den: Den

    @property
    def well(self) -> bool:
        return self.right == PASSES


def told(*deeds: Deed, over: Sequence[Deed] = ()) -> Conduct:
    """Return the conduct of a server that does *deeds*, and then *over* over and over."""

    def conduct() -> Script:
        for deed in chain(deeds, cycle(over)):  # noqa: UP028 - no iterator can be told anything
            yield deed

    return conduct
