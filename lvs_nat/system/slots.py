"""The table that we share with the filter in the kernel: whom it watches, what it has seen.

It is memory, written without a system call.  So it can be written when all privilege is given
up, which bpf(2) cannot do before Linux 5.19.  Each real server has a slot in one of the two
buckets that its key names.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from lvs_nat.model import Endpoint
from lvs_nat.system import filters

SIZE = filters.BUCKETS * filters.BUCKET
_WORD = struct.Struct("@Q")
_NS = 1e-9


class Slots:
    """Endpoints and what is known of each.

    *memory* has SIZE bytes.  If *used*, it holds what others have left, which is forgotten; else
    it is all 0, and no more of it is touched than is needed.
    """

    def __init__(self, memory: memoryview, *, used: bool = False) -> None:
        if used:
            memory[:] = bytes(SIZE)
        self._memory = memory
        self._places: dict[Endpoint, int] = {}

    def watch(self, endpoints: Collection[Endpoint]) -> frozenset[Endpoint]:
        """Watch *endpoints* and nobody else; return those that there was no room for.

        Of those that stay nothing is forgotten.
        """
        wanted = frozenset(endpoints)
        for endpoint in self._places.keys() - wanted:
            self._write(self._places.pop(endpoint) + filters.KEY, filters.LEFT)
        for endpoint in wanted - self._places.keys():
            key = filters.key(endpoint.address.packed, endpoint.port)
            place = self._free(key)
            if place is not None:
                self._memory[place : place + filters.SLOT] = bytes(filters.SLOT)
                self._write(place + filters.KEY, key)
                self._places[endpoint] = place
        return wanted - self._places.keys()

    def silent_since(self, endpoint: Endpoint) -> float | None:
        """Return since when *endpoint* has owed an answer to a SYN and sent nothing whatever.

        In seconds of time.monotonic; None says that it owes none, or is not watched.
        """
        place = self._places.get(endpoint)
        if place is None or not (since := self._read(place + filters.SINCE)):
            return None
        return max(since, self._read(place + filters.HEARD)) * _NS

    def hush(self, endpoint: Endpoint, until: float) -> None:
        """Have nothing of *endpoint* reported before *until*, in seconds of time.monotonic."""
        place = self._places.get(endpoint)
        if place is not None:
            self._write(place + filters.QUIET_UNTIL, round(until / _NS))

    def round_trip(self, endpoint: Endpoint) -> float:
        """Return the seconds that *endpoint* takes to answer a SYN; 0.0 if not known."""
        place = self._places.get(endpoint)
        return 0.0 if place is None else self._read(place + filters.ROUND_TRIP) * _NS

    def _free(self, key: int) -> int | None:
        """Return the place of the first free slot of the key's buckets."""
        for bucket in filters.buckets(key):
            start = bucket * filters.BUCKET
            for place in range(start, start + filters.BUCKET, filters.SLOT):
                if self._read(place + filters.KEY) in (filters.UNUSED, filters.LEFT):
                    return place
        return None

    def _read(self, place: int) -> int:
        return int(_WORD.unpack_from(self._memory, place)[0])

    def _write(self, place: int, value: int) -> None:
        _WORD.pack_into(self._memory, place, value)
