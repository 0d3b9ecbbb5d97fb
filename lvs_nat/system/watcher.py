"""Clients' packets tell that a real server has failed before anybody asks it."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import NamedTuple

from lvs_nat.errors import KernelError
from lvs_nat.model import Address, Endpoint
from lvs_nat.system import bpf, filters
from lvs_nat.system.slots import SIZE, Slots

# include/uapi/linux/if_ether.h and include/uapi/asm-generic/socket.h
ETH_P_ALL = 0x0003
SO_ATTACH_FILTER = 26
SO_LOCK_FILTER = 44
SO_ATTACH_BPF = 50
# More reports than these are not read at once; of a flood the rest is lost, and no loss.
MOST = 64
_PORTS = struct.Struct("!HH")


class Sign(Enum):
    """What a real server was seen doing."""

    UNANSWERED = "a client's SYN was left unanswered"
    REFUSED = "a client was refused"


class Suspicion(NamedTuple):
    """A real server that may have failed; only a check can tell."""

    endpoint: Endpoint
    sign: Sign


class Watcher:
    """A socket that hears every packet of this machine, with a filter that lets nearly none up.

    Opened with CAP_NET_RAW and CAP_BPF (CAP_SYS_ADMIN before Linux 5.8); from then on no
    privilege is needed, nor is there any to misuse: the filter is locked.  Where eBPF is not
    to be had (before Linux 5.5), or is not wanted, refusals alone are seen, and lacking says
    why.  Opening raises OSError where we may not even have the socket.
    """

    def __init__(self, *, extended: bool = True) -> None:
        self.lacking = ""
        self._slots: Slots | None = None
        self._watched: frozenset[Endpoint] = frozenset()
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL)
        )
        try:
            self.lacking = self._see_everything() if extended else "eBPF is not wanted"
            if self.lacking:
                self._see_refusals()
            self._socket.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
            self._forget()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more."""
        self._socket.close()

    def fileno(self) -> int:
        """Return what can be read whenever suspicions() has something to tell."""
        return self._socket.fileno()

    def watch(self, endpoints: Collection[Endpoint]) -> frozenset[Endpoint]:
        """Watch *endpoints* and nobody else; return those that there was no room for."""
        self._watched = frozenset(endpoints)
        return self._slots.watch(self._watched) if self._slots else frozenset()

    def suspicions(self) -> list[Suspicion]:
        """Return what was seen since the last call, or as much of it as is read at once."""
        return list(dict.fromkeys(it for it in self._reports() if it.endpoint in self._watched))

    def hush(self, endpoint: Endpoint, until: float) -> None:
        """Suspect *endpoint* of nothing before *until*, in seconds of time.monotonic."""
        if self._slots:
            self._slots.hush(endpoint, until)

    def heard(self, endpoint: Endpoint) -> float | None:
        """Return when *endpoint* was last heard, in seconds of time.monotonic; 0.0 for never.

        None says that nobody knows.
        """
        return self._slots.heard(endpoint) if self._slots else None

    def round_trip(self, endpoint: Endpoint) -> float:
        """Return the seconds that *endpoint* takes to answer a SYN; 0.0 if nobody knows."""
        return self._slots.round_trip(endpoint) if self._slots else 0.0

    def _see_everything(self) -> str:
        """Have unanswered SYNs seen as well; return why that cannot be, or nothing."""
        with ExitStack() as stack:
            try:
                table = bpf.create_array(filters.BUCKET, filters.BUCKETS)
                stack.callback(os.close, table)
                program = bpf.load_filter(filters.unanswered(table))
            except KernelError as error:
                return str(error)
            stack.callback(os.close, program)
            self._slots = Slots(memoryview(mmap.mmap(table, SIZE)))
            attached = struct.pack("=i", program)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, attached)
        return ""

    def _see_refusals(self) -> None:
        program = filters.refused()
        code = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog: how many instructions, and where they are.
        where = struct.pack("@HP", len(program) // filters.OLD.size, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, where)

    def _forget(self) -> None:
        """Drop what came before there was a filter."""
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return

    def _reports(self) -> Iterator[Suspicion]:
        for _ in range(MOST):
            try:
                packet, (_, _, kind, *_) = self._socket.recvfrom(filters.SNAP)
            except BlockingIOError:
                return
            outgoing = kind == socket.PACKET_OUTGOING
            endpoint = server(packet, outgoing)
            if endpoint:
                yield Suspicion(endpoint, Sign.UNANSWERED if outgoing else Sign.REFUSED)


def server(packet: bytes, outgoing: bool) -> Endpoint | None:
    """Return the end of *packet* that is a server's; None for what is no TCP over IP."""
    version = packet[0] >> 4 if packet else 0
    addresses: tuple[Address, Address]
    if version == 4 and len(packet) >= 24:
        start = (packet[0] & 0x0F) * 4
        addresses = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    elif version == 6 and len(packet) >= 44:
        start = 40
        addresses = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    else:
        return None
    if len(packet) < start + _PORTS.size:
        return None
    return Endpoint(addresses[outgoing], _PORTS.unpack_from(packet, start)[outgoing])
