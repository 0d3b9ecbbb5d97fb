"""Who is asked about a row of the table: its checks, and the client's way where it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import NamedTuple, Union

from lvs_nat.core.questions import HALF_OPEN, CheckKind, Script
from lvs_nat.core.setup import Check, From, Setup, Target
from lvs_nat.model import (
    Address,
    Destination,
    Endpoint,
    Forwarding,
    Listener,
    ServiceName,
    Table,
    Transport,
)

Interface = Union[IPv4Interface, IPv6Interface]
Network = Union[IPv4Network, IPv6Network]

# What these ask is answered by a TCP server alone.
STREAMS = frozenset(
    {
        CheckKind.TCP, CheckKind.CONNECT, CheckKind.SYN, CheckKind.IDLE, CheckKind.TLS,
        CheckKind.HTTP, CheckKind.GRPC, CheckKind.EXPECT, CheckKind.AGENT,
    }
)  # fmt: skip
# What these ask needs no port of the real server's.
PORTLESS = frozenset({CheckKind.PING, CheckKind.SCRIPT, CheckKind.FILE, CheckKind.BFD})


@dataclass(frozen=True)
class Here:
    """What the director's machine is, as far as the clients' way depends on it.

    masquerades says that something may give forwarded clients another address (connection
    tracking is on for IPVS): then a real server answers that one, not the client.
    """

    interfaces: frozenset[Interface] = frozenset()
    masquerades: bool = False

    @cached_property
    def networks(self) -> Mapping[Address, tuple[Network, ...]]:
        """The addresses of this machine, each with the networks it belongs to."""
        found: dict[Address, tuple[Network, ...]] = {}
        for interface in self.interfaces:
            found[interface.ip] = (*found.get(interface.ip, ()), interface.network)
        return found


class Prepared(NamedTuple):
    """One check of a virtual service, made ready for all of its servers.

    port and address are those to ask instead of the server's own, 0 and None for none.
    """

    check: Check
    port: int
    address: Address | None


class Asker:
    """Who is asked about the rows of one virtual service."""

    def __init__(self, setup: Setup, name: ServiceName, here: Here) -> None:
        self._name = name
        self._here = here
        self._setup = setup.service(name)
        # Thousands of servers share these.
        self._usual = self._prepared(self._setup.checks)
        self._way_back = self._back(self._setup.checks)

    def targets(self, destination: Destination) -> tuple[Target, ...]:
        """Return whom to ask about a row; nobody where no check can be asked."""
        endpoint = destination.endpoint
        prepared, way_back = self._usual, self._way_back
        if endpoint in self._setup.servers:
            checks = self._setup.servers[endpoint]
            prepared, way_back = self._prepared(checks), self._back(checks)
        found = [
            Target(_where(endpoint, one), one.check)
            for one in prepared
            if one.port or endpoint.port or one.check.kind in PORTLESS
        ]
        if way_back is not None and open_way(self._name, destination, self._here):
            found.append(Target(endpoint, way_back, path=True))
        return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)

    def _prepared(self, checks: Sequence[Check]) -> list[Prepared]:
        """Return the checks that can be asked for this service.

        A TCP connection says something about a TCP service only, unless a port is named.
        """
        name = self._name
        stream = isinstance(name, Listener) and name.transport is Transport.TCP
        return [
            Prepared(self._directed(check), check.port, check.address)
            for check in checks
            if check.kind is not CheckKind.NONE
            and (stream or check.port or check.kind not in STREAMS)
        ]

    def _directed(self, check: Check) -> Check:
        name, question = self._name, check.question
        if isinstance(question, Script):
            question = replace(question, virtual=_virtual(name))
        found = replace(check, question=question, port=0, address=None, origin=From.AUTO)
        if check.origin is From.VIRTUAL and isinstance(name, Listener):
            return _from(found, name.endpoint.address)
        return found if isinstance(check.origin, From) else _from(found, check.origin)

    def _back(self, checks: Sequence[Check]) -> Check | None:
        """Return the one question that finds the way back, whatever else is asked.

        It keeps the times of the first check that wants it.
        """
        wanting = [it for it in checks if it.origin is From.AUTO and it.kind in STREAMS]
        if not wanting or not isinstance(self._name, Listener):
            return None
        first = wanting[0]
        timeout = min(first.timeout, Check().timeout)
        tried = replace(first, question=HALF_OPEN, timeout=timeout, port=0, address=None)
        return _from(tried, self._name.endpoint.address)


def _where(endpoint: Endpoint, asked: Prepared) -> Endpoint:
    if not asked.port and asked.address is None:
        return endpoint
    return Endpoint(asked.address or endpoint.address, asked.port or endpoint.port)


def _from(check: Check, address: Address) -> Check:
    return replace(check, way=replace(check.way, source=address))


def _virtual(name: ServiceName) -> tuple[str, str]:
    if isinstance(name, Listener):
        return str(name.endpoint.address), str(name.endpoint.port)
    return str(name.mark), ""


def open_way(name: ServiceName, destination: Destination, here: Here) -> bool:
    """Say whether a question from the virtual address travels as a client's packets do.

    It does where the virtual address is on this machine (in a pair, not on the standby), the
    real server is reached by NAT and answers through its gateway, not beside us on the
    virtual address's own network, and nothing gives clients another address.
    """
    if not isinstance(name, Listener) or name.transport is not Transport.TCP:
        return False
    virtual, server = name.endpoint.address, destination.endpoint
    return (
        destination.forwarding is Forwarding.MASQUERADE
        and server.port != 0
        and virtual.version == server.address.version
        and not here.masquerades
        and virtual in here.networks
        and server.address not in here.networks
        and not any(server.address in network for network in here.networks[virtual])
    )


def asked_alike(before: Table, after: Table) -> bool:
    """Say whether tables have the same rows, which then are asked the same questions."""
    return before.keys() == after.keys() and all(
        _same_rows(before[name].destinations, service.destinations)
        for name, service in after.items()
    )


def _same_rows(
    before: Mapping[Endpoint, Destination], after: Mapping[Endpoint, Destination]
) -> bool:
    return before.keys() == after.keys() and all(
        before[endpoint].forwarding is row.forwarding for endpoint, row in after.items()
    )
