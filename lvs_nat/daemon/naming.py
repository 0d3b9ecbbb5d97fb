"""Last good addresses of names are kept over boots, and old ones are looked up again."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvs_nat.daemon.ledger import Ledger
from lvs_nat.errors import ConfigError
from lvs_nat.system import files
from lvs_nat.system.names import Found, Known, Query

if TYPE_CHECKING:
    from lvs_nat.daemon.loop import Loop

log = logging.getLogger(__name__)

# Between two looks whether a name with an old address is resolved again.
RETRY = 30.0


def known(path: Path) -> dict[str, Known]:
    """Return the last good addresses; none where there is no file of them that can be used."""
    if not os.access(path, os.R_OK):  # an ordinary user's configtest may not
        return {}
    try:
        return _parse(files.read_text(path))
    except (ConfigError, ValueError) as error:
        log.warning("names have no last good address, %s cannot be used: %s", path, error)
        return {}


class Naming:
    """The names in the rules of a running director, and the file that keeps their addresses.

    The rules go on with the addresses that they were read with.  Where one of them is old, its
    name is looked up now and then, in a process of its own, to tell what a reload would do.
    """

    def __init__(
        self,
        path: Path,
        loop: Loop,
        retry: float = RETRY,
        query: Callable[[Iterable[str]], Query] = Query,
    ) -> None:
        self._path = path
        self._ledger = Ledger(path, "names have no last good address")
        self._loop = loop
        self._retry = retry
        self._query = query
        self._known: dict[str, Known] = {}
        self._moved: dict[str, str] = {}
        self._asking: Query | None = None

    @property
    def remarks(self) -> list[str]:
        """What an operator should know of names that could not be looked up."""
        return [self._remark(host) for host, it in self._known.items() if it.old]

    def take(self, found: Mapping[str, Known] | None) -> None:
        """Keep what the rules were just read with; None: as another director has left it."""
        self.rest()  # what is under way is asked for rules that are no more
        self._moved = {}
        if found is None:
            self._known = known(self._path)
        elif found or self._path.exists():
            self._known = dict(found)
            self._write()
        if self.remarks:
            self._loop.after("names", self._retry, self._ask)
        else:
            self.close()

    def close(self) -> None:
        """Look nothing up any more."""
        self._loop.forget("names")
        self.rest()

    def rest(self) -> None:
        """Look nothing up until the next time: the process that does so is ended."""
        if self._asking:
            self._loop.unwatch(self._asking.fileno())
            self._asking.close()
            self._asking = None

    def _remark(self, host: str) -> str:
        it = self._known[host]
        if host in self._moved:
            return (
                f"{host} is {self._moved[host]} now, the rules go on with {it.address}: "
                "`lvs-nat reload` goes over to it"
            )
        return f"{host} cannot be looked up: {it}, is used"

    def _ask(self) -> None:
        self.rest()  # what hangs since the last time
        self._loop.after("names", self._retry, self._ask)
        try:
            query = self._query([host for host, it in self._known.items() if it.old])
        except OSError as error:
            log.warning("names cannot be looked up now: %s", error.strerror)
            return
        self._asking = query
        self._loop.watch(query.fileno(), lambda: self._hear(query))

    def _hear(self, query: Query) -> None:
        if not query.hear():
            return
        answers = query.answers()
        self._loop.unwatch(query.fileno())
        query.close()
        self._asking = None
        for host, found in answers.items():
            self._learn(host, found)
        if not self.remarks:
            self.close()

    def _learn(self, host: str, found: Found) -> None:
        before = self._known[host]
        if not found.addresses:
            return
        if str(before.address) in found.addresses:
            self._moved.pop(host, None)
            self._known[host] = Known(before.address, time.time())
            log.warning("%s is looked up again, and is %s as before", host, before.address)
            self._write()
        elif self._moved.get(host) not in found.addresses:
            self._moved[host] = found.addresses[0]
            log.error("%s", self._remark(host))

    def _write(self) -> None:
        try:
            if not self._known:
                self._path.unlink(missing_ok=True)
                return
            self._ledger.write(_spell(self._known))
        except OSError as error:
            self._ledger.complain(error)


def _spell(names: Mapping[str, Known]) -> str:
    entries = {host: [str(it.address), it.found, it.old] for host, it in sorted(names.items())}
    return json.dumps({"format": 1, "names": entries}, indent=1) + "\n"


def _parse(text: str) -> dict[str, Known]:
    try:
        data: Any = json.loads(text)
        if data["format"] != 1:
            raise ValueError(f"it has format {data['format']!r}")
        return {host: _entry(host, *it) for host, it in data["names"].items()}
    except (KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError) as error:
        raise ValueError(f"not a file of addresses: {error}") from error


def _entry(host: str, address: Any, found: Any, old: Any) -> Known:
    moment = float(found)
    time.localtime(moment)  # raises what it cannot show
    if not (host.isascii() and host.isprintable()):
        raise ValueError(f"{host!a} is no name")
    return Known(IPv4Address(str(address)), moment, bool(old))
