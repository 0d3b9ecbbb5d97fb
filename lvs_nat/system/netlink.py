"""Requests over one generic netlink socket, in batches that are acknowledged once.

Numbers are those of the kernel's include/uapi/linux/netlink.h and genetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence

from lvs_nat.errors import KernelError

# Where a message's attributes lie: in these bytes, from here, to there.
Span = tuple[bytes, int, int]
# A command and its packed attributes.
Request = tuple[int, bytes]

NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR = 2
NLMSG_DONE = 3
GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
NLA_TYPE_MASK = 0x3FFF

# More in one send gains nothing (measured), and the errors of this many fit the socket's buffer.
BATCH = 128
# A dump is answered in pieces of at most 32 KiB (net/netlink/af_netlink.c, netlink_recvmsg).
PIECE = 64 * 1024
# A dump that another writer keeps interrupting is asked again this often.
DUMP_TRIES = 5

_MESSAGE = struct.Struct("=IHHIIBBxx")  # struct nlmsghdr, struct genlmsghdr
_HEADER = struct.Struct("=IHHI")
_HEADER_SIZE = 16
_HEADERS_SIZE = _MESSAGE.size
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_U16 = struct.Struct("=H")


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute, padded to four bytes as the next one needs it."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def offsets(span: Span) -> dict[int, int]:
    """Return where the payload of each attribute starts, by its kind."""
    data, start, end = span
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    while start < end:
        length, kind = unpack(data, start)
        if length < 4:
            raise KernelError("the kernel's answer cannot be read: an attribute has no length")
        found[kind & NLA_TYPE_MASK] = start + 4
        start += (length + 3) & ~3
    return found


def nested(data: bytes, start: int) -> Span:
    """Return the span of the attributes inside the one whose payload starts there."""
    return data, start, start - 4 + int(_U16.unpack_from(data, start - 4)[0])


class Channel:
    """One socket to one generic netlink family; opening asks the kernel for the family's number.

    timeout is how many seconds an answer may take.  Whenever an answer is lost or late,
    KernelError says so and the socket is replaced: what the kernel has done is then unknown and
    must be read.  Raises KernelError with errno ENOENT where the kernel has no such family.
    """

    def __init__(self, family: str, version: int, timeout: float) -> None:
        self._version = version
        self._timeout = timeout
        self._sequence = 0
        self._family = GENL_ID_CTRL
        self._socket = self._open()
        try:
            self._family = self._resolve(family)
        except KernelError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket; the kernel keeps its table."""
        self._socket.close()

    def ask(self, command: int, attributes: bytes = b"") -> Span:
        """Return the one answer to a question."""
        answers = self._exchange(NLM_F_REQUEST | NLM_F_ACK, command, attributes)
        if len(answers) != 1:
            raise KernelError(f"the kernel gave {len(answers)} answers to one question")
        return answers[0]

    def dump(self, command: int, attributes: bytes = b"") -> list[Span]:
        """Return every row of a listing, all of one moment as far as the kernel can tell."""
        for _ in range(DUMP_TRIES):
            rows = self._exchange(NLM_F_REQUEST | NLM_F_DUMP, command, attributes)
            if not any(_interrupted(row) for row in rows):
                return rows
        raise KernelError("the kernel's table changes faster than it can be read", errno.EINTR)

    def send(self, requests: Sequence[Request]) -> dict[int, int]:
        """Carry out up to BATCH requests in order; return the errno of each one refused.

        Refusals are keyed by position.  A refused request does not stop the ones after it.
        """
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(requests)
        packed = [
            self._message(NLM_F_REQUEST, command, attributes, sequence)
            for sequence, (command, attributes) in enumerate(requests[:-1], first)
        ]
        packed.append(self._message(NLM_F_REQUEST | NLM_F_ACK, *requests[-1], last))
        refused = {}
        self._write(b"".join(packed))
        for kind, _, sequence, (data, start, _) in self._answers():
            if kind != NLMSG_ERROR or not first <= sequence <= last:
                continue
            if error := -_ERROR.unpack_from(data, start)[0]:
                refused[sequence - first] = error
            if sequence == last:
                break
        return refused

    def _exchange(self, flags: int, command: int, attributes: bytes) -> list[Span]:
        self._sequence += 1
        self._write(self._message(flags, command, attributes, self._sequence))
        rows = []
        for kind, _, sequence, (data, start, end) in self._answers():
            if sequence != self._sequence:
                continue
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                if error := -_ERROR.unpack_from(data, start)[0]:
                    raise KernelError(f"the kernel refused to answer: {errno_name(error)}", error)
                break
            rows.append((data, start + _HEADERS_SIZE - _HEADER_SIZE, end))
        return rows

    def _message(self, flags: int, command: int, attributes: bytes, sequence: int) -> bytes:
        size = _HEADERS_SIZE + len(attributes)
        header = _MESSAGE.pack(size, self._family, flags, sequence, 0, command, self._version)
        return header + attributes
