"""What the director is about to change is written down first, and found again later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from lvs_nat.core.traces import Trace
from lvs_nat.errors import ConfigError
from lvs_nat.system.files import boot_id, read_text, write_atomic


class Record:
    """The traces of one director and its successors, in a file that is of one boot.

    *ours* says whether a trace can be one of ours: a file could have been forged.  *what* names,
    for a complaint, that of which nothing is known where the file cannot be used.  *root* is
    where the kernel tells which boot it is.
    """

    def __init__(
        self,
        path: Path,
        ours: Callable[[str, Trace], bool],
        what: str,
        root: Path = Path("/proc/sys"),
    ) -> None:
        self._path = path
        self._ours = ours
        self._what = what
        self._root = root

    def load(self) -> tuple[dict[str, Trace], str]:
        """Return the traces by name, and a complaint where there may have been others."""
        if not self._path.exists():
            return {}, ""
        try:
            found = json.loads(read_text(self._path))
            record = {name: Trace(*map(str, it)) for name, it in found["values"].items()}
            boot = found["boot"]
        except (ConfigError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            record, boot = {}, None
        if boot is None or not all(self._ours(name, trace) for name, trace in record.items()):
            return {}, f"{self._path} cannot be used: {self._what} before is not known"
        return (record, "") if boot == boot_id(self._root) else ({}, "")

    def save(self, record: Mapping[str, Trace]) -> None:
        """Have *record* on disk; raise OSError, and leave what is there, if that fails."""
        values = {
            name: [trace.before, trace.left, *filter(None, [trace.former])]
            for name, trace in record.items()
        }
        text = json.dumps({"boot": boot_id(self._root), "values": values}, indent=1)
        write_atomic(self._path, text + "\n", 0o600)

    def remove(self) -> None:
        """Forget it all: it is as it was."""
        self._path.unlink(missing_ok=True)
