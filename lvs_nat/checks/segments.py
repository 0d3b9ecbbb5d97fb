"""SYN segments lie ready in memory as sendmmsg() wants them, and go out many at a time."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Ports, sequence numbers, length and flags, window, checksum, urgent, and the option that every
# SYN has: the largest segment.
_SEGMENT = struct.Struct("!HHIIHHHHI")
_SYN = _SEGMENT.size // 4 << 12 | 0x002
_WINDOW = 64240
_LARGEST: Mapping[int, int] = {
    socket.AF_INET: 0x02040000 | 1460,
    socket.AF_INET6: 0x02040000 | 1440,
}
IP_PKTINFO, IPV6_PKTINFO = 8, 50  # linux/in.h, linux/in6.h


class _Vector(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr"""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vectors_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr: a header, and how much was sent or received."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class Place(NamedTuple):
    """Where a segment goes to, and where from; addresses as they are packed."""

    family: int
    address: bytes
    port: int
    source: bytes
    interface: int = 0


class Segment:
    """One SYN: the message that sends it, and how its answer is known.

    key tells the answer by its addresses and ports (raw sockets of IPv6 do not tell ours);
    acknowledged is the number that it must have.  The memory that the message points to lives
    as long as this does.
    """

    __slots__ = ("_memory", "acknowledged", "key", "message")

    def __init__(self, place: Place, port: int) -> None:
        cookie = int.from_bytes(os.urandom(4), "big")
        ports = struct.pack("!HH", place.port, port)
        ours = place.source if place.family == socket.AF_INET else b""
        self.key = place.address + ours + ports
        self.acknowledged = (cookie + 1) & 0xFFFFFFFF
        name, control, data = _name(place), _control(place), _segment(place, port, cookie)
        # All in one place, so that the kernel has little to fetch.
        head = ctypes.sizeof(_Vector)
        self._memory = ctypes.create_string_buffer(bytes(head) + name + control + data)
        vector = _Vector.from_buffer(self._memory)
        base = ctypes.addressof(self._memory) + head
        vector.base, vector.length = base + len(name) + len(control), len(data)
        header = _Header(base, len(name), ctypes.pointer(vector), 1, base + len(name), len(control))
        self.message = bytes(_Message(header))


def _name(place: Place) -> bytes:
    """Return the address as bind(2) has it; its port is not the segment's business."""
    if place.family == socket.AF_INET:
        return struct.pack("=HH4s8x", place.family, 0, place.address)
    # Padded, so that what follows it lies on a whole word.
    return struct.pack("=HHI16sI4x", place.family, 0, 0, place.address, 0)


def _control(place: Place) -> bytes:
    """Return what fixes the source: where it is ours no more, sending fails and says so."""
    if place.family == socket.AF_INET:
        data = struct.pack("=i4s4x", place.interface, place.source)
        level, kind = socket.IPPROTO_IP, IP_PKTINFO
    else:
        data = struct.pack("=16si", place.source, place.interface)
        level, kind = socket.IPPROTO_IPV6, IPV6_PKTINFO
    length = struct.calcsize("Nii") + len(data)
    whole = struct.pack("Nii", length, level, kind) + data
    return whole.ljust(-(-length // struct.calcsize("N")) * struct.calcsize("N"), b"\0")


def _segment(place: Place, port: int, cookie: int) -> bytes:
    parts = (port, place.port, cookie, 0, _SYN, _WINDOW)
    option = _LARGEST[place.family]
    unsummed = _SEGMENT.pack(*parts, 0, 0, option)
    pseudo = place.source + place.address
    pseudo += struct.pack("!II", len(unsummed), socket.IPPROTO_TCP)  # RFC 8200, 8.1
    return _SEGMENT.pack(*parts, checksum(pseudo + unsummed), 0, option)


def checksum(data: bytes) -> int:
    """Return the checksum of IP and TCP (RFC 1071) over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Post:
    """Sends messages, and receives them, many in one call."""

    MANY = 256  # messages that are received at a time
    ROOM = 64  # bytes of each that are looked at

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._sendmmsg, self._recvmmsg = libc.sendmmsg, libc.recvmmsg
        self.data = bytearray(self.MANY * self.ROOM)
        self.names = bytearray(self.MANY * 28)  # of IPv6
        data = (ctypes.c_char * len(self.data)).from_buffer(self.data)
        names = (ctypes.c_char * len(self.names)).from_buffer(self.names)
        self._vectors = (_Vector * self.MANY)()
        self._messages = (_Message * self.MANY)()
        for place, (vector, message) in enumerate(zip(self._vectors, self._messages)):
            vector.base, vector.length = ctypes.addressof(data) + self.ROOM * place, self.ROOM
            name = ctypes.addressof(names) + 28 * place
            message.header = _Header(name, 28, ctypes.pointer(vector), 1)
        self._fresh = bytes(self._messages)

    def send(self, fd: int, messages: Sequence[bytes]) -> list[tuple[int, int]]:
        """Send them all; return place and errno of each that could not be sent."""
        failed = []
        size = ctypes.sizeof(_Message)
        memory = bytearray().join(messages)
        held = (ctypes.c_char * len(memory)).from_buffer(memory)
        base = ctypes.addressof(held)
        place = 0
        while place < len(messages):
            left = min(len(messages) - place, 1024)  # UIO_MAXIOV
            sent = self._sendmmsg(fd, ctypes.c_void_p(base + place * size), left, 0)
            if sent < 0:
                failed.append((place, ctypes.get_errno()))
            place += max(sent, 1)
        return failed

    def receive(self, fd: int) -> int:
        """Receive up to MANY messages into data and names; return how many."""
        ctypes.memmove(self._messages, self._fresh, len(self._fresh))
        return max(0, int(self._recvmmsg(fd, self._messages, self.MANY, 0, None)))
