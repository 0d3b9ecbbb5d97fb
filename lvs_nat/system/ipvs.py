"""The kernel's IPVS table, read and written."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from lvs_nat.core.plan import Operation
from lvs_nat.errors import KernelError, NotInstalled, NotPrivileged
from lvs_nat.model import Counters, Destination, Endpoint, Ruleset, Service, ServiceName
from lvs_nat.system import ipvs_abi as abi
from lvs_nat.system import ipvs_requests as requests
from lvs_nat.system import ipvs_rows as rows
from lvs_nat.system.netlink import BATCH, Channel
from lvs_nat.system.refusals import Refusal, collect

# The kernel itself runs this to load a module (its kernel.modprobe setting).
MODPROBE = "/sbin/modprobe"

CounterTable = Mapping[tuple[ServiceName, Endpoint], Counters]


@dataclass(frozen=True)
class Info:
    """The version of the kernel's IPVS and the size of its connection table, in buckets."""

    version: tuple[int, int, int]
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The table and what was counted in it, read together."""

    ruleset: Ruleset
    counters: CounterTable


class Ipvs:
    """The IPVS table of this process's network namespace.

    Opening raises NotInstalled where the kernel has no IPVS and NotPrivileged where this process
    may not use it.  timeout is how many seconds the kernel may take for one answer; when it
    takes longer, or loses an answer for want of memory, the call raises KernelError: nobody
    knows what has been done, so read the table and plan again.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self._channel = _open(timeout)
        self.writes = 0  # operations asked of the kernel so far

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the table; it stays as it is."""
        self._channel.close()

    def info(self) -> Info:
        """Return what the kernel says of its IPVS."""
        return Info(*rows.info(self._channel.ask(abi.GET_INFO)))

    def read(self) -> Ruleset:
        """Return the services with their destinations, the timeouts and the sync daemons."""
        return self._read(None)

    def snapshot(self) -> Snapshot:
        """Return what read() and counters() return, in one reading of the table."""
        counted: dict[tuple[ServiceName, Endpoint], Counters] = {}
        return Snapshot(self._read(counted), counted)

    def counters(self) -> CounterTable:
        """Return what was counted for every destination."""
        return self.snapshot().counters

    def apply(self, operations: Sequence[Operation]) -> tuple[Refusal, ...]:
        """Carry out operations in order and return those that the kernel refused.

        A refusal does not stop the operations after it.  Raises KernelError where the kernel's
        answer was lost; some of the operations may then have been carried out.
        """
        return collect(zip(operations, self._send(operations)))

    def flush(self) -> None:
        """Remove every service with its destinations."""
        self._do(abi.FLUSH)

    def zero(self) -> None:
        """Set the counters of every service and destination to 0."""
        self._do(abi.ZERO)

    def _send(self, operations: Sequence[Operation]) -> list[int]:
        numbers: list[int] = []
        for start in range(0, len(operations), BATCH):
            batch = [requests.request(it) for it in operations[start : start + BATCH]]
            self.writes += len(batch)
            refused = self._channel.send(batch)
            numbers.extend(refused.get(place, 0) for place in range(len(batch)))
        return numbers

    def _do(self, command: int) -> None:
        self.writes += 1
        for number in self._channel.send([(command, b"")]).values():
            raise KernelError(f"the kernel refuses: {os.strerror(number)}", number)

    def _read(self, counted: dict[tuple[ServiceName, Endpoint], Counters] | None) -> Ruleset:
        services = {}
        for span in self._channel.dump(abi.GET_SERVICE):
            service = rows.service(span)
            if service is not None:
                services[service.name] = self._with_destinations(service, counted)
        daemons = map(rows.sync_daemon, self._channel.dump(abi.GET_DAEMON))
        return Ruleset(
            services=services,
            timeouts=rows.timeouts(self._channel.ask(abi.GET_CONFIG)),
            daemons={daemon.role: daemon for daemon in daemons},
        )

    def _with_destinations(
        self,
        service: Service,
        counted: dict[tuple[ServiceName, Endpoint], Counters] | None,
    ) -> Service:
        name = service.name
        destinations: dict[Endpoint, Destination] = {}
        for span in self._channel.dump(abi.GET_DEST, requests.service_name(name)):
            data, places = rows.destination_places(span)
            destination = rows.destination(data, places, name.version)
            destinations[destination.endpoint] = destination
            if counted is not None:
                counted[name, destination.endpoint] = rows.counters(data, places)
        return replace(service, destinations=destinations)


def _open(timeout: float) -> Channel:
    try:
        channel = _channel(timeout)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raise NotInstalled(
            "this kernel has no IPVS: modprobe ip_vs failed, boot a kernel that has CONFIG_IP_VS"
        ) from error
    try:
        channel.ask(abi.GET_INFO)
    except KernelError as error:
        channel.close()
        if error.errno != errno.EPERM:
            raise
        raise NotPrivileged("only root (CAP_NET_ADMIN) may see or change the IPVS table") from error
    return channel


def _channel(timeout: float) -> Channel:
    try:
        return Channel(abi.FAMILY, abi.VERSION, timeout)
    except KernelError as error:
        # The kernel has tried by itself, unless it was told not to (kernel.modprobe, 3.x).
        if error.errno != errno.ENOENT or not _load():
            raise
        return Channel(abi.FAMILY, abi.VERSION, timeout)


def _load() -> bool:
    try:
        child = os.posix_spawn(MODPROBE, [MODPROBE, "-q", "--", "ip_vs"], os.environ)
    except OSError:
        return False
    return os.waitpid(child, 0)[1] == 0
