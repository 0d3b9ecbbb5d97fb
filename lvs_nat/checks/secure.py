"""A dialogue goes on inside TLS, as far as the server's certificate is to be believed."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache, partial
from typing import NamedTuple, Union

from lvs_nat.checks import effort
from lvs_nat.checks.kind import Answer, shown
from lvs_nat.checks.stream import BUDGET, PIECE, Again, Dialogue, End, Heard
from lvs_nat.core import certificate
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Tls, Verify

# A file's last change, of its permissions as well, its inode, and its size.
Mark = tuple[int, int, int]
Marks = tuple[Mark, ...]
# Begins what is said inside, or answers at once, by the version and certificate of the server.
Begin = Callable[[ssl.SSLObject], Union[Dialogue, Answer]]

# A handshake has a chain of certificates in it, and TLS adds its own to what is said inside.
WHOLE_BUDGET = 2 * BUDGET
DAY = 86400.0
# So many days before its end a certificate is worth a word, where none were asked for.
SOON = 14
# What a record of a server's first flight may be: a handshake, or an alert (RFC 8446, 5.1).
_FIRST = (22, 21)
# x509_vfy.h, X509_V_ERR_*: not yet valid, expired; another host name, another address.
_DATES, _NAMES = (9, 10), (62, 64)
# ssl.h; Python names it since 3.12.  Servers without RFC 5746 are what clients still talk to.
_LEGACY_SERVER_CONNECT = 0x4
# What Python adds to the words of an error that OpenSSL has no name for.
_PYTHONS = re.compile(r"^\[SSL\] | \(_ssl\.c:\d+\)$")
# A server that is believed without a look may be old.
_ANY = "ALL:!aNULL:!eNULL:@SECLEVEL=0"


class Secure:
    """How TLS is spoken: the settings, and what OpenSSL makes of them and of their files.

    Raises ValueError or OSError where it cannot be.  outdated is why the files as they are by now
    cannot be used, where the context is of what they were.
    """

    def __init__(self, question: Tls) -> None:
        self.question = question
        self.outdated = ""
        self._marks = _marks(question)
        self.context = _context(question, self._marks)

    def renew(self) -> None:
        """Read its files anew where they have changed; a renewed certificate needs no reload.

        Where they cannot be used, for somebody is writing them or has erred, all is as it was.
        """
        if not _files(self.question):
            return
        before, self._marks = self._marks, ()
        try:
            marks = _marks(self.question)
            if marks != before:
                self.context, self.outdated = _context(self.question, marks), ""
            self._marks = marks
        except (OSError, ValueError) as error:
            self.outdated = f"going on with the former files: {error}"
            if isinstance(error.__cause__, ssl.SSLError):
                self._marks = marks  # what OpenSSL makes no sense of is not read for every probe


class Refusal(NamedTuple):
    """Why OpenSSL refuses a certificate.  The exception itself would hold on to the connection."""

    code: int
    words: str


def inside(question: Tls, begin: Callable[[], Dialogue]) -> tuple[Callable[[], Dialogue], int]:
    """Return how *begin* begins inside TLS, and how much may be read, as a Line has them."""
    return partial(Layer, Secure(question), lambda _: begin()), WHOLE_BUDGET


def _marks(question: Tls) -> Marks:
    """Return what tells its files from what they were; raise ValueError where one is missing."""
    return tuple(map(_mark, _files(question)))


def _mark(path: str) -> Mark:
    with _telling(path):
        found = os.stat(path)
    return found.st_ctime_ns, found.st_ino, found.st_size


def _files(question: Tls) -> list[str]:
    return [it for it in (question.ca, question.certificate, question.key) if it]


@lru_cache(maxsize=64)
def _context(question: Tls, _marks: Marks) -> ssl.SSLContext:
    """Return the context of *question*, of its files as they are.

    One context serves all servers with the same settings: the system's authorities take
    20 ms and a megabyte to load.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Every probe is a first meeting: nothing is resumed.
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    made.check_hostname = question.verify is Verify.NAME
    if question.verify is Verify.NONE:
        made.verify_mode = ssl.CERT_NONE
        made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        made.options |= _LEGACY_SERVER_CONNECT
        made.set_ciphers(_ANY)
    elif question.ca:
        with _telling(f"ca = {question.ca}"):
            made.load_verify_locations(question.ca)
    else:
        made.load_default_certs()
    # Nobody may choose the group of the key exchange: one of 10,000 bits takes us 0.9 s.
    ciphers = [it for it in made.get_ciphers() if it["protocol"] != "TLSv1.3"]
    made.set_ciphers(":".join(it["name"] for it in ciphers if it["kea"] != "kx-dhe"))
    if question.certificate:
        # No password: it would be asked of a terminal.
        with _telling(f"certificate = {question.certificate}, key = {question.key}"):
            made.load_cert_chain(question.certificate, question.key, "")
    if question.alpn:
        made.set_alpn_protocols([question.alpn])
    with _telling(f"server_name = {question.server_name}"):  # said now, not by every probe
        _shaken(_speaking(made, question, ssl.MemoryBIO(), ssl.MemoryBIO()))
    return made


