"""What does a file say of the real server?  Operators and their programs write it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from lvs_nat.checks.kind import NOTHING_LENT, SHARE, Answer, Kind, Lent, filled, first_line
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import File
from lvs_nat.core.setup import Target
from lvs_nat.model import WEIGHT_MAX
from lvs_nat.system.inotify import Inotify

MOST = 512  # bytes that are read
UNKNOWN_WORD = "write a weight, a percentage, up, down or drain"
_NUMBER = re.compile(r"([0-9]{1,10})(%?)")


class Plan(NamedTuple):
    """Which file to read, and for whom."""

    path: str
    absent: bool
    target: Target


def prepare(target: Target) -> Plan:
    """Return the file to read for *target*."""
    question = target.check.question
    assert isinstance(question, File)
    known = {"h": str(target.endpoint.address), "p": str(target.endpoint.port), "%": "%"}
    return Plan(filled(question.path, known), question.absent, target)


def read(path: str) -> bytes:
    """Return the beginning of the file; raise OSError, ValueError for what is no file.

    Opening waits for nobody, whatever has been put there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{path} is no file")
        return os.read(fd, MOST)
    finally:
        os.close(fd)


def judged(path: str, content: bytes) -> Answer:
    """Return what *content* says; anything behind its first word is the reason."""
    word, _, reason = first_line(content).partition(" ")
    words = f"{path} says {word}" + (f": {reason.strip()}" if reason else "")
    number = _NUMBER.fullmatch(word)
    if word.lower() == "up":
        return Answer(Outcome.PASS, words)
    if word.lower() == "down":
        return Answer(Outcome.FAIL, words)
    if word.lower() == "drain":
        return Answer(Outcome.PASS, words, Weight(0))
    if number and number[2] and int(number[1]) <= SHARE:
        return Answer(Outcome.PASS, words, Weight(int(number[1]) / 100))
    if number and not number[2] and int(number[1]) <= WEIGHT_MAX:
        return Answer(Outcome.PASS, words, Weight(int(number[1]), share=False))
    said = f"says {word}" if word else "is empty"
    return Answer(Outcome.UNKNOWN, f"{path} {said}; {UNKNOWN_WORD}")


class Subscription:
    """One target's part in the watching of files; it ends with the target."""

    def __init__(self, files: Files, plan: Plan) -> None:
        self._files = files
        self._plan = plan

    def fileno(self) -> int:
        return -1

    def stirred(self) -> bool:
        return False

    def passed(self) -> None:
        """Nothing is to be opened: all is there from the beginning."""

    def close(self) -> None:
        self._files.forget(self._plan)


class Files:
    """The files of this kind of check, watched where the kernel lets us.

    Without that they are read when their turn comes, as all checks are asked.
    """

    def __init__(self, inotify: Callable[[], Inotify] = Inotify) -> None:
        self._inotify: Inotify | None = None
        with suppress(OSError):
            self._inotify = inotify()
        self._readers: dict[str, dict[str, list[Plan]]] = {}
        self._watched: set[str] = set()

    def fileno(self) -> int:
        return self._inotify.fileno() if self._inotify else -1

    def close(self) -> None:
        if self._inotify:
            self._inotify.close()

    def follow(self, plan: Plan) -> Subscription:
        """Have the file's changes told, until the subscription is closed."""
        folder, name = os.path.split(plan.path)
        self._readers.setdefault(folder, {}).setdefault(name, []).append(plan)
        return Subscription(self, plan)

    def forget(self, plan: Plan) -> None:
        """Tell no more of the file's changes to *plan*'s target."""
        folder, name = os.path.split(plan.path)
        plans = self._readers[folder][name]
        plans[:] = [it for it in plans if it is not plan]

    def stirred(self) -> Iterator[Target]:
        """Yield those whose file has changed."""
        for folder, name in self._inotify.changes() if self._inotify else ():
            if not name:
                self._watched.discard(folder)
            for known in (folder,) if folder else tuple(self._readers):
                plans = self._readers.get(known, {})
                for told in (name,) if name else tuple(plans):
                    yield from (plan.target for plan in plans.get(told, ()))

    def start(self, plan: Plan) -> Answer:
        """Return what the file says now."""
        self._watch(os.path.dirname(plan.path))
        try:
            return judged(plan.path, read(plan.path))
        except FileNotFoundError:
            outcome = Outcome.PASS if plan.absent else Outcome.UNKNOWN
            return Answer(outcome, f"{plan.path} is not there")
        except OSError as error:
            words = f"{plan.path} cannot be read: {(error.strerror or str(error)).lower()}"
            return Answer(Outcome.UNKNOWN, words)
        except ValueError as error:
            return Answer(Outcome.UNKNOWN, str(error))

    def _watch(self, folder: str) -> None:
        """Watch a folder that is not watched yet, if it is there by now."""
        if self._inotify and folder not in self._watched:
            with suppress(OSError):
                self._inotify.watch(folder)
                self._watched.add(folder)


def kind(_: Lent = NOTHING_LENT) -> Kind:
    """Return how files are asked, and watched in between."""
    files = Files()
    return Kind(prepare, files.start, sentinel=files.follow, watch=files)
