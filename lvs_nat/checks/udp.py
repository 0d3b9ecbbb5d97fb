"""Is a datagram answered, or at least not refused?"""

from __future__ import annotations

import select
import socket
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge, shown
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Udp
from lvs_nat.core.setup import Target

# No UDP datagram is longer.
LONGEST = 65535
# So much of an unexpected answer is shown.
SHOWN = 16
UNREFUSED = Answer(Outcome.PASS, "nothing refused it: not checked")


class Plan(NamedTuple):
    """Whom to ask, and what."""

    towards: sockets.Where
    question: Udp


class Asking(NamedTuple):
    """A datagram that has been sent."""

    socket: socket.SocketType
    question: Udp
    events: int = select.EPOLLIN

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


def prepare(target: Target) -> Plan:
    """Return what `start` is to be called with for *target*."""
    question = target.check.question
    assert isinstance(question, Udp)
    return Plan(sockets.where(target), question)


def start(plan: Plan) -> Asking:
    """Send the datagram."""
    return Asking(sockets.datagram(plan.towards, plan.question.send), plan.question)


def proceed(asking: Asking, events: int) -> Answer | None:
    """Return what the answer, or the ICMP error in its place, says."""
    try:
        answer = asking.socket.recv(LONGEST)
    except BlockingIOError:
        return None  # a datagram whose checksum was wrong
    except OSError as error:
        return judge(error.errno or 0)
    return judged(asking.question, answer)


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


def overdue(asking: Asking) -> Answer | None:
    """Return what silence means."""
    return None if asking.question.reply else UNREFUSED


KIND = Kind(prepare, start, proceed, steps=True, overdue=overdue)
