"""The one line that rule files are full of, as ipvsadm-save writes it, read in one step."""

from __future__ import annotations

import re
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
_QUAD = r"\.".join([_BYTE] * 4)
_PORT = r"([1-9]\d{0,4})"
_SERVER = rf"{_QUAD}:{_PORT}"
_ROW = re.compile(rf"-a (-[tu] {_SERVER}) -r ({_SERVER}) -m -w (0|[1-9]\d{{0,9}})", re.ASCII)
_TRANSPORTS = {"-t": Transport.TCP, "-u": Transport.UDP}


class Canonical:
    """Reads `-a -t A.B.C.D:PORT -r A.B.C.D:PORT -m -w WEIGHT`, and leaves all else alone.

    It knows no rule of the language and no fault: whatever is not surely right is left to
    the reader that knows them.
    """

    def __init__(self) -> None:
        self._services: dict[str, Listener] = {}

    def row(self, text: str) -> tuple[ServiceName, Destination] | None:
        """Return the service and the destination of a canonical line, None for any other."""
        found = _ROW.fullmatch(text)
        if not found:
            return None
        words = found.groups()
        service = self._services.get(words[0])
        if service is None:
            there = _endpoint(words[1:6])
            if there is None:
                return None
            service = Listener(_TRANSPORTS[words[0][:2]], there)
            self._services[words[0]] = service
        endpoint, weight = _endpoint(words[7:12]), int(words[12])
        if endpoint is None or weight > WEIGHT_MAX:
            return None
        return service, Destination(endpoint, weight, Forwarding.MASQUERADE)


def _endpoint(words: tuple[str, ...]) -> Endpoint | None:
    a, b, c, d, port = map(int, words)
    # The first byte leaves out what may not be one machine's address.
    if not 0 < a < 224 or b > 255 or c > 255 or d > 255 or port > 65535:
        return None
    return Endpoint(IPv4Address(a << 24 | b << 16 | c << 8 | d), port)
