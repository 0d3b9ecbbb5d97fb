"""Names of hosts and ports are looked up, within a time that is limited for all together."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address
from types import MappingProxyType
from typing import NamedTuple

from lvs_nat.model import Transport

# A resolver that is dead takes 10 s for each name by itself (resolv.conf(5): 2 tries of 5 s).
BUDGET = 5.0
# Between two tries to find out what a resolver could not say yet.
PAUSE = 0.5
# A resolver that takes longer than this is waited for, which is worth a word.
SLOW = 1.0
# These say that there is no such name, or that it has no address; all else may pass.
DEFINITE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
DAY = "%Y-%m-%d %H:%M"

Resolve = Callable[[str], Sequence[str]]
Say = Callable[[str], None]


def _addresses(host: str) -> Sequence[str]:
    # As ipvsadm: gethostbyname's, in the resolver's order; getaddrinfo sorts by RFC 6724.
    return socket.gethostbyname_ex(host)[2]


class Known(NamedTuple):
    """The last good address of a name, and when it was found out, in seconds of wall time.

    old says that the name has been looked up since then, and could not be.
    """

    address: IPv4Address
    found: float
    old: bool = False

    def __str__(self) -> str:
        return f"{self.address}, which it had at {time.strftime(DAY, time.localtime(self.found))}"


class Found(NamedTuple):
    """What a resolver said of a name: addresses, or why there are none and if that may pass."""

    addresses: tuple[str, ...] = ()
    why: str = ""
    passing: bool = False


class _Nothing(NamedTuple):
    """Why a name has no address, and what to do about it."""

    why: str
    remedy: str


NOTHING_KNOWN: Mapping[str, Known] = MappingProxyType({})


class Names:
    """Looks up what rules name; raises ValueError with what to write instead.

    Hosts may take *budget* seconds, all of them together: once it is spent, further hosts are
    refused at once.  A host is looked up in a child process, which can be ended at any time.

    *known* are the last good addresses: one that cannot be looked up has its own, with a
    warning, and one that has several now keeps the one that it had.  Where there is *patience*,
    hosts without a last good address have so many seconds, and a resolver that cannot say yet
    is asked again; *tell* is told once that it is waited for.  found is what all of it came to.
    """

    def __init__(
        self,
        budget: float = BUDGET,
        resolve: Resolve = _addresses,
        known: Mapping[str, Known] = NOTHING_KNOWN,
        patience: float = 0.0,
        tell: Say = lambda _: None,
    ) -> None:
        self.found: dict[str, Known] = {}
        self._whole = {False: budget, True: patience}
        self._left = dict(self._whole)
        self._resolve = resolve
        self._known = known
        self._tell: Say | None = tell
        self._hosts: dict[str, IPv4Address | _Nothing] = {}

    def address(self, host: str, say: Say) -> IPv4Address:
        """Return the IPv4 address of *host*; *say* is told where it is an old one."""
        if host not in self._hosts:
            self._hosts[host] = self._look_up(host)
        found, known = self._hosts[host], self._known.get(host)
        if not isinstance(found, _Nothing):
            self.found[host] = Known(found, time.time())
            return found
        if known is None:
            raise ValueError("; ".join(found))
        self.found[host] = known._replace(old=True)
        say(f"{found.why}: {known}, is used")
        return known.address

    def port(self, service: str, transport: Transport) -> int:
        """Return the number of a port as /etc/services has it."""
        protocol = transport.name.lower()
        try:
            return socket.getservbyname(service, protocol)
        except (OSError, UnicodeError, ValueError):
            what = f"/etc/services has no {protocol} port {service}; write its number"
            raise ValueError(what) from None

    def _look_up(self, host: str) -> IPv4Address | _Nothing:
        patient = self._whole[True] > 0 and host not in self._known
        until = time.monotonic() + self._left[patient]
        found: Found | None = None
        while (left := until - time.monotonic()) > 0:
            answer = self._ask(host, left, patient)
            if answer is None:
                break  # what was said once is a better reason than that time is up
            found = answer
            if not (patient and answer.passing):
                break
            self._say_once(host, answer.why, patient)
            time.sleep(max(0.0, min(PAUSE, until - time.monotonic())))
        self._left[patient] = max(0.0, until - time.monotonic())
        return self._judge(host, found, self._whole[patient])

    def _ask(self, host: str, patience: float, patient: bool) -> Found | None:
        try:
            query = Query([host], self._resolve)
        except OSError as error:
            return Found((), error.strerror or str(error), passing=True)
        try:
            if patient and patience > SLOW and not query.wait(SLOW):
                self._say_once(host, "no answer yet", patient)
                patience -= SLOW
            return query.answers().get(host) if query.wait(patience) else None
        finally:
            query.close()

    def _say_once(self, host: str, why: str, patient: bool) -> None:
        tell, self._tell = self._tell, None
        if tell:
            tell(f"waiting up to {self._whole[patient]:g} s for the resolver: {host}: {why}")

    def _judge(self, host: str, found: Found | None, patience: float) -> IPv4Address | _Nothing:
        if found is None:
            return _Nothing(
                f"{host} was not resolved within {patience:g} s, which all names have together",
                "write its address, or see to /etc/resolv.conf",
            )
        try:
            addresses = [IPv4Address(it) for it in found.addresses]
        except AddressValueError as error:
            return _Nothing(f"{host} has no IPv4 address ({error})", "write its address")
        if not addresses:
            return _Nothing(f"{host} has no IPv4 address ({found.why})", "write its address")
        known = self._known.get(host)
        return known.address if known and known.address in addresses else addresses[0]


class Query:
    """Names that a child without capabilities looks up, one by one; it is ended by `close`.

    Raises OSError where there is no room for another process.
    """

    def __init__(self, hosts: Iterable[str], resolve: Resolve = _addresses) -> None:
        self._reading, writing = os.pipe()
        self._heard = b""
        try:
            self._child = os.fork()
        except OSError:
            os.close(self._reading)
            os.close(writing)
            raise
        if self._child == 0:
            try:
                # A director's lock among them: nobody may hold that who lives longer than it does.
                # There may be a thousand million more, which Python 3.9 closes one by one.
                most = max(map(int, os.listdir("/proc/self/fd")))
                os.closerange(3, writing)
                os.closerange(writing + 1, most + 1)
                from lvs_nat.system import privileges  # ctypes: who looks nothing up goes without

                privileges.keep_only(())
                for host in hosts:
                    os.write(writing, json.dumps([host, *_found(host, resolve)]).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writing)

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is more to hear."""
        return self._reading

    def hear(self) -> bool:
        """Read what has come; say whether that was all."""
        piece = os.read(self._reading, 1 << 16)
        self._heard += piece
        return not piece

    def wait(self, seconds: float) -> bool:
        """Wait for the end, no longer than *seconds*; say whether it has come."""
        until = time.monotonic() + seconds
        while select.select([self._reading], [], [], max(0.0, until - time.monotonic()))[0]:
            if self.hear():
                return True
        return False

    def answers(self) -> dict[str, Found]:
        """Return what is known of each name by now."""
        lines = map(json.loads, self._heard.splitlines())
        return {
            host: Found(tuple(addresses), why, passing) for host, addresses, why, passing in lines
        }

    def close(self) -> None:
        """End the child, whatever it does, and hear no more of it."""
        os.close(self._reading)
        # Where we were started with SIGCHLD ignored, the kernel lets nobody wait for a child.
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)


def _found(host: str, resolve: Resolve) -> Found:
    try:
        return Found(tuple(resolve(host)), "no answer")
    except OSError as error:
        passing = not (isinstance(error, socket.gaierror) and error.errno in DEFINITE)
        return Found((), error.strerror or str(error), passing)
    except (TypeError, ValueError):  # a byte, a length
        return Found((), "not a name that DNS can hold")
