"""Is a datagram answered, or at least not refused?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.datagrams import Datagrams, kind
from lvs_nat.checks.kind import Answer, shown
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Udp
from lvs_nat.core.setup import Target

# So much of an unexpected answer is shown.
SHOWN = 16
UNREFUSED = Answer(Outcome.PASS, "nothing refused it: not checked")


class Plan(NamedTuple):
    """Whom to ask, and what."""

    towards: sockets.Where
    question: Udp


def prepare(target: Target) -> Plan:
    """Return what `start` is to be called with for *target*."""
    question = target.check.question
    assert isinstance(question, Udp)
    return Plan(sockets.where(target), question)


def start(plan: Plan) -> Datagrams:
    """Send the datagram."""
    question = plan.question
    silence = None if question.reply else UNREFUSED
    return Datagrams(plan.towards, question.send, partial(judged, question), silence)


def judged(question: Udp, answer: bytes) -> Answer:
    """Return whether *answer* is as the question wants it."""
    size = f"answered with {len(answer)} bytes"
    if len(answer) < question.least:
        return Answer(Outcome.FAIL, f"{size}, fewer than {question.least}")
    if len(answer) > question.most:
        return Answer(Outcome.FAIL, f"{size}, more than {question.most}")
    expect = question.expect
    mask = question.mask or b"\xff" * len(expect)
    if len(answer) < len(expect) or any(
        (got ^ wanted) & bits for got, wanted, bits in zip(answer, expect, mask)
    ):
        return Answer(
            Outcome.FAIL, f"{size} that do not begin as they should: {shown(answer, SHOWN)}"
        )
    return Answer(Outcome.PASS, size)


KIND = kind(prepare, start)
