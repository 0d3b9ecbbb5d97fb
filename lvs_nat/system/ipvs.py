"""The kernel's IPVS table, read and written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lvs_nat.core.plan import Operation, SetTimeouts
from lvs_nat.errors import KernelError, NotInstalled, NotPrivileged
from lvs_nat.model import (
    Counters,
    Destination,
    Endpoint,
    Ruleset,
    Service,
    ServiceName,
    Table,
    Timeouts,
)
from lvs_nat.system import ipvs_abi as abi
from lvs_nat.system import ipvs_requests as requests
from lvs_nat.system import ipvs_rows as rows
from lvs_nat.system.netlink import BATCH, DUMP_TRIES, Channel, Span
from lvs_nat.system.refusals import Refusal, collect
from lvs_nat.system.timeouts import TimeoutRecord

# The kernel itself runs this to load a module (its kernel.modprobe setting).
MODPROBE = "/sbin/modprobe"

Row = tuple[ServiceName, Endpoint]


@dataclass(frozen=True)
class Info:
    """The version of the kernel's IPVS and the size of its connection table, in buckets."""

    version: tuple[int, int, int]
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The table and what was counted in it, read together.

    connections has the active and the inactive ones of each destination of a service, in the
    order of its destinations.
    """

    ruleset: Ruleset
    counters: Mapping[Row, Counters]
    connections: Mapping[ServiceName, Sequence[tuple[int, int]]]


class _Counted(Mapping[Row, Counters]):
    """The counters of one reading; each is decoded when it is asked for, as few ever are."""

    def __init__(self, services: Table, spans: Mapping[ServiceName, Sequence[Span]]) -> None:
        self._services = services
        self._spans = spans
        self._places: dict[ServiceName, dict[Endpoint, Span]] = {}

    def __getitem__(self, row: Row) -> Counters:
        name, endpoint = row
        if name not in self._places:
            self._places[name] = dict(zip(self._services[name].destinations, self._spans[name]))
        return rows.counters(self._places[name][endpoint])

    def __iter__(self) -> Iterator[Row]:
        for name, service in self._services.items():
            for endpoint in service.destinations:
                yield name, endpoint

    def __len__(self) -> int:
        return sum(map(len, self._spans.values()))


class _Connections(Mapping[ServiceName, Sequence[tuple[int, int]]]):
    """The connections of one reading, decoded for a service when they are asked for."""

    def __init__(self, spans: Mapping[ServiceName, Sequence[Span]]) -> None:
        self._spans = spans

    def __getitem__(self, name: ServiceName) -> Sequence[tuple[int, int]]:
        return rows.connections(self._spans[name])

    def __iter__(self) -> Iterator[ServiceName]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


@dataclass(frozen=True)
class _Reading:
    """A service as it was read, with what tells whether it, and each row, still is so."""

    bare: Service
    identities: list[bytes]
    service: Service

    @property
    def rows(self) -> dict[bytes, Destination]:
        """The destinations by what they were read from."""
        return dict(zip(self.identities, self.service.destinations.values()))


class Ipvs:
    """The IPVS table of this process's network namespace.

    Opening raises NotInstalled where the kernel has no IPVS and NotPrivileged where this process
    may not use it.  *record* is told of the idle timeouts before they are changed; what it cannot
    hold is not done.  timeout is how many seconds the kernel may take for one answer; when it
    takes longer, or loses an answer for want of memory, the call raises KernelError: nobody
    knows what has been done, so read the table and plan again.
    """

    def __init__(self, record: TimeoutRecord | None = None, timeout: float = 10.0) -> None:
        self._channel = _open(timeout)
        self._record = record
        self._readings: dict[ServiceName, _Reading] = {}
        self.writes = 0  # operations asked of the kernel so far

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the table; it stays as it is."""
        self._channel.close()

    def info(self) -> Info:
        """Return what the kernel says of its IPVS."""
        return Info(*rows.info(self._channel.ask(abi.GET_INFO)))

    def read(self) -> Ruleset:
        """Return the services with their destinations, the timeouts and the sync daemons."""
        return self.snapshot().ruleset

    def snapshot(self) -> Snapshot:
        """Return the table and what is counted in it, in one reading.

        A service or a destination that nobody has edited since the last reading is the same
        object again.  Raises KernelError with EINTR where others change it all the time.
        """
        readings, counted = self._read()
        self._readings = readings
        services = {name: reading.service for name, reading in readings.items()}
        daemons = map(rows.sync_daemon, self._channel.dump(abi.GET_DAEMON))
        ruleset = Ruleset(services, self._timeouts(), {daemon.role: daemon for daemon in daemons})
        return Snapshot(ruleset, _Counted(services, counted), _Connections(counted))

    def has(self, name: ServiceName) -> bool:
        """Say whether there is such a service, at no more cost than one question."""
        try:
            self._channel.ask(abi.GET_SERVICE, requests.service_name(name))
        except KernelError as error:
            if error.errno != errno.ESRCH:
                raise
            return False
        return True

    def apply(self, operations: Sequence[Operation]) -> tuple[Refusal, ...]:
        """Carry out operations in order and return those that the kernel refused.

        A refusal does not stop the operations after it.  Raises KernelError where the kernel's
        answer was lost; some of the operations may then have been carried out.
        """
        unrecorded = self._unrecorded(operations)
        if unrecorded:
            refused = [refusal.operation for refusal in unrecorded]
            operations = [it for it in operations if it not in refused]
        return (*unrecorded, *collect(zip(operations, self._send(operations))))

    def flush(self) -> None:
        """Remove every service with its destinations."""
        self.writes += 1
        for number in self._channel.send([(abi.FLUSH, b"")]).values():
            raise KernelError(f"the kernel refuses: {os.strerror(number)}", number)

    def _unrecorded(self, operations: Sequence[Operation]) -> tuple[Refusal, ...]:
        """Have the record know of every change of timeouts; return those that it cannot hold."""
        changes = [it for it in operations if isinstance(it, SetTimeouts)]
        if self._record is None or not changes:
            return ()
        try:
            for change in changes:
                self._record.note(self._timeouts(), change.timeouts)
        except OSError as error:
            what = f"timeouts: what they are cannot be written down before: {error.strerror}"
            refused = KernelError(what, error.errno or 0)
            return tuple(Refusal(change, refused) for change in changes)
        return ()

    def _timeouts(self) -> Timeouts:
        return rows.timeouts(self._channel.ask(abi.GET_CONFIG))

    def _send(self, operations: Sequence[Operation]) -> list[int]:
        numbers: list[int] = []
        for start in range(0, len(operations), BATCH):
            batch = [requests.request(it) for it in operations[start : start + BATCH]]
            self.writes += len(batch)
            refused = self._channel.send(batch)
            numbers.extend(refused.get(place, 0) for place in range(len(batch)))
        return numbers

    def _read(self) -> tuple[dict[ServiceName, _Reading], dict[ServiceName, list[Span]]]:
        """Return what is read of each service, and the spans of its destinations.

        A service that is removed between the two dumps has no destinations to tell: of those
        that have changed it is asked whether they are still there.
        """
        for _ in range(DUMP_TRIES):
            readings, counted = {}, {}
            for span in self._channel.dump(abi.GET_SERVICE):
                service = rows.service(span)
                if service is not None:
                    name = service.name
                    readings[name], counted[name] = self._destinations(service)
            known = self._readings
            changed = (name for name in readings if readings[name] is not known.get(name))
            if all(self.has(name) for name in changed if name in known):
                return readings, counted
        raise KernelError("the table is changed faster than it can be read", errno.EINTR)

    def _destinations(self, service: Service) -> tuple[_Reading, list[Span]]:
        name = service.name
        for _ in range(DUMP_TRIES):
            spans = self._channel.dump(abi.GET_DEST, requests.service_name(name))
            spans.reverse()  # the kernel lists the newest first; we keep the order of adding
            identities = rows.identities(spans)
            known = self._readings.get(name)
            if known and known.identities == identities and known.bare == service:
                return known, spans
            same = known.rows if known else {}
            found = [
                same.get(identity) or rows.destination(span, name.version)
                for identity, span in zip(identities, spans)
            ]
            destinations = {it.endpoint: it for it in found}
            # A destination seen twice: somebody added another one while the list was made.
            if len(destinations) == len(spans):
                whole = replace(service, destinations=destinations)
                return _Reading(service, identities, whole), spans
        raise KernelError(f"{name} is changed faster than it can be read", errno.EINTR)


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
