"""How many services and real servers there are, in words; short, for commands that load no more."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """How many services and real servers there are, and how the servers fare."""

    services: int
    servers: int
    serving: int
    failed: int
    unchecked: int

    def __str__(self) -> str:
        servers = f"{self.serving} of {number(self.servers, 'real server')} serving"
        unchecked = f", {self.unchecked} unchecked" if self.unchecked else ""
        return f"{number(self.services, 'virtual service')}, {servers}{unchecked}"


def number(count: int, what: str) -> str:
    """Return "1 real server", "2 real servers"."""
    return f"{count} {what}{'s' * (count != 1)}"
