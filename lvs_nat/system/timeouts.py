"""The idle timeouts of the kernel's IPVS are remembered before they are set, and restored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lvs_nat.core.plan import Operation, SetTimeouts
from lvs_nat.core.timeouts import noted, ours, returning, staying
from lvs_nat.errors import KernelError
from lvs_nat.model import Ruleset, Timeouts
from lvs_nat.system.record import Record


class Refusal(Protocol):
    """Why one operation was not done."""

    @property
    def error(self) -> KernelError: ...


class Kernel(Protocol):
    """What holds the timeouts."""

    def read(self) -> Ruleset: ...

    def apply(self, operations: Sequence[Operation]) -> Sequence[Refusal]: ...


class TimeoutRecord:
    """What the idle timeouts were before a director changed them, in the file at *path*.

    It is on disk before the first change, so a crash at any point loses nothing; it lasts
    until `restore`, and no longer than the boot.
    """

    def __init__(self, path: Path) -> None:
        self._record = Record(path, ours, "what the idle timeouts were")

    def note(self, present: Timeouts, wanted: Timeouts) -> None:
        """Write down what *wanted* is about to change; raises OSError if that fails."""
        record, _ = self._record.load()
        found = noted(record, present, wanted)
        if found != record:
            self._record.save(found)

    def restore(self, kernel: Kernel) -> list[str]:
        """Put back what still holds our value; return a sentence for each restored or left.

        The record is removed, unless the kernel refuses: a later call tries again.
        """
        record, complaint = self._record.load()
        if not record:
            self._record.remove()
            return [complaint] if complaint else []
        try:
            wanted, lines = returning(record, _timeouts(kernel))
            if wanted != Timeouts():
                for refusal in kernel.apply((SetTimeouts(wanted),)):
                    raise refusal.error
        except KernelError as error:
            return [f"the idle timeouts are not restored: {error}"]
        self._record.remove()
        return lines

    def keep(self, kernel: Kernel) -> list[str]:
        """Leave them to a table that is kept; return a sentence for each that we had changed."""
        return staying(self._record.load()[0], _timeouts(kernel))


def _timeouts(kernel: Kernel) -> Timeouts:
    return kernel.read().timeouts or Timeouts()
