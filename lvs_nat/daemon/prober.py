"""The prober's process: orders in, verdicts out, a sign of life for the spawner."""

from __future__ import annotations

import os
import resource
import socket

from lvs_nat.core import wire
from lvs_nat.core.setup import Target
from lvs_nat.core.wire import Order
from lvs_nat.daemon.engine import Engine

# Descriptors kept for everything that is not a probe.
SPARE = 32
HEARTBEAT = 1.0


def run(director: socket.socket, alive: int) -> None:
    """Probe until the director closes its end; write a byte to *alive* every HEARTBEAT."""
    director.setblocking(False)
    prober = Prober(director)
    director.send(wire.HELLO)
    while prober.turn():
        try:
            os.write(alive, b".")
        except BlockingIOError:
            continue  # the spawner has enough to read already


class Prober:
    """An engine between the director's orders and its own verdicts."""

    def __init__(self, director: socket.socket) -> None:
        self._director = director
        self._generation = 0
        self._parts: list[Order] = []
        self._engine = Engine(_room())
        self._engine.register(director.fileno())

    def turn(self) -> bool:
        """Do what is due; return False once the director is gone."""
        if self._engine.turn(HEARTBEAT) and not self._hear():
            return False
        self._tell()
        return True

    def _hear(self) -> bool:
        while True:
            try:
                record = self._director.recv(wire.RECORD)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not record:
                return False
            self._take(wire.unpack_order(record))

    def _take(self, order: Order) -> None:
        if order.first == 0:
            self._parts = []
        self._parts.append(order)
        targets: list[Target] = [target for part in self._parts for target in part.targets]
        if len(targets) >= order.total:
            self._generation = order.generation
            self._engine.ask(targets)

    def _tell(self) -> None:
        told = self._engine.news()
        if not told:
            return
        try:
            for record in wire.pack_verdicts(self._generation, told):
                self._director.send(record)
        except BlockingIOError:
            return  # told again next turn, with what is news by then
        self._engine.forget_news()


def _room() -> int:
    """Return how many sockets may be open at once, after asking for all that may be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, most - SPARE)
