"""Does the real server answer ICMP echo requests?  Asked without privilege (icmp(7))."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Mapping
from errno import EACCES
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Ping
from lvs_nat.core.setup import Target

# Type, code, checksum, identifier, sequence number: the kernel fills in the third and fourth.
_HEADER = struct.Struct("!BBHHH")


class Version(NamedTuple):
    """How one version of IP writes it (RFC 792, RFC 4443); receive_errors as linux/in.h has it."""

    protocol: int
    request: int
    reply: int
    level: int
    receive_errors: int


VERSIONS: Mapping[int, Version] = {
    socket.AF_INET: Version(socket.IPPROTO_ICMP, 8, 0, socket.IPPROTO_IP, 11),
    socket.AF_INET6: Version(socket.IPPROTO_ICMPV6, 128, 129, socket.IPPROTO_IPV6, 25),
}


class Plan(NamedTuple):
    """Whom to ask, and what."""

    towards: sockets.Where
    question: Ping


class Asking(NamedTuple):
    """Echo requests that have been sent."""

    socket: socket.SocketType
    reply: int
    place: str
    data: bytes
    events: int = select.EPOLLIN

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


def prepare(target: Target) -> Plan:
    """Return what `start` is to be called with for *target*."""
    question = target.check.question
    assert isinstance(question, Ping)
    return Plan(sockets.where(target), question)


def start(plan: Plan) -> Asking | Answer:
    """Send the requests, at once: one of them may get lost."""
    towards, question = plan
    version = VERSIONS[towards.family]
    try:
        asking = sockets.make(towards, socket.SOCK_DGRAM, version.protocol)
    except PermissionError as error:
        if error.errno != EACCES:
            raise  # of the interface
        return forbidden(os.getegid())
    data = os.urandom(question.size)
    try:
        # Else an unreachable host would only be silent.
        asking.setsockopt(version.level, version.receive_errors, 1)
        asking.connect(towards.place)
        for number in range(question.count):
            asking.send(_HEADER.pack(version.request, 0, 0, 0, number) + data)
    except OSError:
        asking.close()
        raise
    return Asking(asking, version.reply, towards.place[0], data)


def forbidden(group: int) -> Answer:
    """Return the answer where the kernel lets this process's group not ping."""
    words = "this director may not ping: sysctl net.ipv4.ping_group_range must take in the group"
    return Answer(Outcome.UNKNOWN, f"{words} {group}, such as 0 2147483647")


def proceed(asking: Asking, events: int) -> Answer | None:
    """Return the answer if it is one: the kernel hands over whatever has the identifier."""
    try:
        received, source = asking.socket.recvfrom(len(asking.data) + _HEADER.size + 1)
    except BlockingIOError:
        return None
    except OSError as error:
        return judge(error.errno or 0)
    echoed = received[:1] == bytes((asking.reply,)) and received[_HEADER.size :] == asking.data
    if not echoed or source[0] != asking.place:
        return None
    return Answer(Outcome.PASS, "answered")


KIND = Kind(prepare, start, proceed, steps=True)
