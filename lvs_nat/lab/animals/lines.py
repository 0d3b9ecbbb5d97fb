"""Servers of TCP alone, and of mail: lines of text in turn."""

from __future__ import annotations

from collections.abc import Collection

from lvs_nat.lab.animals.animal import (
    FAILS,
    MUTE,
    PASSES,
    REFUSES,
    SILENT,
    STALLS,
    Absent,
    Act,
    Animal,
    Conduct,
    Deed,
    Script,
    Stream,
    told,
)
from lvs_nat.lab.animals.http import APART, SLOW, by_bits, flood

GREETING = b"220 mail.zoo.example ESMTP\r\n"
REPLIES = {
    b"HELO": b"250 mail.zoo.example\r\n",
    b"EHLO": b"250-mail.zoo.example\r\n250 8BITMIME\r\n",
    b"NOOP": b"250 OK\r\n",
    b"QUIT": b"221 Bye\r\n",
}


def mail(*greeting: Deed, refused: Collection[bytes] = ()) -> Conduct:
    """Return the conduct of a mail server; *refused* are words it does not know."""

    def conduct() -> Script:
        yield from greeting
        heard = b""
        while True:
            while b"\r\n" not in heard:
                heard += yield Act.HEAR
            line, _, heard = heard.partition(b"\r\n")
            word = line[:4].upper()
            known = word in REPLIES and word not in refused
            yield REPLIES[word] if known else b"502 Command not implemented\r\n"
            if word == b"QUIT":
                return

    return conduct


def _tcp(name: str, *deeds: Deed) -> Animal:
    # A handshake is all that is asked of these.
    return Animal(f"tcp-{name}", "tcp", PASSES, Stream(told(*deeds)))


ANIMALS = (
    _tcp("well", Act.STAY),
    _tcp("closes", Act.SHUT, Act.STAY),
    _tcp("resets", Act.RESET),
    Animal("tcp-refuses", "tcp", REFUSES, Absent.REFUSING),
    Animal("tcp-silent", "tcp", SILENT, Absent.FULL),
    Animal("smtp-well", "smtp", PASSES, Stream(mail(GREETING))),
    Animal("smtp-slow", "smtp", PASSES, Stream(mail(SLOW, GREETING))),
    Animal("smtp-by-bits", "smtp", PASSES, Stream(mail(*by_bits(GREETING, 5, 0.01)))),
    Animal("smtp-two-lines", "smtp", PASSES, Stream(mail(b"220-Welcome\r\n", APART, GREETING))),
    Animal("smtp-closed", "smtp", FAILS, Stream(mail(b"554 No mail here\r\n"))),
    Animal("smtp-busy", "smtp", FAILS, Stream(told(b"421 Too busy\r\n", Act.SHUT, Act.STAY))),
    Animal("smtp-no-helo", "smtp", FAILS, Stream(mail(GREETING, refused=(b"HELO", b"EHLO")))),
    Animal("smtp-mute", "smtp", MUTE, Stream(told(Act.STAY))),
    Animal("smtp-drip", "smtp", STALLS, Stream(told(b"220 ", over=(b"x", 1.0)))),
    Animal("smtp-endless-line", "smtp", STALLS, Stream(told(b"220 ", over=(flood(b"x"),)))),
    Animal("smtp-endless-lines", "smtp", STALLS, Stream(told(over=(flood(b"220-x\r\n"),)))),
    Animal("smtp-closes", "smtp", FAILS, Stream(told(Act.SHUT, Act.STAY))),
    Animal("smtp-resets", "smtp", FAILS, Stream(told(GREETING[:9], APART, Act.RESET))),
    Animal("smtp-garbage", "smtp", FAILS, Stream(told(b"\0\xff\r\n" * 20, Act.STAY))),
)
