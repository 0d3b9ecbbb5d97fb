"""Does a SYN bring a SYN-ACK?  Asked of all servers through the same raw sockets.

The ports that the SYNs come from are held by sockets that never connect: nobody else gets
them, and this machine's own TCP, which knows of no connection, resets what a SYN-ACK would
have begun.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import NOTHING_LENT, Answer, Kind, Lent, judge, unasked
from lvs_nat.checks.segments import Place, Post, Segment
from lvs_nat.checks.tcp import CONNECTED
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target
from lvs_nat.system import raw

NO_SOCKET = Answer(
    Outcome.UNKNOWN, "this director has no raw socket; it must be started with CAP_NET_RAW, as root"
)
REFUSED = judge(errno.ECONNREFUSED)
SYN_ACK, RST_ACK, ACK = 0x12, 0x14, 0x10
_FLAGS = 0x17  # FIN, SYN, RST, ACK
# A server is asked from two ports in turn: what a lost reset has left of one question is gone
# when the same port comes again.
TURNS = 2
# So many times at most a turn reads; the rest waits for the next.
READS = 16

Answers = list["tuple[Any, Answer]"]


class Wire(NamedTuple):
    """How one version of IP looks to a raw socket, and what its errors mean.

    answer reads a segment, error an ICMP error and the segment that it is about: code, source,
    destination, ports and sequence number.  errnos are the kernel's own for codes; what is not
    among them is a host that cannot be reached.
    """

    anywhere: str
    wanted: raw.Wanted
    answer: struct.Struct
    error_wanted: raw.Wanted
    error: struct.Struct
    errnos: dict[int, int]


WIRES: Mapping[int, Wire] = {
    socket.AF_INET: Wire(
        "0.0.0.0",  # noqa: S104
        raw.Wanted(34, {0: 0x45}, 22),  # no options of IP
        # Addresses and ports, acknowledgement number, flags.
        struct.Struct(f"!12x12s4xIxB{Post.ROOM - 34}x"),
        # Destination unreachable, about a segment of TCP.
        raw.Wanted(56, {0: 0x45, 20: 3, 28: 0x45, 37: socket.IPPROTO_TCP}, 48),
        struct.Struct("!21xB18x4s4s2s2sI"),
        # icmp_err_convert in net/ipv4/icmp.c
        {
            0: errno.ENETUNREACH, 2: errno.ENOPROTOOPT, 3: errno.ECONNREFUSED,
            6: errno.ENETUNREACH, 9: errno.ENETUNREACH, 11: errno.ENETUNREACH,
        },
    ),
    socket.AF_INET6: Wire(
        "::",
        raw.Wanted(14, {}, 2),
        # Ports, acknowledgement number, flags.
        struct.Struct(f"!4s4xIxB{Post.ROOM - 14}x"),
        raw.Wanted(56, {0: 1, 14: socket.IPPROTO_TCP}, 48),
        struct.Struct("!xB14x16s16s2s2sI"),
        # tab_unreach in net/ipv6/icmp.c
        {
            0: errno.ENETUNREACH, 1: errno.EACCES, 4: errno.ECONNREFUSED, 5: errno.EACCES,
            6: errno.EACCES,
        },
    ),
}  # fmt: skip
_SOURCES = struct.Struct("8x16s4x")  # struct sockaddr_in6


class Question:
    """A server to be asked, and the segments that ask it once they are made.

    asker is whom the answer is for, segment the one under way, repeated whether it was sent
    twice.
    """

    __slots__ = ("asker", "family", "repeated", "segment", "segments", "turn", "where")

    def __init__(self, where: sockets.Where) -> None:
        self.where = where
        self.family = where.family
        self.segments: list[Segment] = []
        self.segment: Segment | None = None
        self.turn = 0
        self.repeated = False
        self.asker: Any = None


class Syns:
    """All questions of this kind, by the raw sockets that were lent."""

    def __init__(self, lent: Sequence[socket.socket]) -> None:
        self._tcp: dict[int, socket.socket] = {}
        self._icmp: dict[int, socket.socket] = {}
        for one in lent:
            (self._tcp if one.proto == socket.IPPROTO_TCP else self._icmp)[one.family] = one
        self._families = {it.fileno(): it.family for it in lent}
        self._held: dict[int, list[socket.socket]] = {family: [] for family in self._tcp}
        self._waiting: dict[bytes, Question] = {}
        self._post = Post()

    def filenos(self) -> Sequence[int]:
        return tuple(self._families)

    def close(self) -> None:
        """Give the ports away; the raw sockets are whose they were."""
        for held in self._held.values():
            for one in held:
                one.close()

    def ask(self, asked: Sequence[tuple[Question, Any]]) -> Answers:
        """Send a SYN for each question; return those that could not be asked."""
        ended: Answers = []
        leaving: dict[int, list[Question]] = {family: [] for family in self._tcp}
        waiting = self._waiting
        for question, asker in asked:
            question.asker = asker
            question.repeated = False
            question.turn = turn = question.turn + 1
            try:
                segments = question.segments or self._make(question)
                segment = segments[turn % TURNS]
                if segment.key in waiting:
                    segment = self._other(question)
                leaving[question.family].append(question)
            except KeyError:
                ended.append((asker, NO_SOCKET))
            except OSError as error:
                ended.append((asker, unasked(error.errno or 0)))
            else:
                question.segment = segment
                waiting[segment.key] = question
        for family, questions in leaving.items():
            if questions:
                ended += self._send(self._tcp[family].fileno(), questions)
        return ended

    def answers(self, fd: int) -> Answers:
        """Read what has come, and return who is answered."""
        family = self._families[fd]
        if fd != self._tcp[family].fileno():
            return self._errors(self._icmp[family])
        ended: Answers = []
        again = []
        for _ in range(READS):
            number = self._post.receive(fd)
            for key, acknowledged, flags in self._read(family, number):
                question = self._waiting.get(key)
                if question is None or question.segment is None:
                    continue
                flags &= _FLAGS
                if acknowledged == question.segment.acknowledged:
                    if flags == SYN_ACK:
                        ended.append((question.asker, CONNECTED))
                    elif flags == RST_ACK:
                        ended.append((question.asker, REFUSED))
                    else:
                        continue
                    del self._waiting[key]
                elif flags == ACK and not question.repeated:
                    # Half of an older connection, which this machine's reset has just ended
                    # (RFC 9293, 3.5.2).
                    question.repeated = True
                    again.append(question)
            if number < Post.MANY:
                break
        return ended + self._send(fd, again) if again else ended

    def forget(self, question: Question) -> None:
        """Wait for no answer any more; the way may have changed, and is looked up anew."""
        assert question.segment is not None
        del self._waiting[question.segment.key]
        question.segments = []

    def _send(self, fd: int, questions: Sequence[Question]) -> Answers:
        messages = [question.segment.message for question in questions if question.segment]
        ended: Answers = []
        for place, number in self._post.send(fd, messages):
            self.forget(questions[place])
            ended.append((questions[place].asker, unasked(number)))
        return ended

    def _read(self, family: int, number: int) -> Iterable[tuple[bytes, int, int]]:
        wire = WIRES[family]
        read = wire.answer.iter_unpack(memoryview(self._post.data)[: number * Post.ROOM])
        if family == socket.AF_INET:
            return read
        names = memoryview(self._post.names)[: number * _SOURCES.size]
        return (
            (source + ports, acknowledged, flags)
            for (source,), (ports, acknowledged, flags) in zip(_SOURCES.iter_unpack(names), read)
        )

    def _errors(self, hearing: socket.socket) -> Answers:
        return list(self._unreachable(hearing, WIRES[hearing.family]))

    def _unreachable(self, hearing: socket.socket, wire: Wire) -> Iterator[tuple[Any, Answer]]:
        for _ in range(READS * Post.MANY):
            try:
                packet = hearing.recv(wire.error.size)
            except OSError:
                return
            if len(packet) < wire.error.size:
                continue
            code, source, address, ours, theirs, number = wire.error.unpack(packet)
            key = address + (source if hearing.family == socket.AF_INET else b"") + theirs + ours
            question = self._waiting.get(key)
            if question is None or question.segment is None:
                continue
            if (number + 1) & 0xFFFFFFFF == question.segment.acknowledged:
                self.forget(question)
                yield question.asker, judge(wire.errnos.get(code, errno.EHOSTUNREACH))

    def _make(self, question: Question) -> list[Segment]:
        """Make the segments of a question that has none; raise OSError where no way leads."""
        place = _place(question.where)
        ports = self._ports(place.family, TURNS)
        question.segments = [Segment(place, port) for port in ports]
        return question.segments

    def _other(self, question: Question) -> Segment:
        """Return a segment from a port that nobody asks this server from just now."""
        place = _place(question.where)
        number = 0
        while True:
            number += 1
            segment = Segment(place, self._ports(place.family, number)[-1])
            if segment.key not in self._waiting:
                return segment

    def _ports(self, family: int, number: int) -> list[int]:
        """Return the first *number* ports that are held, of which more are taken if need be."""
        held = self._held[family]
        if len(held) < number:
            while len(held) < number:
                held.append(_hold(family))
            ports = [one.getsockname()[1] for one in held]
            wire = WIRES[family]
            raw.hear(self._tcp[family], wire.wanted, ports)
            if family in self._icmp:
                raw.hear(self._icmp[family], wire.error_wanted, ports)
        return [one.getsockname()[1] for one in held[:number]]


def _hold(family: int) -> socket.socket:
    """Return a socket that keeps a port, of every address, for us."""
    holder = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    holder.bind((WIRES[family].anywhere, 0))
    return holder


def _place(where: sockets.Where) -> Place:
    """Return where the segments go, and from which address; raise OSError without a way."""
    family, (host, port) = where.family, where.place
    with closing(sockets.make(where, socket.SOCK_DGRAM)) as asking:
        asking.connect((host, port or 9))  # sends nothing
        source = asking.getsockname()[0]
    interface = socket.if_nametoindex(where.interface.decode()) if where.interface else 0
    address, ours = (socket.inet_pton(family, it.partition("%")[0]) for it in (host, source))
    return Place(family, address, port, ours, interface)


def prepare(target: Target) -> Question:
    """Return the question for *target*."""
    return Question(sockets.where(target))


def kind(lent: Lent = NOTHING_LENT) -> Kind:
    """Return how SYNs are sent, through the raw sockets that were *lent*."""
    if not any(it.proto == socket.IPPROTO_TCP for it in lent.raw):
        return Kind(prepare, lambda _: NO_SOCKET)
    return Kind(prepare, batch=Syns(lent.raw))