@contextmanager
def _telling(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl's own are OSErrors
        raise ValueError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return OpenSSL's own words, or the system's."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return _PYTHONS.sub("", getattr(error, "strerror", None) or str(error))


def _speaking(
    context: ssl.SSLContext, question: Tls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> ssl.SSLObject:
    return context.wrap_bio(incoming, outgoing, server_hostname=question.server_name or None)


def _shaken(tls: ssl.SSLObject) -> bool:
    """Go on with the handshake; return whether it is done."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


class Layer:
    """The dialogue of TLS, and inside it the one that *begin* returns once hands are shaken.

    OpenSSL works on memory alone: what it is given is bounded, so no server can keep it busy.
    *refusal* is why the certificate was refused, if this is a look at what stands in it.
    """

    __slots__ = (
        "_ageing", "_begin", "_dialogue", "_heard", "_incoming", "_left", "_outgoing", "_tls",
        "outgoing", "refusal", "secure",
    )  # fmt: skip

    def __init__(self, secure: Secure, begin: Begin, refusal: Refusal | None = None) -> None:
        secure.renew()
        self.secure = secure
        self._begin = begin
        self.refusal = refusal
        self._dialogue: Dialogue | None = None
        self._ageing = ""
        self._heard = False
        self._left = BUDGET
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _speaking(secure.context, secure.question, self._incoming, self._outgoing)
        _shaken(self._tls)  # not yet, but its first words are there
        self.outgoing = self._outgoing.read()

    def hear(self, data: bytes) -> Heard:
        if not self._heard and data[0] not in _FIRST:
            return self._failed(f"speaks no TLS: {shown(data)}")
        self._heard = True
        self._incoming.write(data)
        try:
            heard = self._go_on()
        except ssl.SSLCertVerificationError as error:
            heard = self._distrust(Refusal(error.verify_code, error.verify_message))
        except ssl.SSLError as error:
            heard = self._failed(f"TLS: {_reason(error)}")
        self.outgoing += self._outgoing.read()  # the last may be an alert
        return self._remarked(heard) if isinstance(heard, Answer) else heard

    def end(self, why: End) -> Answer | None:
        if self._dialogue:
            answer = self._dialogue.end(why)
            return self._remarked(answer) if answer else None
        if not self.refusal and why is End.BROKEN:
            return None
        if not self.refusal and why is End.LATE and not self._heard:
            return Answer(Outcome.MUTE, "connected, but no TLS handshake in time")
        return self._remarked(self._failed(f"{why.value} before the TLS handshake was complete"))

    def _remarked(self, answer: Answer) -> Answer:
        """Return *answer*, with a word about whatever is, or soon will be, too old."""
        ageing = self._ageing if answer.outcome is Outcome.PASS else ""
        return answer._replace(
            words="; ".join(filter(None, (answer.words, ageing, self.secure.outdated)))
        )

    def _failed(self, words: str) -> Answer:
        """Return a failure: what was found at first, where this was only to look closer."""
        if self.refusal:
            words = f"certificate is not trusted: {self.refusal.words}"
        return Answer(Outcome.FAIL, words)

    def _go_on(self) -> Heard:
        dialogue = self._dialogue
        if dialogue is None:
            if not _shaken(self._tls):
                return None
            begun = self._agree()
            if isinstance(begun, Answer):
                return begun
            dialogue = self._dialogue = begun
        while True:
            self._say(dialogue)
            try:
                data = self._tls.read(min(PIECE, self._left))
            except ssl.SSLWantReadError:
                return None
            except ssl.SSLZeroReturnError:  # as b"", once we have said goodbye ourselves
                data = b""
            self._left -= len(data)
            heard = dialogue.hear(data) if data else dialogue.end(End.CLOSED)
            if heard is not None:
                self._say(dialogue)
                with suppress(ssl.SSLError):  # a goodbye, without which some servers complain
                    self._tls.unwrap()
                return heard
            if not self._left:
                return dialogue.end(End.FULL)

    def _say(self, dialogue: Dialogue) -> None:
        if dialogue.outgoing:
            self._tls.write(dialogue.outgoing)
            dialogue.outgoing = b""

    def _distrust(self, refusal: Refusal) -> Heard:
        """Return why a certificate is refused: after a second look, if that stands in it.

        OpenSSL tells nothing more of a certificate that it has refused.
        """
        if refusal.code in _DATES + _NAMES:
            question = replace(self.secure.question, verify=Verify.NONE, ca="")
            with suppress(OSError, ValueError):
                secure = Secure(question)
                secure.outdated = self.secure.outdated
                return Again(Layer(secure, self._begin, refusal))
        self.refusal = refusal
        return self._failed("")

    def _agree(self) -> Dialogue | Answer:
        """Return how it goes on once hands are shaken."""
        question = self.secure.question
        if self.refusal:
            fault = _refused(self._tls, self.refusal.code)
            return Answer(Outcome.FAIL, fault) if fault else self._failed("")
        fault = short_lived(self._tls, question.min_days) if question.min_days else ""
        self._ageing = "" if question.min_days else short_lived(self._tls, SOON)
        if question.alpn and self._tls.selected_alpn_protocol() != question.alpn:
            fault = f"the server does not speak {question.alpn} (ALPN)"
        return Answer(Outcome.FAIL, fault) if fault else self._begin(self._tls)


def seen(tls: ssl.SSLObject) -> certificate.Certificate:
    """Return what the server's certificate says; raise ValueError if that cannot be read."""
    return effort.read(certificate.read, tls.getpeercert(True) or b"")


@lru_cache(maxsize=256)
def _ends(der: bytes) -> datetime:
    return effort.read(certificate.read, der).ends


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def short_lived(tls: ssl.SSLObject, least: int) -> str:
    """Return what is wrong with a certificate that must be good for *least* days, or nothing."""
    try:
        ends = _ends(tls.getpeercert(True) or b"")
    except ValueError as error:
        return f"certificate cannot be read: {error}"
    left = (ends.timestamp() - time.time()) / DAY
    if left < 0:
        return f"certificate expired on {day(ends)}"
    return f"certificate expires on {day(ends)}, in {left:.0f} days" if left < least else ""


def _refused(tls: ssl.SSLObject, code: int) -> str:
    """Return what in the certificate itself made OpenSSL refuse it with *code*, if that is so."""
    with suppress(ValueError):
        found, now = seen(tls), datetime.now(timezone.utc)
        if code in _NAMES:
            return f"certificate is for other names: {found.shown}"
        if now > found.ends:
            return f"certificate expired on {day(found.ends)}"
        if now < found.begins:
            return f"certificate is not valid before {day(found.begins)}"
    return ""
