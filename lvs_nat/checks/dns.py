"""Is a DNS question answered as it should be?"""

from __future__ import annotations

import os
from functools import partial
from typing import NamedTuple, Union

from lvs_nat.checks import sockets, stream
from lvs_nat.checks.datagrams import LONGEST, Datagrams, unanswered
from lvs_nat.checks.effort import READING, Effort, TooSlow
from lvs_nat.checks.kind import Answer, Kind
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Dns
from lvs_nat.core.setup import Target

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype
except ImportError as error:
    raise ImportError("check = dns needs dnspython, the package python3-dns") from error

TORN = Answer(Outcome.FAIL, "the connection or the time ended before its answer was whole")
HEADER = 12  # bytes before the question (RFC 1035, 4.1.1)
# No answer by UDP may have more than 512 bytes unless the question says that more are taken (RFC
# 1035, 4.2.1; RFC 6891, 6.2.3).  Servers that send more all the same keep to this as a rule.
MOST = 4096
# With one of these a server may leave the question out: it has not understood it, or not looked.
CURT = frozenset({dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED})
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Plan(NamedTuple):
    """Whom to ask; the message but for its id, where it has letters, and the answer wanted."""

    towards: sockets.Where
    message: bytes
    letters: tuple[int, ...]
    rcode: dns.rcode.Rcode
    type: dns.rdatatype.RdataType
    answer: dns.rdata.Rdata | None
    tcp: bool


def prepare(target: Target) -> Plan:
    """Return the plan for *target*; raise ValueError where its question cannot be one."""
    question = target.check.question
    assert isinstance(question, Dns)
    try:
        kind = dns.rdatatype.from_text(question.type)
        query = dns.message.make_query(question.name, kind, id=0)
        answer = _rdata(question.answer, kind) if question.answer else None
        rcode = dns.rcode.from_text(question.rcode)
        message = query.to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        words = " ".join(filter(None, (question.name, question.type, question.answer)))
        raise ValueError(f"{words} is no question of DNS: {error}") from error
    letters = tuple(it for it in range(HEADER, len(message) - 4) if message[it] in _LETTERS)
    where = sockets.where(target)
    return Plan(where, message, letters, rcode, kind, answer, question.tcp)


def _rdata(text: str, kind: dns.rdatatype.RdataType) -> dns.rdata.Rdata:
    root = dns.name.root
    return dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=root, relativize=False)


def start(plan: Plan) -> Asking:
    """Send the question, or begin to."""
    if plan.tcp:
        return _over_tcp(plan)
    message = shuffled(plan)
    return Datagrams(plan.towards, message, partial(_heard, plan, message, Effort(READING)))


def shuffled(plan: Plan) -> bytes:
    """Return the question with an id and letters, upper case or lower, that nobody can guess.

    A server repeats both in its answer (draft-vixie-dnsext-dns0x20).
    """
    message = bytearray(plan.message)
    message[:2] = os.urandom(2)
    bits = int.from_bytes(os.urandom(32), "big")
    for number, place in enumerate(plan.letters):
        message[place] ^= 0x20 * (bits >> number & 1)
    return bytes(message)


def _heard(plan: Plan, asked: bytes, effort: Effort, received: bytes) -> Answer | Asking | str:
    """Return the answer; where it was cut short, the same question over TCP."""
    if len(received) > MOST:
        return f"one of {len(received)} bytes, for which nobody has asked"
    read = _read(received, asked, effort)
    if isinstance(read, str):
        return read
    cut = read.flags & dns.flags.TC and plan.answer is not None
    if cut and read.rcode() == plan.rcode:
        return _over_tcp(plan)
    return effort.spend(judged, read, plan)


class Dialogue:
    """The same over TCP: a length of two bytes goes before each message (RFC 1035, 4.2.2)."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._asked = shuffled(plan)
        self._heard = b""
        self.outgoing = len(self._asked).to_bytes(2, "big") + self._asked

    def hear(self, data: bytes) -> Answer | None:
        """Return the answer once the message is whole."""
        self._heard += data
        length = 2 + int.from_bytes(self._heard[:2], "big")
        if len(self._heard) < length or len(self._heard) < 2:
            return None
        effort = Effort(READING)
        read = _read(self._heard[2:length], self._asked, effort)
        if isinstance(read, str):
            return unanswered(read)
        return effort.spend(judged, read, self._plan)

    def end(self, why: stream.End) -> Answer | None:
        """Return what it means that no more will come."""
        return stream.MUTE if why is stream.End.LATE and not self._heard else TORN


Asking = Union[Datagrams, stream.Stream]


def _over_tcp(plan: Plan) -> stream.Stream:
    return stream.start(stream.Line(plan.towards, lambda: Dialogue(plan), 2 + LONGEST))


def _read(received: bytes, asked: bytes, effort: Effort) -> dns.message.Message | str:
    """Return the message that answers the question *asked*, or what else it is, in words.

    Raises TooSlow: the names in one message can point into each other, and make a few
    kilobytes of it the work of many seconds.
    """
    if len(received) < HEADER or received[:2] != asked[:2] or not received[2] & 0x80:
        return "a message that answers nothing of ours"
    curt = received[4:6] == b"\0\0" and received[3] & 0xF in CURT
    repeated, question = received[HEADER : len(asked)], asked[HEADER:]
    if repeated.lower() != question.lower() and not curt:
        return "the answer to another one"
    if repeated != question and not curt:
        return "one that does not repeat its letters as they were"
    try:
        return effort.spend(dns.message.from_wire, received)
    except TooSlow:
        raise
    except Exception:  # no bytes from outside may end the prober
        return "a message that cannot be read"


def judged(read: dns.message.Message, plan: Plan) -> Answer:
    """Return whether the message is as it should be."""
    rcode = dns.rcode.to_text(read.rcode())
    if read.rcode() != plan.rcode:
        return Answer(Outcome.FAIL, f"answered {rcode}, not {dns.rcode.to_text(plan.rcode)}")
    found = [rdata for rrset in read.answer if rrset.rdtype == plan.type for rdata in rrset]
    if plan.answer is None or plan.answer in found:
        return Answer(Outcome.PASS, f"answered {rcode}")
    have = ", ".join(map(str, found)) or f"nothing of type {dns.rdatatype.to_text(plan.type)}"
    return Answer(Outcome.FAIL, f"answered {have}, not {plan.answer}")


KIND = Kind(
    prepare,
    start,
    lambda asking, events: asking.proceed(events),
    steps=True,
    overdue=lambda asking: asking.overdue(),
    reached=lambda asking: asking.reached(),
)
