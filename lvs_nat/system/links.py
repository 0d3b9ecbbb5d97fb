"""Word of every change of this machine's interfaces, their addresses and their forwarding.

pyroute2 is imported here and nowhere else.  That takes 0.1 s and 20 MB: import this module when
the table is programmed, and fork before.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Union

from pyroute2.netlink import nlmsg, rtnl
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_RUNNING, IFF_UP, ifinfmsg

from lvs_nat.model import Address

GROUPS = (
    rtnl.RTNLGRP_LINK,
    rtnl.RTNLGRP_IPV4_IFADDR,
    rtnl.RTNLGRP_IPV6_IFADDR,
    rtnl.RTNLGRP_IPV4_NETCONF,
    rtnl.RTNLGRP_IPV6_NETCONF,
)
# The kernel's include/uapi/linux/netconf.h; pyroute2 has no class for these messages.
ALL, DEFAULT = -1, -2
VERSIONS = {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}
# The kernel writes no message longer than a page or 8 KiB (NLMSG_GOODSIZE).
LONGEST = 64 * 1024


@dataclass(frozen=True)
class LinkChanged:
    """An interface has come, changed or gone; up means that packets can pass."""

    name: str
    up: bool
    present: bool = True


@dataclass(frozen=True)
class AddressChanged:
    """An interface has got or lost an address."""

    address: Address
    interface: str
    present: bool


@dataclass(frozen=True)
class ForwardingChanged:
    """Somebody has set whether an interface forwards; "all" and "default" as in sysctl."""

    interface: str
    forwarding: bool
    version: int = 4


@dataclass(frozen=True)
class Overrun:
    """More has happened than could be told: read everything again."""


Event = Union[LinkChanged, AddressChanged, ForwardingChanged, Overrun]


class netconfmsg(nlmsg):  # type: ignore[misc]
    """A setting of an interface, struct netconfmsg of the kernel."""

    prefix = "NETCONFA_"
    fields = (("family", "B"),)
    nla_map = (
        ("NETCONFA_UNSPEC", "none"),
        ("NETCONFA_IFINDEX", "int32"),
        ("NETCONFA_FORWARDING", "int32"),
    )


class Links:
    """The interfaces of this process's network namespace; changes are heard from opening on."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, sum(1 << group - 1 for group in GROUPS)))
        except OSError:
            self._socket.close()
            raise
        # An address may be told gone after its interface is, so names are remembered.
        self._names = dict(socket.if_nameindex())

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def fileno(self) -> int:
        """Return what to poll for input before asking for events()."""
        return self._socket.fileno()

    def events(self) -> list[Event]:
        """Return what has happened since the last call, oldest first; never wait."""
        pieces: list[bytes] = []
        overrun = False
        while True:
            try:
                pieces.append(self._socket.recv(LONGEST))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overrun = True
        if overrun:
            # What is left of the story begins in the middle.
            self._names = dict(socket.if_nameindex())
            return [Overrun()]
        return [event for data in pieces for event in self._decode(data)]

    def _decode(self, data: bytes) -> Iterator[Event]:
        start = 0
        while start < len(data):
            header = nlmsg(data, offset=start)
            header.decode()
            kind = header["header"]["type"]
            if kind in DECODERS:
                message_class, translate = DECODERS[kind]
                message = message_class(data, offset=start)
                message.decode()
                yield from translate(self, message, kind)
            start += (header["header"]["length"] + 3) & ~3

    def _link(self, message: Any, kind: int) -> Iterator[Event]:
        if message["family"] != socket.AF_UNSPEC:
            return  # a bridge tells of its ports with the same message
        index, name = message["index"], message.get_attr("IFLA_IFNAME")
        before = self._names.pop(index, name)
        if kind == rtnl.RTM_DELLINK:
            yield LinkChanged(name, up=False, present=False)
            return
        if before != name:
            yield LinkChanged(before, up=False, present=False)
        self._names[index] = name
        wanted = IFF_UP | IFF_RUNNING
        yield LinkChanged(name, up=message["flags"] & wanted == wanted)

    def _addressed(self, message: Any, kind: int) -> Iterator[Event]:
        name = self._names.get(message["index"], "")
        yield AddressChanged(_address(message), name, present=kind == rtnl.RTM_NEWADDR)

    def _configured(self, message: Any, kind: int) -> Iterator[Event]:
        forwarding = message.get_attr("NETCONFA_FORWARDING")
        index = message.get_attr("NETCONFA_IFINDEX")
        name = {ALL: "all", DEFAULT: "default"}.get(index) or self._names.get(index)
        if forwarding is not None and name and message["family"] in VERSIONS:
            yield ForwardingChanged(name, bool(forwarding), VERSIONS[message["family"]])


def _address(message: Any) -> Address:
    # IFA_ADDRESS is the other end's on a point-to-point link.
    return ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


Translate = Callable[[Links, Any, int], Iterator[Event]]
DECODERS: dict[int, tuple[Any, Translate]] = {
    rtnl.RTM_NEWLINK: (ifinfmsg, Links._link),
    rtnl.RTM_DELLINK: (ifinfmsg, Links._link),
    rtnl.RTM_NEWADDR: (ifaddrmsg, Links._addressed),
    rtnl.RTM_DELADDR: (ifaddrmsg, Links._addressed),
    rtnl.RTM_NEWNETCONF: (netconfmsg, Links._configured),
}
