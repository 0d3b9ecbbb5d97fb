"""Who is asked about a row of the table: its checks, and the client's way where it can be tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface
from typing import Union

from lvs_nat.core.questions import CheckKind, Script, Tcp
from lvs_nat.core.setup import Check, From, Setup, Target
from lvs_nat.model import Address, Destination, Forwarding, Listener, ServiceName, Transport

Interface = Union[IPv4Interface, IPv6Interface]

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

    def has(self, address: Address) -> bool:
        return any(interface.ip == address for interface in self.interfaces)

    def beside(self, address: Address, other: Address) -> bool:
        """Say whether *other* is on a network of ours that *address* belongs to."""
        return any(
            interface.ip == address and other in interface.network for interface in self.interfaces
        )


def targets(
    setup: Setup, name: ServiceName, destination: Destination, here: Here
) -> tuple[Target, ...]:
    """Return whom to ask about a row; nobody where no check can be asked."""
    return tuple(dict.fromkeys(_targets(setup, name, destination, here)))


def _targets(
    setup: Setup, name: ServiceName, destination: Destination, here: Here
) -> Iterator[Target]:
    service = setup.service(name)
    virtual = name.endpoint.address if isinstance(name, Listener) else None
    checks = service.servers.get(destination.endpoint, service.checks)
    for check in checks:
        target = _target(check, name, destination)
        if target is not None:
            yield target
    # One question finds the way back, whatever else is asked.
    wanted = any(check.origin is From.AUTO and check.kind in STREAMS for check in checks)
    if wanted and virtual and open_way(name, destination, here):
        first = next(check for check in checks if check.origin is From.AUTO)
        yield Target(destination.endpoint, _from(_tried(first), virtual), path=True)


def _target(check: Check, name: ServiceName, destination: Destination) -> Target | None:
    """Return whom *check* asks about a row; None where it cannot be asked.

    A TCP connection says something about a TCP service only, unless a port is named; a
    firewall mark or port 0 does not tell which port to ask.
    """
    port = check.port or destination.endpoint.port
    if check.kind is CheckKind.NONE or (port == 0 and check.kind not in PORTLESS):
        return None
    stream = isinstance(name, Listener) and name.transport is Transport.TCP
    if check.kind in STREAMS and not stream and not check.port:
        return None
    address = check.address or destination.endpoint.address
    endpoint = replace(destination.endpoint, address=address, port=port)
    question = check.question
    if isinstance(question, Script):
        question = replace(question, virtual=_virtual(name))
    check = replace(check, question=question, port=0, address=None)
    if check.origin is From.VIRTUAL and isinstance(name, Listener):
        check = _from(check, name.endpoint.address)
    elif not isinstance(check.origin, From):
        check = _from(check, check.origin)
    return Target(endpoint, replace(check, origin=From.AUTO))


def _tried(check: Check) -> Check:
    """Return the question of the way back that keeps the times of *check*."""
    timeout = min(check.timeout, Check().timeout)
    return replace(check, question=Tcp(), timeout=timeout, port=0, address=None)


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
        and here.has(virtual)
        and not here.has(server.address)
        and not here.beside(virtual, server.address)
    )
