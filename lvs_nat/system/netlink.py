"""Requests over one generic netlink socket, in batches that are acknowledged once.

Numbers are those of the kernel's include/uapi/linux/netlink.h and genetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from lvs_nat.errors import KernelError

# Where attributes lie: in these bytes, from here, to there.
Span = tuple[bytes, int, int]
# A command with its packed attributes.
Request = tuple[int, bytes]

# As many messages in one send as pay (measured); their errors fit the socket's receive buffer.
BATCH = 128
# A dump comes in pieces of at most 32 KiB (net/netlink/af_netlink.c, netlink_recvmsg).
PIECE = 64 * 1024
# How often a dump is begun again because somebody changed what it lists.
DUMP_TRIES = 5

NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
NLA_TYPE_MASK = 0x3FFF

_REQUEST = struct.Struct("=IHHIIBBxx")  # struct nlmsghdr, then struct genlmsghdr
_HEADER = struct.Struct("=IHHIxxxx")  # struct nlmsghdr, the receiver's port left out
_FENCE = struct.Struct("=IHHII")
_GENERIC_HEADER = 4
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_U16 = struct.Struct("=H")


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute, padded to four bytes as the next one needs it."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def offsets(span: Span) -> dict[int, int]:
    """Return where the payload of each attribute starts, by the attribute's kind."""
    data, start, end = span
    unpack = _ATTRIBUTE.unpack_from
    found = {}
    while start < end:
        length, kind = unpack(data, start)
        if length < 4:
            raise KernelError("the kernel's answer cannot be read: an attribute without length")
        found[kind & NLA_TYPE_MASK] = start + 4
        start += (length + 3) & ~3
    return found


def nested(data: bytes, start: int) -> Span:
    """Return the span of the attributes inside the one whose payload starts there."""
    return data, start, start - 4 + int(_U16.unpack_from(data, start - 4)[0])


class Channel:
    """One socket to one generic netlink family, whose number is asked for at opening.

    timeout is how many seconds one answer may take.  Where an answer is lost or late,
    KernelError says so; what the kernel has done is then unknown, so read it.  The socket is
    replaced, so that no late answer can be taken for another.  Opening raises KernelError with
    errno ENOENT where the kernel has no such family.  A family whose module was unloaded and
    is there again has another number, which questions find out.
    """

    def __init__(self, family: str, version: int, timeout: float) -> None:
        self._timeout = timeout
        self._version = version
        self._name = family
        self._family = GENL_ID_CTRL
        self._sequence = 0
        self._socket = _connected(timeout)
        try:
            self._family = self._resolve()
        except KernelError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, command: int, attributes: bytes = b"") -> Span:
        """Return the one answer to a question."""
        rows, _ = self._answered(NLM_F_REQUEST | NLM_F_ACK, command, attributes)
        if len(rows) != 1:
            raise KernelError(f"the kernel gave {len(rows)} answers to one question")
        return rows[0]

    def dump(self, command: int, attributes: bytes = b"") -> list[Span]:
        """Return every row of a list."""
        for _ in range(DUMP_TRIES):
            rows, interrupted = self._answered(NLM_F_REQUEST | NLM_F_DUMP, command, attributes)
            if not interrupted:
                return rows
        raise KernelError("the kernel's table changes faster than it can be read", errno.EINTR)

    def send(self, requests: Sequence[Request]) -> dict[int, int]:
        """Carry out up to BATCH requests in order; return the errno of each refused one.

        Refusals are keyed by position.  A refused request does not stop those after it.
        """
        first, fence = self._sequence + 1, self._sequence + len(requests) + 1
        self._sequence = fence
        packed = [
            self._message(NLM_F_REQUEST, command, attributes, sequence)
            for sequence, (command, attributes) in enumerate(requests, first)
        ]
        # The kernel acknowledges no request that ends in EINTR, as stopping a sync daemon that
        # has only been started may (netlink_rcv_skb).  So nothing real is what it acknowledges.
        packed.append(_FENCE.pack(_FENCE.size, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, fence, 0))
        self._write(b"".join(packed))
        refused = {}
        for kind, _, sequence, (data, start, _) in self._answers():
            if sequence == fence:
                break
            if kind == NLMSG_ERROR:
                refused[sequence - first] = -_ERROR.unpack_from(data, start)[0]
        return refused

    def _answered(self, flags: int, command: int, attributes: bytes) -> tuple[list[Span], bool]:
        """Exchange a question; where nobody has the family's number any more, find it out."""
        try:
            return self._exchange(flags, command, attributes)
        except KernelError as error:
            if error.errno != errno.ENOENT or not self._renumbered():
                raise
            return self._exchange(flags, command, attributes)

    def _renumbered(self) -> bool:
        """Ask for the family's number, which loads its module; say whether it is another now."""
        if self._family == GENL_ID_CTRL:
            return False
        before, self._family = self._family, GENL_ID_CTRL
        try:
            self._family = self._resolve()
        except KernelError:
            self._family = before
        return self._family != before

    def _exchange(self, flags: int, command: int, attributes: bytes) -> tuple[list[Span], bool]:
        self._sequence += 1
        self._write(self._message(flags, command, attributes, self._sequence))
        rows = []
        seen = 0
        for kind, had, _, (data, start, end) in self._answers():
            seen |= had
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                if error := -_ERROR.unpack_from(data, start)[0]:
                    raise KernelError(f"the kernel does not answer: {os.strerror(error)}", error)
                break
            rows.append((data, start + _GENERIC_HEADER, end))
        return rows, bool(seen & NLM_F_DUMP_INTR)

    def _message(self, flags: int, command: int, attributes: bytes, sequence: int) -> bytes:
        size = _REQUEST.size + len(attributes)
        header = _REQUEST.pack(size, self._family, flags, sequence, 0, command, self._version)
        return header + attributes

    def _answers(self) -> Iterator[tuple[int, int, int, Span]]:
        # The kind, the flags and the sequence number of each message, and where its body lies.
        while True:
            data, start = self._read(), 0
            while start < len(data):
                length, kind, flags, sequence = _HEADER.unpack_from(data, start)
                yield kind, flags, sequence, (data, start + _HEADER.size, start + length)
                start += (length + 3) & ~3

    def _write(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise self._lost(error) from error

    def _read(self) -> bytes:
        try:
            return self._socket.recv(PIECE)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> KernelError:
        self._socket.close()
        self._socket = _connected(self._timeout)
        # A time-out of Python's has no errno of its own before 3.10.
        number = errno.ETIMEDOUT if isinstance(error, socket.timeout) else error.errno or 0
        text = f"the kernel's answer was lost, so its table must be read: {os.strerror(number)}"
        return KernelError(text, number)

    def _resolve(self) -> int:
        name = attribute(CTRL_ATTR_FAMILY_NAME, self._name.encode() + b"\0")
        span = self.ask(CTRL_CMD_GETFAMILY, name)
        return int(_U16.unpack_from(span[0], offsets(span)[CTRL_ATTR_FAMILY_ID])[0])


def _connected(timeout: float) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    try:
        opened.settimeout(timeout)
        # An error need not carry the request back; its sequence number says which it was.
        opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        opened.connect((0, 0))
    except OSError:
        opened.close()
        raise
    return opened
