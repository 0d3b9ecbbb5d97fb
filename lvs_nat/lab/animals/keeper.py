"""One loop serves all animals, however long their visitors stay.

python -m lvs_nat.lab.animals.keeper FOLDER ADDRESS NAME...; prints the ports of the animals
named, in their order, as a line of JSON, and serves until its standard input ends.  FOLDER
holds the certificates.
"""

from __future__ import annotations

import heapq
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from lvs_nat.lab.animals import datagrams, http, lines, tls
from lvs_nat.lab.animals.animal import (
    Absent,
    Act,
    Animal,
    Answering,
    Datagrams,
    Den,
    Script,
    Stray,
    Stream,
)

ANIMALS: Mapping[str, Animal] = {
    animal.name: animal for part in (lines, http, tls, datagrams) for animal in part.ANIMALS
}
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: closing sends a reset


class Loop:
    """Calls back when a socket is ready or a rest is over."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._resting: list[tuple[float, int, Callable[[], object]]] = []
        self._rests = 0  # breaks ties in the heap

    def watch(
        self, file: socket.socket | TextIO, events: int, callback: Callable[[], object]
    ) -> None:
        """Call *callback* whenever one of *events* happens; 0 is none."""
        known = file in self._selector.get_map()
        if known and events:
            self._selector.modify(file, events, callback)
        elif events:
            self._selector.register(file, events, callback)
        elif known:
            self._selector.unregister(file)

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        self._rests += 1
        heapq.heappush(self._resting, (time.monotonic() + seconds, self._rests, callback))

    def run(self) -> None:
        while True:
            rest = self._resting[0][0] - time.monotonic() if self._resting else None
            for key, _ in self._selector.select(None if rest is None else max(0.0, rest)):
                key.data()
            while self._resting and self._resting[0][0] <= time.monotonic():
                heapq.heappop(self._resting)[2]()


class Visit:
    """One client at one animal, from its coming to its leave."""

    def __init__(self, loop: Loop, client: socket.socket, script: Script) -> None:
        self._loop = loop
        self._client = client
        self._script = script
        self._unsaid = memoryview(b"")

    def go_on(self, heard: bytes | None = None) -> None:
        """Do the animal's next deed; *heard* is what it has waited for."""
        try:
            # The first of a generator's deeds can only be had by sending it None.
            deed = next(self._script) if heard is None else self._script.send(heard)
        except StopIteration:
            self._leave()
            return
        if isinstance(deed, bytes):
            self._unsaid = memoryview(deed)
            self._say()
        elif isinstance(deed, Act):
            self._act(deed)
        else:
            self._loop.watch(self._client, 0, self.go_on)
            self._loop.after(deed, self.go_on)

    def _say(self) -> None:
        """Say what is unsaid, as far as the client takes it; one piece a turn of the loop."""
        try:
            self._unsaid = self._unsaid[self._client.send(self._unsaid) :]
        except BlockingIOError:
            pass
        except OSError:
            self._leave()
            return
        self._loop.watch(
            self._client, selectors.EVENT_WRITE, self._say if self._unsaid else self.go_on
        )

    def _act(self, act: Act) -> None:
        if act is Act.RESET:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._leave()
        elif act is Act.SHUT:
            with suppress(OSError):  # the client was faster
                self._client.shutdown(socket.SHUT_WR)
            self.go_on()
        else:
            hear = self._hear if act is Act.HEAR else self._ignore
            self._loop.watch(self._client, selectors.EVENT_READ, hear)

    def _hear(self) -> None:
        if heard := self._received():
            self.go_on(heard)

    def _ignore(self) -> None:
        self._received()

    def _received(self) -> bytes:
        """Return what the client says; if it has left, leave too."""
        try:
            heard = self._client.recv(1 << 16)
        except OSError:
            heard = b""
        if not heard:
            self._leave()
        return heard

    def _leave(self) -> None:
        self._loop.watch(self._client, 0, self.go_on)
        self._client.close()
        self._script.close()


class Keeper:
    """Houses animals at *address*; FOLDER holds their certificates."""

    def __init__(self, loop: Loop, address: str, folder: Path) -> None:
        self._loop = loop
        self._address = address
        self._folder = folder
        self._held: list[socket.socket] = []  # an unwatched socket would be closed

    def house(self, den: Den) -> int:
        """Open *den* and return its port."""
        if isinstance(den, Stream):
            server = self._stream(den)
        elif isinstance(den, Datagrams):
            server = self._datagrams(den.conduct)
        else:
            server = self._absent(den)
        return int(server.getsockname()[1])

    def _stream(self, den: Stream) -> socket.socket:
        context = tls.context(self._folder / den.certificate) if den.certificate else None
        server = self._bound(socket.SOCK_STREAM)
        server.listen(1024)

        def accept() -> None:
            with suppress(OSError):  # nobody is there any more
                client, _ = server.accept()
                client.setblocking(False)
                script = den.conduct()
                Visit(
                    self._loop, client, tls.inside(script, context) if context else script
                ).go_on()

        self._loop.watch(server, selectors.EVENT_READ, accept)
        return server

    def _datagrams(self, conduct: Answering) -> socket.socket:
        server, elsewhere = self._bound(socket.SOCK_DGRAM), self._bound(socket.SOCK_DGRAM)

        def answer() -> None:
            with suppress(OSError):  # an answer before this one found nobody
                asked, client = server.recvfrom(1 << 16)
                for words in conduct(asked):
                    if isinstance(words, Stray):
                        elsewhere.sendto(words.data, client)
                    else:
                        server.sendto(words, client)

        self._loop.watch(server, selectors.EVENT_READ, answer)
        return server

    def _absent(self, absent: Absent) -> socket.socket:
        kind = socket.SOCK_DGRAM if absent is Absent.UNREACHABLE else socket.SOCK_STREAM
        server = self._bound(kind)
        place = server.getsockname()
        if absent is Absent.FULL:
            server.listen(0)
            first = socket.socket(server.family)
            first.connect(place)
            self._held.append(first)
        elif absent is Absent.UNREACHABLE:
            server.connect(place)  # it is there for itself alone
        return server

    def _bound(self, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        made = socket.socket(family, kind)
        made.bind((self._address, 0))
        made.setblocking(False)
        self._held.append(made)
        return made


def main(folder: str, address: str, *names: str) -> None:
    """Serve the animals *names*."""
    loop = Loop()
    keeper = Keeper(loop, address, Path(folder))
    loop.watch(sys.stdin, selectors.EVENT_READ, sys.exit)
    print(json.dumps([keeper.house(ANIMALS[name].den) for name in names]), flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
