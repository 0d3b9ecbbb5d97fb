"""Clients' packets tell that a real server has failed before anybody asks it."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from lvs_nat.errors import KernelError
from lvs_nat.model import Address, Endpoint
from lvs_nat.system import bpf, filters, raw
from lvs_nat.system.slots import SIZE, Slots

# include/uapi/linux/if_ether.h and include/uapi/asm-generic/socket.h
ETH_P_ALL = 0x0003
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

    It is opened with CAP_NET_RAW and CAP_BPF (CAP_SYS_ADMIN before Linux 5.8).  From then on no
    privilege is needed, nor is there any to misuse: the filter is locked.  Where eBPF is not to
    be had, refusals alone are seen, and lacking says why.
    """

    def __init__(
        self, packets: socket.socket, table: int | None, lacking: str = "", *, used: bool = True
    ) -> None:
        """Take the descriptors that another Watcher, of this process, has *used*."""
        self.lacking = lacking
        self._socket = packets
        self._table = table
        self._slots: Slots | None = None
        self._watched: frozenset[Endpoint] = frozenset()
        if table is not None:
            self._slots = Slots(memoryview(mmap.mmap(table, SIZE)), used=used)

    @classmethod
    def opened(cls, *, extended: bool = True) -> Watcher:
        """Return a new one; it sees refusals alone where *extended* is false, or Linux before 5.5.

        Raises OSError where not even that may be had.
        """
        with ExitStack() as stack:
            packets = stack.enter_context(
                socket.socket(
                    socket.AF_PACKET,
                    socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
                    socket.htons(ETH_P_ALL),
                )
            )
            table, lacking = None, "eBPF is not wanted"
            if extended:
                try:
                    table, lacking = _see_everything(packets), ""
                    stack.callback(os.close, table)
                except KernelError as error:
                    lacking = str(error)
            if table is None:
                raw.attach(packets, filters.refused())
            packets.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
            _forget(packets)
            watcher = cls(packets, table, lacking, used=False)
            stack.pop_all()
            return watcher

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more."""
        self._socket.close()
        if self._table is not None:
            os.close(self._table)

    @property
    def descriptors(self) -> tuple[int, int | None]:
        """What another image of this process needs to go on: the socket's, and the table's."""
        return self._socket.fileno(), self._table

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

    def silent_since(self, endpoint: Endpoint) -> float | None:
        """Return since when *endpoint* has owed an answer to a SYN and sent nothing whatever.

        In seconds of time.monotonic; None says that it owes none, or that nobody knows.
        """
        return self._slots.silent_since(endpoint) if self._slots else None

    def round_trip(self, endpoint: Endpoint) -> float:
        """Return the seconds that *endpoint* takes to answer a SYN; 0.0 if nobody knows."""
        return self._slots.round_trip(endpoint) if self._slots else 0.0

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


def _see_everything(packets: socket.socket) -> int:
    """Have SYNs seen that are left unanswered, and refusals; return the table's descriptor."""
    with ExitStack() as stack:
        table = bpf.create_array(filters.BUCKET, filters.BUCKETS)
        stack.callback(os.close, table)
        program = bpf.load_filter(filters.unanswered(table))
        try:
            attached = struct.pack("=i", program)
            packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, attached)
        finally:
            os.close(program)
        stack.pop_all()
        return table


def _forget(packets: socket.socket) -> None:
    """Drop what came before there was a filter."""
    while True:
        try:
            packets.recv(1)
        except BlockingIOError:
            return


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
