"""The kinds of check that are in use, and the descriptors that all questions of a kind share."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from typing import Any

from lvs_nat.checks import kinds
from lvs_nat.checks.kind import Answer, Batch, Kind, Lent, Watch
from lvs_nat.core.questions import CheckKind
from lvs_nat.core.setup import Target
from lvs_nat.daemon.mishaps import Mishaps

Hasten = Callable[[Iterable[Target]], None]
Answered = Callable[[Iterable["tuple[Any, Answer]"], float], None]
Failed = Callable[[Batch, Exception, float], None]
Load = Callable[[CheckKind, Lent], Kind]
LOAD: Load = kinds.load


class Sharing:
    """Kinds as they are first asked for; what they share is polled by *poll* from then on.

    hasten is called with the targets that a kind's watch names, answered with what its batch
    has heard, and when; failed with a batch that cannot hear for a fault of its own.
    """

    def __init__(
        self,
        lent: Lent,
        poll: select.epoll,
        hasten: Hasten,
        answered: Answered,
        failed: Failed,
        mishaps: Mishaps,
        load: Load = LOAD,
    ) -> None:
        self._lent = lent
        self._poll = poll
        self._hasten = hasten
        self._answered = answered
        self._failed = failed
        self._mishaps = mishaps
        self._load = load
        self._kinds: dict[CheckKind, Kind] = {}
        self._watches: dict[int, Watch] = {}
        self._batches: dict[int, Batch] = {}

    def kind(self, word: CheckKind) -> Kind:
        """Return how questions of a kind are asked; raise ImportError without its library."""
        found = self._kinds.get(word)
        if found is None:
            self._kinds[word] = found = self._load(word, self._lent)
            watched = {found.watch.fileno(): found.watch} if found.watch else {}
            batched = dict.fromkeys(found.batch.filenos(), found.batch) if found.batch else {}
            for fd in (*watched, *batched):
                if fd >= 0:
                    self._poll.register(fd, select.EPOLLIN)
            self._watches.update(watched)
            self._batches.update(batched)
        return found

    def sees_to(self, fd: int, now: float) -> bool:
        """See to input of a descriptor that is shared; say whether it is."""
        if fd in self._batches:
            try:
                answers = self._batches[fd].answers(fd)
            except Exception as error:
                self._failed(self._batches[fd], error, now)
            else:
                self._answered(answers, now)
        elif fd in self._watches:
            try:
                stirred = self._watches[fd].stirred()
            except Exception as error:  # its targets are asked all the same, when they are due
                self._mishaps.answer(error)
                self._poll.unregister(fd)
                del self._watches[fd]
            else:
                self._hasten(stirred)
        else:
            return False
        return True

    def close(self) -> None:
        for kind in self._kinds.values():
            if kind.watch:
                kind.watch.close()
            if kind.batch:
                kind.batch.close()
