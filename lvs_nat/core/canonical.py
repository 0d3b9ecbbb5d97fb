"""The one line that rule files are full of, as ipvsadm-save writes it, read in one step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address

from lvs_nat.model import (
    WEIGHT_MAX,
    Destination,
    Endpoint,
    Forwarding,
    Listener,
    ServiceName,
    Transport,
)

_BYTE = r"(0|[1-9]\d{0,2})"
_BYTES = {str(value): value for value in range(256)}
_QUAD = r"\.".join([_BYTE] * 4)
_PORT = r"([1-9]\d{0,4})"
_ROW = re.compile(rf"-a (-[tu] [\d.:]+) -r {_QUAD}:{_PORT} -m -w (0|[1-9]\d{{0,9}})", re.ASCII)
_SERVICE = re.compile(rf"-[tu] {_QUAD}:{_PORT}", re.ASCII)
_TRANSPORTS = {"-t": Transport.TCP, "-u": Transport.UDP}

# What a canonical line says: a destination, and the service that has it.
Row = tuple[ServiceName, Destination]


class Canonical:
    """Reads `-a -t A.B.C.D:PORT -r A.B.C.D:PORT -m -w WEIGHT`, and leaves all else alone.

    It knows no rule of the language and no fault: whatever is not surely right is left to
    the reader that knows them.
    """

    def __init__(self) -> None:
        self._services: dict[str, Listener] = {}

    def row(self, text: str) -> Row | None:
        """Return the service and the destination of a canonical line, None for any other."""
        found = _ROW.fullmatch(text)
        if not found:
            return None
        name, *place, digits = found.groups()
        service = self._services.get(name) or self._service(name)
        endpoint, weight = _endpoint(place), int(digits)
        if service is None or endpoint is None or weight > WEIGHT_MAX:
            return None
        return service, Destination(endpoint, weight, Forwarding.MASQUERADE)

    def _service(self, name: str) -> Listener | None:
        found = _SERVICE.fullmatch(name)
        endpoint = _endpoint(found.groups()) if found else None
        if endpoint is None:
            return None
        self._services[name] = service = Listener(_TRANSPORTS[name[:2]], endpoint)
        return service


def _endpoint(words: Sequence[str]) -> Endpoint | None:
    a, b, c, d, digits = words
    try:
        value = _BYTES[a] << 24 | _BYTES[b] << 16 | _BYTES[c] << 8 | _BYTES[d]
    except KeyError:
        return None
    port = int(digits)
    # Others may not be one machine's address.
    if not 0x01000000 <= value < 0xE0000000 or port > 65535:
        return None
    return Endpoint(IPv4Address(value), port)
