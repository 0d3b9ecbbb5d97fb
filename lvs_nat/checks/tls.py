"""Does a TLS handshake succeed, and is the server's certificate good?"""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial

from lvs_nat.checks import secure, sockets, stream
from lvs_nat.checks.kind import Answer
from lvs_nat.checks.secure import WHOLE_BUDGET, Layer
from lvs_nat.checks.stream import Dialogue, End, Line
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Tls, Verify
from lvs_nat.core.setup import Target


def prepare(target: Target) -> Line:
    """Return the line on which *target* is asked."""
    question = target.check.question
    assert isinstance(question, Tls)
    layer = partial(Layer, secure.Secure(question), partial(_shaken, question))
    return Line(sockets.where(target), layer, WHOLE_BUDGET)


def _shaken(question: Tls, tls: ssl.SSLObject) -> Dialogue | Answer:
    words = f"{tls.version()} handshake"
    asked = question.verify is not Verify.NONE or question.min_days
    if asked and not secure.short_lived(tls, secure.SOON):
        with suppress(ValueError):  # OpenSSL understands it, and that is enough
            words += f", certificate valid until {secure.day(secure.seen(tls).ends)}"
    return part(tls, Answer(Outcome.PASS, words))


def part(tls: ssl.SSLObject, answer: Answer) -> Dialogue | Answer:
    """Say goodbye; return the dialogue that comes to *answer*, or that where nothing can follow."""
    with suppress(ssl.SSLError):
        tls.unwrap()
    return Parting(answer) if tls.version() == "TLSv1.3" else answer


class Parting:
    """Waits for what the server says to a goodbye.

    In TLS 1.3 the client is through before the server has looked at the client's certificate
    (RFC 8446, 4.4.2.4); a server that refuses us for it, or for having none, says so only now.
    One that says nothing until the deadline has nothing against us.
    """

    __slots__ = ("_answer", "outgoing")

    def __init__(self, answer: Answer) -> None:
        self.outgoing = b""
        self._answer = answer

    def hear(self, data: bytes) -> Answer:
        return self._answer

    def end(self, why: End) -> Answer:
        return self._answer


KIND = stream.kind(prepare)
