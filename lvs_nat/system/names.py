"""Names of hosts and ports are looked up, within a time that is limited for all together."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address

from lvs_nat.model import Transport

# A resolver that is dead takes 10 s for each name by itself (resolv.conf(5): 2 tries of 5 s).
BUDGET = 5.0

Resolve = Callable[[str], str]


def _first_address(host: str) -> str:
    # As ipvsadm: gethostbyname's first, in the resolver's order; getaddrinfo sorts by RFC 6724.
    return socket.gethostbyname_ex(host)[2][0]


class Names:
    """Looks up what rules name; raises ValueError with what to write instead.

    Hosts may take *budget* seconds, all of them together: once it is spent, further hosts are
    refused at once.  A host is looked up in a child process, which can be ended at any time.
    """

    def __init__(self, budget: float = BUDGET, resolve: Resolve = _first_address) -> None:
        self._budget = budget
        self._left = budget
        self._resolve = resolve
        self._hosts: dict[str, IPv4Address | ValueError] = {}

    def address(self, host: str) -> IPv4Address:
        """Return the first IPv4 address of *host*."""
        if host not in self._hosts:
            started = time.monotonic()
            self._hosts[host] = self._look_up(host)
            self._left -= time.monotonic() - started
        found = self._hosts[host]
        if isinstance(found, ValueError):
            raise found
        return found

    def port(self, service: str, transport: Transport) -> int:
        """Return the number of a port as /etc/services has it."""
        protocol = transport.name.lower()
        try:
            return socket.getservbyname(service, protocol)
        except (OSError, UnicodeError, ValueError):
            what = f"/etc/services has no {protocol} port {service}; write its number"
            raise ValueError(what) from None

    def _look_up(self, host: str) -> IPv4Address | ValueError:
        if self._left <= 0:
            return ValueError(self._late(host))
        answer = _ask(lambda: self._resolve(host), self._left)
        if answer is None:
            return ValueError(self._late(host))
        try:
            return IPv4Address(answer)
        except ValueError:
            return ValueError(f"{host} has no IPv4 address ({answer}); write its address")

    def _late(self, host: str) -> str:
        return (
            f"{host} was not resolved within {self._budget:g} s, which all names have together; "
            "write its address, or see to /etc/resolv.conf"
        )


def _ask(question: Callable[[], str], patience: float) -> str | None:
    """Return what *question* answers, or why it does not; None if it takes too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, _answer(question).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        heard = bool(select.select([reading], [], [], patience)[0])
        return os.read(reading, 1000).decode() if heard else None
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):  # a loop that reaps every child was faster
            os.waitpid(child, 0)


def _answer(question: Callable[[], str]) -> str:
    try:
        return question()
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "not a name that DNS can hold"
