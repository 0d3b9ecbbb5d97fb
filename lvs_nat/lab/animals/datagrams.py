"""Servers of UDP: to ASKED they answer ANSWERED, and NAME has the address ADDRESS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from lvs_nat.core.health import Outcome
from lvs_nat.lab.animals.animal import (
    FAILS,
    PASSES,
    REFUSES,
    SILENT,
    STALLS,
    Absent,
    Animal,
    Answering,
    Datagrams,
    Stray,
)

ASKED = b"are you well?"
ANSWERED = b"I am well."
NAME = "www.zoo.example"
ADDRESS, OTHER_ADDRESS = IPv4Address("192.0.2.80"), IPv4Address("192.0.2.81")
# What a DNS message is made of (RFC 1035, 4.1): flags and codes of its header, and its length.
RESPONSE, TRUNCATED = 0x8180, 0x0200  # with recursion desired and to be had
NO_ERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
HEADER = 12
# In a record, what stands between its name and its four bytes of data: A, IN, 60 s, 4.
BETWEEN = b"\0\1\0\1\0\0\0\x3c\0\4"
OTHER = b"\5other\7example\0\0\1\0\1"


def pointer(place: int) -> bytes:
    """Return the name that stands at *place* of the message (4.1.4)."""
    return (0xC000 | place).to_bytes(2, "big")


ABOVE = pointer(HEADER)


def record(name: bytes = ABOVE, data: bytes = ADDRESS.packed) -> bytes:
    """Return a record of type A; its name is by default what was asked for."""
    return name + BETWEEN + data


def dns(
    answer: bytes | Callable[[int], bytes],
    *,
    flags: int = NO_ERROR,
    question: bytes = b"",
    number: int = 0,
) -> Callable[[bytes], Iterable[bytes]]:
    """Return the conduct of a name server that gives the same *answer* to every question.

    It may depend on the place where it stands in the message.  *question* is said to have
    been asked, and *number* is added to that of the question.
    """

    def conduct(asked: bytes) -> Iterable[bytes]:
        # A name ends with a zero; a type and a class follow.
        said = question or asked[HEADER : asked.index(b"\0", HEADER) + 5]
        records = answer if isinstance(answer, bytes) else answer(HEADER + len(said))
        replied = (int.from_bytes(asked[:2], "big") + number) & 0xFFFF
        words = (replied, RESPONSE | flags, 1, bool(records), 0, 0)
        yield b"".join(word.to_bytes(2, "big") for word in words) + said + records

    return conduct


def elsewhere(conduct: Callable[[bytes], Iterable[bytes]]) -> Answering:
    """Return *conduct* as it is when all its answers come from another port."""
    return lambda asked: map(Stray, conduct(asked))


def _animal(name: str, right: frozenset[Outcome], conduct: Answering) -> Animal:
    return Animal(name, name.partition("-")[0], right, Datagrams(conduct))


ANIMALS = (
    _animal("udp-well", PASSES, lambda _: [ANSWERED]),
    _animal("udp-mute", SILENT, lambda _: []),
    _animal("udp-other", FAILS, lambda _: [b"I am ill."]),
    _animal("udp-empty", FAILS, lambda _: [b""]),
    _animal("udp-short", FAILS, lambda _: [ANSWERED[:2]]),
    _animal("udp-elsewhere", SILENT, elsewhere(lambda _: [ANSWERED])),
    _animal("udp-crowd", PASSES, lambda _: [Stray(b"I am ill."), ANSWERED]),
    Animal("udp-refuses", "udp", REFUSES, Absent.UNREACHABLE),
    _animal("dns-well", PASSES, dns(record())),
    _animal("dns-other-address", FAILS, dns(record(data=OTHER_ADDRESS.packed))),
    _animal("dns-no-address", FAILS, dns(b"")),
    _animal("dns-no-such-name", FAILS, dns(b"", flags=NXDOMAIN)),
    _animal("dns-ill", FAILS, dns(b"", flags=SERVFAIL)),
    _animal("dns-unwilling", FAILS, dns(b"", flags=REFUSED)),
    # Over TCP, as it says that it should be asked, it refuses.
    _animal("dns-truncated", FAILS | REFUSES, dns(b"", flags=TRUNCATED)),
    # Not the answer to what was asked: the right one may still come.
    _animal("dns-other-question", STALLS, dns(record(), question=OTHER)),
    _animal("dns-other-number", STALLS, dns(record(), number=1)),
    _animal("dns-elsewhere", SILENT, elsewhere(dns(record()))),
    _animal("dns-echo", STALLS, lambda asked: [asked]),
    # Names that are compressed to themselves, to one another, to what is not there.
    _animal("dns-loop", STALLS, dns(lambda here: record(pointer(here)))),
    _animal(
        "dns-two-loops", STALLS, dns(lambda here: record(pointer(here + 12), pointer(here) * 2))
    ),
    _animal("dns-beyond", STALLS, dns(record(pointer(0x3FFF)))),
    _animal("dns-endless-label", STALLS, dns(record(b"\x3f"))),
    _animal("dns-garbage", STALLS, lambda asked: [asked[:2] + b"\xff" * 60]),
    _animal("dns-half", STALLS, lambda asked: [asked[:7]]),
    _animal("dns-mute", SILENT, lambda _: []),
    Animal("dns-refuses", "dns", REFUSES, Absent.UNREACHABLE),
)
