"""The table with its connections, as `ipvsadm -L -n` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lvs_nat.core import order
from lvs_nat.core.spelling import spell_endpoint, spell_flags
from lvs_nat.model import (
    Counters,
    Endpoint,
    Forwarding,
    Mark,
    Service,
    ServiceName,
    Table,
)

_FORWARDING = {
    Forwarding.MASQUERADE: "Masq",
    Forwarding.LOCAL: "Local",
    Forwarding.TUNNEL: "Tunnel",
    Forwarding.DIRECT: "Route",
}
_NONE = Counters()
_TITLES = (
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
)


def listing(
    services: Table,
    counters: Mapping[tuple[ServiceName, Endpoint], Counters],
    version: tuple[int, int, int],
    size: int,
) -> str:
    """Return the text that `ipvsadm -L -n` prints for this table, to the byte.

    version is that of the kernel's IPVS, size the number of buckets of its connection hash.
    A destination without counters has no connections.
    """
    head = (f"IP Virtual Server version {'.'.join(map(str, version))} (size={size})", *_TITLES)
    parts = [_text(head)]
    for service in order.services(services):
        parts.append(_text((" ".join(_service(service)), *_destinations(service, counters))))
    return "".join(parts)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _destinations(
    service: Service, counters: Mapping[tuple[ServiceName, Endpoint], Counters]
) -> Iterator[str]:
    for row in order.destinations(service):
        counted = counters.get((service.name, row.endpoint), _NONE) if counters else _NONE
        yield (
            f"  -> {spell_endpoint(row.endpoint):<28} {_FORWARDING[row.forwarding]:<7}"
            f" {row.weight:<6} {counted.active:<10} {counted.inactive:<10}"
        )


def _service(service: Service) -> Iterator[str]:
    yield _name(service.name)
    yield service.scheduler
    if service.flags:
        yield f"({_flags(service)})"
    if service.persistence:
        yield f"persistent {service.persistence}"
        if service.netmask is not None:
            yield f"mask {service.netmask}"
        if service.persistence_engine:
            yield f"pe {service.persistence_engine}"
    if service.one_packet:
        yield "ops"


def _name(name: ServiceName) -> str:
    if isinstance(name, Mark):
        # ipvsadm prints the mark as a signed int.
        mark = name.mark - 2**32 if name.mark >= 2**31 else name.mark
        return f"FWM  {mark} IPv6" if name.version == 6 else f"FWM  {mark}"
    return f"{name.transport.name:<4} {spell_endpoint(name.endpoint)}"


def _flags(service: Service) -> str:
    # ipvsadm has no name for flag 3 beside the schedulers that name the other two.
    nameless = "flag-3" if service.scheduler in ("sh", "mh") else ""
    return ",".join(flag for flag in spell_flags(service).split(",") if flag != nameless)
