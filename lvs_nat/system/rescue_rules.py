"""What nftables, or else iptables and ipset, are told to keep refusals of SYNs from clients.

A refusal is a packet with RST and ACK and the sequence number 0 (RFC 9293, 3.10.7.1) from a real
server in a set; what is meant for this director itself passes.  It is dropped in the raw table,
before IPVS sees it.  Everything has our name, so that whoever finds it knows whose it is.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from lvs_nat.errors import LvsNatError
from lvs_nat.model import Endpoint
from lvs_nat.system.child import run

NAME = "lvs-nat"
# As many as the kernel's largest sets; ipset's own default is 65,536.
MOST = 1 << 20


class Change(NamedTuple):
    """A command that switches rescue, and what it reads; CAP_NET_ADMIN suffices for it."""

    command: tuple[str, ...]
    text: str


class Nft:
    """One table of nftables, replaced as a whole."""

    name = "nft"

    def set_up(self) -> None:
        """Have refusals dropped of whoever will be in the set; as root.  Raises LvsNatError."""
        run(*self.change(()))

    def change(self, endpoints: Collection[Endpoint]) -> Change:
        """Return how the set comes to hold *endpoints*, were it ever so gone."""
        lines = [f"add table inet {NAME}", f"delete table inet {NAME}", f"table inet {NAME} {{"]
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            rows = [
                f"{it.address} . {it.port}" for it in endpoints if it.address.version == version
            ]
            elements = f" elements = {{ {', '.join(rows)} }};" if rows else ""
            lines.append(f"set ipv{version} {{ type {kind} . inet_service;{elements} }}")
        lines.append("chain refusals {")
        lines.append("type filter hook prerouting priority -300; policy accept;")
        for source, members in (("ip", "ipv4"), ("ip6", "ipv6")):
            lines.append(
                "tcp flags & (fin | syn | rst | ack) == rst | ack tcp sequence 0"
                f" {source} saddr . tcp sport @{members} fib daddr type != local counter drop"
            )
        return Change(("nft", "-f", "-"), "\n".join([*lines, "}", "}", ""]))

    def remove(self) -> None:
        """Take everything away, if it is there.  Raises LvsNatError if it stays."""
        run(("nft", "-f", "-"), f"add table inet {NAME}\ndelete table inet {NAME}\n")


class Family(NamedTuple):
    """How iptables and ipset speak of one IP version; zero is the match for sequence number 0."""

    version: int
    command: str
    family: str
    zero: str

    @property
    def members(self) -> str:
        return f"{NAME}-ipv{self.version}"


FAMILIES = (
    # Past a header of any length (its length in words is in its first byte), and past one of 40.
    Family(4, "iptables", "inet", "0>>22&0x3C@4=0"),
    Family(6, "ip6tables", "inet6", "44=0"),
)
JUMP = (
    *("PREROUTING", "-p", "tcp", "-m", "tcp", "--tcp-flags", "FIN,SYN,RST,ACK", "RST,ACK"),
    *("-j", NAME),
)


class Iptables:
    """A chain of the raw table and a set of ipset for each IP version.

    *kind* is how the commands are named beyond iptables: "-legacy", or nothing.  The rules need
    root (CAP_NET_RAW), also to be removed; the sets do not.
    """

    def __init__(self, kind: str) -> None:
        self.name = f"iptables{kind}"
        self._kind = kind

    def set_up(self) -> None:
        """Have refusals dropped of whoever will be in the sets; as root.  Raises LvsNatError."""
        run(*self.change(()))
        self._rules(FAMILIES[0])
        with suppress(LvsNatError):  # a machine without IPv6 has nobody to rescue there
            self._rules(FAMILIES[1])

    def change(self, endpoints: Collection[Endpoint]) -> Change:
        """Return how the sets come to hold *endpoints*."""
        lines = []
        for family in FAMILIES:
            members, new = family.members, f"{family.members}-new"
            for name in (members, new):
                lines.append(f"create {name} hash:ip,port family {family.family} maxelem {MOST}")
            lines.append(f"flush {new}")
            for it in endpoints:
                if it.address.version == family.version:
                    lines.append(f"add {new} {it.address},tcp:{it.port}")
            lines += [f"swap {new} {members}", f"destroy {new}"]
        return Change(("ipset", "-exist", "restore"), "\n".join([*lines, ""]))

    def remove(self) -> None:
        """Take everything away, if it is there; as root.  Raises LvsNatError if it stays."""
        for family in FAMILIES:
            table = (f"{family.command}{self._kind}", "-w", "5", "-t", "raw")
            with suppress(LvsNatError):
                while True:
                    run((*table, "-D", *JUMP))
            for act in ("-F", "-X"):
                with suppress(LvsNatError):
                    run((*table, act, NAME))
            try:
                run(("ipset", "destroy", family.members))
            except LvsNatError as error:
                if "does not exist" not in str(error):
                    raise  # a rule holds it

    def _rules(self, family: Family) -> None:
        command = f"{family.command}{self._kind}"
        chain = (
            f"*raw\n:{NAME} - [0:0]\n-A {NAME} -m u32 --u32 {family.zero}"
            f" -m set --match-set {family.members} src,src"
            " -m addrtype ! --dst-type LOCAL -j DROP\nCOMMIT\n"
        )
        run((f"{command}-restore", "-w", "5", "--noflush"), chain)
        table = (command, "-w", "5", "-t", "raw")
        try:
            run((*table, "-C", *JUMP))
        except LvsNatError:
            run((*table, "-I", *JUMP))
