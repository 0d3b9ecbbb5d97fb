"""A file that a director goes on from is replaced; what keeps it from that is said once."""

from __future__ import annotations

import logging
from pathlib import Path

from lvs_nat.system import files, notify

log = logging.getLogger(__name__)

# A disk that takes no longer is slow: a director that waits for it does not hang (seconds).
PATIENCE = 30.0


class Ledger:
    """One such file at *path*.  *loss* says what it means that it could not be written."""

    def __init__(self, path: Path, loss: str) -> None:
        self.path = path
        self._loss = loss
        self._said = ""

    def write(self, text: str) -> None:
        """Replace the file; raise OSError, with its name, where that cannot be."""
        try:
            with notify.patience(PATIENCE):
                self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                files.write_atomic(self.path, text, 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        if self._said:
            log.info("%s is written again", self.path)
        self._said = ""

    def complain(self, error: OSError) -> str:
        """Return what it means that `write` has failed; log that if it is news."""
        words = f"cannot write {self.path}: {error.strerror}; {self._loss}"
        if words != self._said:
            log.error("%s", words)
        self._said = words
        return words
