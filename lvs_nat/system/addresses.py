"""The addresses of this machine are asked of the kernel, with the networks they belong to.

pyroute2 could tell them too, but it takes longer to import than all of the start, and the
first probes depend on this.  Numbers are those of the kernel's include/uapi/linux/rtnetlink.h
and if_addr.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from lvs_nat.core.targets import Here, Interface
from lvs_nat.errors import KernelError
from lvs_nat.model import Address
from lvs_nat.system.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    PIECE,
    offsets,
)

RTM_GETADDR = 22
IFA_ADDRESS = 1
IFA_LOCAL = 2
KINDS: dict[int, tuple[Callable[[tuple[bytes, int]], Interface], int]] = {
    int(socket.AF_INET): (IPv4Interface, 4),
    int(socket.AF_INET6): (IPv6Interface, 16),
}
# How long the kernel may take for its answer, in seconds.
PATIENCE = 5.0

_REQUEST = struct.Struct("=IHHIIB3x")  # struct nlmsghdr, struct rtgenmsg
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ERROR = struct.Struct("=i")


def here(root: Path = Path("/proc/sys")) -> Here:
    """Return what clients' packets meet here; raise KernelError or OSError if it is not told."""
    conntrack = ""
    with suppress(OSError):  # ip_vs may have been built without it
        conntrack = (root / "net/ipv4/vs/conntrack").read_text().strip()
    return Here(frozenset(interfaces()), masquerades=conntrack not in ("", "0"))


def arrives(address: Address) -> bool:
    """Say whether packets to *address* end at this machine, be it by a route alone.

    Where any address may be bound (net.ipv4.ip_nonlocal_bind) all are said to.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as own:
            own.bind((str(address), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def interfaces() -> Iterator[Interface]:
    """Yield every address of this machine with the length of its network's prefix."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(PATIENCE)
        request = NLM_F_REQUEST | NLM_F_DUMP
        asking.sendto(_REQUEST.pack(_REQUEST.size, RTM_GETADDR, request, 1, 0, 0), (0, 0))
        while True:
            data, start = asking.recv(PIECE), 0
            while start < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, start)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -_ERROR.unpack_from(data, start + _HEADER.size)[0]
                    raise KernelError(f"no addresses are told: {os.strerror(number)}", number)
                yield from _interface(data, start + _HEADER.size, start + length)
                start += (length + 3) & ~3


def _interface(data: bytes, start: int, end: int) -> Iterator[Interface]:
    family, prefix, *_ = _ADDRESS.unpack_from(data, start)
    if family not in KINDS:
        return
    made, size = KINDS[family]
    found = offsets((data, start + _ADDRESS.size, end))
    # IFA_ADDRESS is the other end's on a point-to-point link.
    place = found.get(IFA_LOCAL, found.get(IFA_ADDRESS))
    if place is not None:
        yield made((data[place : place + size], prefix))
