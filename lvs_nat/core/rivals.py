"""Which programs write to the same table as a director, by what is seen of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

KEEPALIVED, LDIRECTORD, IPVSADM = "keepalived", "ldirectord", "ipvsadm"
KEEPALIVED_FILE = "/etc/keepalived/keepalived.conf"
# What keepalived calls its checker if it is told to name its processes.
CHECKER = "keepalived_ipvs"
# Its short options whose value may stand in the next word.
_VALUED = frozenset("Sfpircbsu")
_COMMENT = re.compile(r"[!#].*")
_VIRTUAL = re.compile(r"(?:^|[\s}])virtual_server\s")
_INCLUDE = re.compile(r"^\s*include[a-z]*\s+\"?([^\s\"]+)")


@dataclass(frozen=True)
class Rival:
    """Another program that writes to the table; pid is 0 where that is not known."""

    name: str
    pid: int = 0
    file: str = ""

    def told(self, systemd: bool) -> str:
        """Return who it is, what it does and how to be rid of it, in one sentence."""
        who = f"{self.name} (pid {self.pid})" if self.pid else self.name
        stop = f"systemctl disable --now {self.name}"
        if not systemd:
            stop = f"service {self.name} stop; chkconfig {self.name} off"
        return _SENTENCES[self.name].format(who=who, stop=stop, file=self.file)


LVS_NAT = "lvs-nat"
_SENTENCES = {
    KEEPALIVED: "{who} programs the same table, as {file} has virtual_server: take that out of it, "
    "or stop it (`{stop}`)",
    LDIRECTORD: "{who} programs the same table: stop it (`{stop}`)",
    IPVSADM: "the service {who} is on, whose stop clears the table, and may write over the rule "
    "file: stop it (`{stop}`)",
    LVS_NAT: "another director, {who}, programs the table of this network: stop it, or run this "
    "one in a network namespace of its own",
}


@dataclass(frozen=True)
class Keepalived:
    """What keepalived was told to do: its configuration, and whether it is VRRP alone."""

    file: str = KEEPALIVED_FILE
    vrrp_alone: bool = False


def keepalived(words: Sequence[str]) -> Keepalived:
    """Return what keepalived's options say, of *words* without its own name."""
    file, vrrp_alone = KEEPALIVED_FILE, False
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            vrrp_alone |= name == "--vrrp"
            if name == "--use-file":
                file = value if equals or not left else left.pop(0)
            continue
        letters = word[1:] if word.startswith("-") else ""
        for at, letter in enumerate(letters, start=1):
            vrrp_alone |= letter == "P"
            if letter in _VALUED:
                value = letters[at:] or (left.pop(0) if left else "")
                file = value if letter == "f" else file
                break
    return Keepalived(file, vrrp_alone)


def has_virtual_servers(text: str) -> bool:
    """Say whether a file of keepalived's has a virtual server."""
    return any(_VIRTUAL.search(f"{_COMMENT.sub('', line)} ") for line in text.splitlines())


def includes(text: str) -> list[str]:
    """Return the patterns of the files that a file of keepalived's includes."""
    found = (_INCLUDE.match(_COMMENT.sub("", line)) for line in text.splitlines())
    return [match[1] for match in found if match]
