"""The control socket's requests are answered."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Union

from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.wishing import WISHES
from lvs_nat.errors import LvsNatError, NotPrivileged
from lvs_nat.system.control import Control, Conversation, spell

log = logging.getLogger(__name__)

# Whose members may command a director.
ADMINS = "lvs-admin"

Answer = dict[str, Any]


class Later:
    """An answer that is not known yet: whoever promises it calls `give` once, before long."""

    def __init__(self) -> None:
        self._given: Answer | None = None
        self._hear: Callable[[Answer], None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return self._hear is not None

    def to(self, hear: Callable[[Answer], None]) -> None:
        """Call *hear* with the answer, now if it is known."""
        self._hear = hear
        self._tell()

    def give(self, answer: Answer) -> None:
        """Make the answer known to whoever waits, or will."""
        self._given = answer
        self._tell()

    def _tell(self) -> None:
        if self._hear and self._given is not None:
            self._hear(self._given)


Verb = Callable[[dict[str, Any]], Union[Answer, Later]]
Told = Callable[[dict[str, Any]], Answer]

# Verbs that no operator types, and the command that sends them, which a refusal is to name.
COMMANDS: Mapping[str, str] = {
    "weigh": "weight",
    "connections": "drain",
    "running": "save",
    "saved": "save",
    "judge": "reload",
}

# What a client may take to send its request and to read its answer, in seconds.
PATIENCE = 5.0
# How many conversations there may be at once with those who may only ask, and with each of
# their users; and with operators, of whom nobody shall use up the director's descriptors either.
STRANGERS, EACH = 16, 4
OPERATORS, EACH_OPERATOR = 64, 16
# Strangers are told the same answer again for this many times as long as it took to make.
SHARE = 20


class Desk:
    """Answers requests by tables of verbs: for all, for operators, for the *trusted* alone.

    Trusted are by default root and the director's own user, who could end it anyway; operators
    are these and the members of the groups *admins*.  The trusted are always heard; strangers
    cannot keep operators from it, nor one operator another.
    """

    def __init__(
        self,
        control: Control,
        loop: Loop,
        open_to_all: Mapping[str, Told],
        operators: Mapping[str, Verb],
        privileged: Mapping[str, Verb],
        trusted: Collection[int] | None = None,
        admins: Collection[int] = (),
    ) -> None:
        self._control = control
        self._loop = loop
        self._open = open_to_all
        self._operators = operators
        self._privileged = privileged
        self._admins = frozenset(admins)
        self._trusted = {0, os.geteuid()} if trusted is None else trusted
        self._clients: dict[int, Conversation] = {}
        self._waiting: set[int] = set()  # for an answer that is not known yet
        self._told: dict[str, tuple[bytes, float]] = {}  # to strangers, and until when
        self.resume()

    def close(self) -> None:
        for fd in list(self._clients):
            self._end(fd)
        self._loop.unwatch(self._control.fileno())
        self._control.close()

    def fileno(self) -> int:
        """Return the descriptor that clients come to."""
        return self._control.fileno()

    @property
    def busy(self) -> bool:
        """Whether somebody asks, or reads the answer, who waits for nothing else."""
        return bool(self._clients.keys() - self._waiting)

    def rest(self) -> None:
        """Let whoever comes wait at the door."""
        self._loop.unwatch(self._control.fileno())

    def resume(self) -> None:
        """Let them in again."""
        self._loop.watch(self._control.fileno(), self._accept)

    def _accept(self) -> None:
        client = self._control.accept()
        if client is None:
            return
        if self._crowded(client):
            client.say(spell({"error": "too many ask at once; ask again later"}))
            client.flush()
            client.close()
            return
        fd = client.fileno()
        self._clients[fd] = client
        self._loop.watch(fd, lambda: self._hear(fd))
        self._loop.after(f"client {fd}", PATIENCE, lambda: self._end(fd))

    def _crowded(self, client: Conversation) -> bool:
        if client.uid in self._trusted:
            return False
        operates = self._operates(client)
        most, each = (OPERATORS, EACH_OPERATOR) if operates else (STRANGERS, EACH)
        others = (it for it in self._clients.values() if it.uid not in self._trusted)
        peers = [it.uid for it in others if self._operates(it) is operates]
        return len(peers) >= most or peers.count(client.uid) >= each

    def _operates(self, client: Conversation) -> bool:
        return client.uid in self._trusted or bool(client.gids & self._admins)

    def _hear(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            request = client.hear()
            if client.closed:
                self._end(fd)
            if request is None:
                return
            answer = self._answer(request, client)
        except (LvsNatError, ValueError, OSError) as error:
            answer = {"error": str(error), "exit_code": getattr(error, "exit_code", 1)}
        if isinstance(answer, Later):
            self._wait(fd, answer)
        else:
            self._say(fd, answer if isinstance(answer, bytes) else spell(answer))

    def _wait(self, fd: int, later: Later) -> None:
        client = self._clients[fd]
        self._waiting.add(fd)
        self._loop.forget(f"client {fd}")
        self._loop.unwatch(fd)

        def say(answer: Answer) -> None:
            if self._clients.get(fd) is client:
                self._say(fd, spell(answer))

        later.to(say)

    def _say(self, fd: int, answer: bytes) -> None:
        self._waiting.discard(fd)
        # To make the answer may have taken what the client has to read it.
        self._loop.after(f"client {fd}", PATIENCE, lambda: self._end(fd))
        self._clients[fd].say(answer)
        self._flush(fd)

    def _answer(self, request: dict[str, Any], client: Conversation) -> Answer | Later | bytes:
        verb = request["verb"]
        if verb in self._open and self._operates(client):
            return self._open[verb](request)
        if verb in self._open:
            return self._seldom(verb)
        if verb in self._operators:
            if not self._operates(client):
                raise NotPrivileged(f"only root and the group {ADMINS} may {_typed(request)}")
            return self._operators[verb](request)
        if verb not in self._privileged:
            raise LvsNatError(f"this director does not know {verb!r}")
        if client.uid not in self._trusted:
            raise NotPrivileged(f"only root may {_typed(request)}")
        return self._privileged[verb](request)

    def _seldom(self, verb: str) -> bytes:
        """Return what strangers are told; an answer that took long to make is kept for a while.

        However many ask, the director has most of its time for what it is there for.
        """
        told, until = self._told.get(verb, (b"", 0.0))
        began = time.monotonic()
        if began >= until:
            told = spell(self._open[verb]({"verb": verb}))
            now = time.monotonic()
            self._told[verb] = told, now + SHARE * (now - began)
        return told

    def _flush(self, fd: int) -> None:
        if self._clients[fd].flush():
            self._end(fd)
        else:
            self._loop.watch(fd, lambda: self._flush(fd), writing=True)

    def _end(self, fd: int) -> None:
        self._loop.forget(f"client {fd}")
        self._loop.unwatch(fd)
        self._waiting.discard(fd)
        client = self._clients.pop(fd, None)
        if client:
            client.close()


def _typed(request: dict[str, Any]) -> str:
    """Return the command that an operator has typed to ask this."""
    verb, wish = request["verb"], request.get("wish")
    return str(wish) if verb == "wish" and str(wish) in WISHES else COMMANDS.get(verb, verb)
