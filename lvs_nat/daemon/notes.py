"""The state file is written and read: what one director leaves for the next."""

from __future__ import annotations

import logging
from pathlib import Path

from lvs_nat.core import memory, rules
from lvs_nat.core.memory import Memory
from lvs_nat.core.spelling import spell
from lvs_nat.daemon.director import Director
from lvs_nat.errors import ConfigError
from lvs_nat.model import Ruleset
from lvs_nat.system import files

log = logging.getLogger(__name__)


class Notes:
    """The state file at *path*.  A file that cannot be used is said and done without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = files.boot_id()
        self._written: object = None

    def read(self) -> Memory | None:
        """Return what the last director of this boot left."""
        if not self._path.exists():
            return None
        try:
            found = memory.parse(files.read_text(self._path))
        except (ConfigError, ValueError, OSError) as error:
            log.warning("starting without what the last director knew: %s: %s", self._path, error)
            return None
        return found if found.boot == self._boot else None

    def rules(self, found: Memory) -> Ruleset | None:
        """Return the rules that ran when *found* was written."""
        try:
            return rules.parse(found.running, str(self._path)).ruleset
        except ConfigError as error:
            log.warning("returning to the saved rules: %s", error)
            return None

    def write(self, director: Director, saved: str, *, clean: bool = False) -> None:
        """Write down what runs now, if that is news."""
        healths = director.cluster.healths
        # To see that nothing is new takes a tenth of the time of spelling thousands of rows.
        moments = [(health.state, health.since, health.falls) for health in healths.values()]
        news = (director.meant, director.cluster.members, saved, clean, moments)
        if news == self._written:
            return
        noted = memory.remember(self._boot, clean, saved, spell(director.meant), healths)
        try:
            files.write_atomic(self._path, memory.spell(noted), mode=0o600)
            self._written = news
        except OSError as error:
            log.error("cannot write %s: %s; a crash now would forget this", self._path, error)

    def forget(self) -> None:
        """A stopped service leaves nothing."""
        self._path.unlink(missing_ok=True)
