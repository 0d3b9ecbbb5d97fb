"""Servers inside TLS: a check trusts the zoo's own authority, and expects the name NAME."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from lvs_nat.lab.animals import http
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
    Deed,
    Script,
    Stream,
    told,
)

NAME = "www.zoo.example"
AUTHORITY = "authority.pem"
WELL, EXPIRED, OTHER_NAME, FOREIGN = CERTIFICATES = (
    "well.pem", "expired.pem", "other-name.pem", "foreign.pem",
)  # fmt: skip
BEGAN, ENDED = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2001, 2002))
# The header of a handshake record of 16,384 bytes; a fatal alert, handshake_failure.
RECORD = b"\x16\x03\x03\x40\x00"
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
GARBAGE = bytes(range(256)) * 4  # no record of TLS begins with a zero


def certify(folder: Path) -> None:
    """Write AUTHORITY and the files of CERTIFICATES, each a key before its chain."""
    import trustme  # only whoever keeps the animals needs it

    ours, foreign = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(folder / AUTHORITY))
    for name, leaf in {
        WELL: ours.issue_cert(NAME),
        EXPIRED: ours.issue_cert(NAME, not_before=BEGAN, not_after=ENDED),
        OTHER_NAME: ours.issue_cert("www.other.example"),
        FOREIGN: foreign.issue_cert(NAME),
    }.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / name))


def context(path: Path) -> ssl.SSLContext:
    """Return how a server speaks that has the certificate *path*."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


def inside(script: Script, context: ssl.SSLContext) -> Script:
    """Return what *script* is when it is spoken inside TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)

    def patiently(step: Callable[[], bytes | None]) -> Generator[Deed, bytes, bytes]:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                yield outgoing.read()
                incoming.write((yield Act.HEAR))
            else:
                yield outgoing.read()
                return result or b""

    try:
        yield from patiently(tls.do_handshake)
        heard = b""
        with suppress(StopIteration):
            while True:
                deed = script.send(heard) if heard else next(script)
                heard = b""
                if deed is Act.HEAR:
                    heard = yield from patiently(tls.read)
                elif isinstance(deed, bytes):
                    tls.write(deed)
                    yield outgoing.read()
                else:
                    yield deed
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
    except ssl.SSLError:
        pass  # the client has no trust in us, or has left; an alert may be on its way
    yield outgoing.read()


ANIMALS = (
    Animal("tls-well", "tls", PASSES, Stream(told(Act.STAY), WELL)),
    Animal("tls-expired", "tls", FAILS, Stream(told(Act.STAY), EXPIRED)),
    Animal("tls-other-name", "tls", FAILS, Stream(told(Act.STAY), OTHER_NAME)),
    Animal("tls-foreign", "tls", FAILS, Stream(told(Act.STAY), FOREIGN)),
    Animal("tls-mute", "tls", MUTE, Stream(told(Act.STAY))),
    Animal("tls-drip", "tls", STALLS, Stream(told(Act.HEAR, RECORD, over=(b"\2", 1.0)))),
    Animal("tls-garbage", "tls", FAILS, Stream(told(Act.HEAR, GARBAGE, Act.STAY))),
    Animal("tls-plain", "tls", FAILS, Stream(told(Act.HEAR, http.BAD_REQUEST, Act.STAY))),
    Animal("tls-alert", "tls", FAILS, Stream(told(Act.HEAR, ALERT))),
    Animal("tls-closes", "tls", FAILS, Stream(told(Act.HEAR))),
    Animal("tls-reset", "tls", FAILS, Stream(told(Act.HEAR, RECORD, http.APART, Act.RESET))),
    Animal("tls-refuses", "tls", REFUSES, Absent.REFUSING),
    Animal("tls-silent", "tls", SILENT, Absent.FULL),
    Animal("https-well", "https", PASSES, Stream(http.WELL["well"], WELL)),
    Animal("https-expired", "https", FAILS, Stream(http.WELL["well"], EXPIRED)),
    Animal("https-other-name", "https", FAILS, Stream(http.WELL["well"], OTHER_NAME)),
    *(
        Animal(f"https-{name}", "https", http.ILL[name][0], Stream(http.ILL[name][1], WELL))
        for name in ("error", "mute", "drip-body", "endless-body", "body-too-short")
    ),
)
