"""Does the real server answer ICMP echo requests?  Asked without privilege (icmp(7))."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from errno import EACCES, EMSGSIZE, EREMOTEIO
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.kind import Answer, Kind, judge
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Ping
from lvs_nat.core.setup import Target

# Type, code, checksum, identifier, sequence number: the kernel fills in the third and fourth.
_HEADER = struct.Struct("!BBHHH")
# What a router says of the way alone: a shorter one is known, or the next packet must be shorter.
# An echo may be on its way all the same.
PASSING = frozenset({EREMOTEIO, EMSGSIZE})
# struct sock_extended_err begins with the errno; a socket's address follows it.
_ERRNO = struct.Struct("=I")
_ROOM = socket.CMSG_SPACE(64)


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
        asking.send(_HEADER.pack(version.request, 0, 0, 0, 0) + data)
    except OSError:
        asking.close()
        raise
    for number in range(1, question.count):
        with suppress(OSError):  # what the first has met by now; that is told to `proceed` as well
            asking.send(_HEADER.pack(version.request, 0, 0, 0, number) + data)
    return Asking(asking, version.reply, towards.place[0], data)


def forbidden(group: int) -> Answer:
    """Return the answer where the kernel lets this process's group not ping."""
    words = "this director may not ping: sysctl net.ipv4.ping_group_range must take in the group"
    return Answer(Outcome.UNKNOWN, f"{words} {group}, such as 0 2147483647")


def proceed(asking: Asking, events: int) -> Answer | None:
    """Return the answer if it is one: the kernel hands over whatever has the identifier."""
    if events & select.EPOLLERR:
        for number in _told(asking.socket):
            if number not in PASSING:
                return judge(number)
    try:
        received, source = asking.socket.recvfrom(len(asking.data) + _HEADER.size + 1)
    except BlockingIOError:
        return None
    except OSError as error:
        return None if error.errno in PASSING else judge(error.errno or 0)
    echoed = received[:1] == bytes((asking.reply,)) and received[_HEADER.size :] == asking.data
    if not echoed or source[0] != asking.place:
        return None
    return Answer(Outcome.PASS, "answered")


def _told(asking: socket.SocketType) -> Iterator[int]:
    """Yield the errno of each ICMP error that is kept, of which the poll would tell for ever."""
    while True:
        try:
            _, kept, _, _ = asking.recvmsg(0, _ROOM, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return
        for _, _, error in kept:
            yield _ERRNO.unpack_from(error)[0]


KIND = Kind(prepare, start, proceed, steps=True)
