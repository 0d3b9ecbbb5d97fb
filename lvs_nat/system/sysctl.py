"""/proc/sys is read, set, remembered and restored."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lvs_nat.core.sysctls import (
    FORWARD,
    effects,
    ours,
    recorded,
    restored,
    returning,
    spell,
    staying,
)
from lvs_nat.errors import LvsNatError
from lvs_nat.system.record import Record

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV)


class Sysctls:
    """The kernel's settings, and the record of what they were before the director came.

    The record is on disk before the first write, so a crash at any point loses nothing; it
    lasts until `restore`, and no longer than the boot.
    """

    def __init__(
        self, root: Path = Path("/proc/sys"), record: Path = Path("/run/lvs-nat/sysctl.json")
    ) -> None:
        self._root = root
        self._record = Record(record, ours, "what settings were", root)
        self._said: set[str] = set()

    def interfaces(self) -> list[str]:
        """Return the interfaces that have settings, lo included."""
        found = sorted(os.listdir(self._root / "net/ipv4/conf"))
        return [name for name in found if name not in ("all", "default")]

    def set(self, wanted: Mapping[str, str]) -> list[str]:
        """Write what differs, in order; return a sentence for each change and for what is amiss.

        A setting that this kernel has not, or refuses, is said once.  Raises LvsNatError if
        packets cannot be forwarded for it, OSError if the record cannot be written; then
        nothing was changed.
        """
        present = self._present(wanted)
        lines = [
            f"{spell(name)} is not there: this kernel, or one without ip_vs loaded, goes without"
            for name in wanted
            if name not in present and self._news(name)
        ]
        record, complaint = self._record.load()
        lines += [complaint] if complaint else []
        found = recorded(wanted, present, record)
        if found != record:
            self._record.save(found)
        for name, value in wanted.items():
            if present.get(name, value) != value:
                try:
                    lines += self._change(name, present[name], value)
                except LvsNatError:  # forwarding is the first, so none is changed
                    self._record.save(record) if record else self._record.remove()
                    raise
        return lines

    def restore(self) -> list[str]:
        """Put back what still holds our value; return a sentence for each restored or left.

        The record is removed, unless the kernel refused a value: a later call tries again, and
        so it does after a crash in the midst of this one.
        """
        record, complaint = self._record.load()
        if not record:
            return [complaint or "no kernel setting is on record: none is restored"]
        present = self._values(record)
        wanted, lines = restored(record, present)
        found = returning(wanted, present, record)
        if found != record:
            with suppress(OSError):  # a crash now would be a second mishap
                self._record.save(found)
        refusals = []
        for name, value in wanted.items():
            if self._read(name) not in (value, None):  # one before it may have changed it by now
                try:
                    self._write(name, value)
                    lines.append(f"{spell(name)} is restored to {value}")
                except OSError as error:
                    refusals.append(f"cannot restore {spell(name)} to {value}: {error.strerror}")
        if not refusals:
            self._record.remove()
        return lines + refusals

    def keep(self) -> list[str]:
        """Leave all to a table that is kept; return a sentence for each that we had changed."""
        record, _ = self._record.load()
        return staying(record, self._values(record))

    def _change(self, name: str, before: str, value: str) -> list[str]:
        try:
            self._write(name, value)
        except OSError as error:
            what = f"cannot set {spell(name)} to {value}: {error.strerror}"
            if name == FORWARD:
                raise LvsNatError(f"{what}; without it no real server can answer") from error
            return [what] if self._news(what) else []
        return [f"{spell(name)} is set to {value}, was {before}"]

    def _news(self, what: str) -> bool:
        news = what not in self._said
        self._said.add(what)
        return news

    def _present(self, wanted: Mapping[str, str]) -> dict[str, str]:
        # effects() picks from these what writing one of the wanted changes along.
        names = list(wanted)
        for family in ("ipv4", "ipv6"):
            conf = self._root / "net" / family / "conf"
            if conf.is_dir():
                names += [f"net/{family}/conf/{name}/forwarding" for name in os.listdir(conf)]
        along = {other for name in wanted for other in effects(name, wanted[name], names)}
        return self._values((*wanted, *sorted(along)))

    def _values(self, names: Iterable[str]) -> dict[str, str]:
        """Return what those of *names* hold that are there."""
        values = {name: self._read(name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _read(self, name: str) -> str | None:
        try:
            return (self._root / name).read_text().strip()
        except OSError as error:
            if error.errno in GONE:
                return None
            raise

    def _write(self, name: str, value: str) -> None:
        number = os.open(self._root / name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(number, f"{value}\n".encode())
        finally:
            os.close(number)
