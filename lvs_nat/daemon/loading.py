"""What the running director has of the saved files, and what is wrong with them by now."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvs_nat.core.setup import Setup
from lvs_nat.daemon.naming import Naming
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import Saved, load, rules_of
from lvs_nat.errors import ConfigError, LvsNatError, Problem
from lvs_nat.model import Ruleset
from lvs_nat.system import notify
from lvs_nat.system.names import BUDGET

log = logging.getLogger(__name__)

# What a reload may name, which goes on with what the director was started with.
PLACES = (("rules", "reads"), ("config", "reads"), ("state_dir", "keeps its state in"))


class Loading:
    """The files as they were last read, with the problems of a later look that was in vain."""

    def __init__(self, paths: Paths, saved: Saved, naming: Naming) -> None:
        self.saved = saved
        self._paths = paths
        self._naming = naming
        self._stamp = _stamp(paths.rules)
        naming.take(saved.addresses)

    def load(self) -> tuple[Ruleset, Setup]:
        """Read all files anew; raise ConfigError and change nothing if they are bad."""
        stamp = _stamp(self._paths.rules)
        self.saved = saved = load(self._paths, before=self.saved.rows)
        self._stamp = stamp
        self._naming.take(saved.addresses)
        for warning in saved.warnings:
            log.warning("%s", warning)
        return saved.rules, saved.setup

    def must_be_meant(self, request: dict[str, Any]) -> None:
        """Raise LvsNatError where *request* names other files than ours: none of them is read.

        Whoever edits a file that we do not read must not be told that it is served now.
        """
        wrong = []
        for name, does in PLACES:
            ours = str(getattr(self._paths, name))
            meant = str(request.get(name, ours))
            if os.path.realpath(meant) != os.path.realpath(ours):
                wrong.append(f"the director {does} {ours}; a restart goes over to {meant}")
        if wrong:
            raise LvsNatError("\n".join(wrong))

    def refused(self, error: Exception) -> None:
        """Take note that they could not be used, and go on with what they were."""
        known = error.problems if isinstance(error, ConfigError) else None
        problems = known or (Problem("reload", 0, str(error)),)
        self.saved = replace(self.saved, problems=problems)
        log.error("not reloaded, going on as before: %s", error)

    def judge(self, _: dict[str, Any]) -> dict[str, Any]:
        """Say what a reload would warn of; raise ConfigError with every problem of the files."""
        notify.longer(2 * BUDGET)  # names are looked up
        return {"warnings": list(map(str, load(self._paths, before=self.saved.rows).warnings))}

    def on_disk(self) -> tuple[Ruleset, list[str]]:
        """Return what the rule file means now, and what is to be said of that.

        Raises ConfigError if it is bad.  It may have got an owner whose files root cannot read
        without capabilities; then what it held when it was last read is returned.
        """
        notify.longer(2 * BUDGET)  # names are looked up
        path = self._paths.rules
        try:
            return rules_of(self._paths, before=self.saved.rows)[0].ruleset, []
        except ConfigError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
        stamp = _stamp(path)
        since = "; it has been changed since" if stamp and stamp != self._stamp else ""
        words = (
            "cannot be read by the director, and a reload would be refused; "
            f"what it held when it was last read is compared{since}"
        )
        return self.saved.rules, [f"{path}: {words}"]

    def was_saved(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take note of what the rule file holds now; the settings stay as they run."""
        notify.longer(2 * BUDGET)
        stamp = _stamp(self._paths.rules)
        parsed, digest, addresses = rules_of(self._paths, before=self.saved.rows)
        self.saved = replace(
            self.saved,
            rules=parsed.ruleset,
            digest=digest,
            problems=tuple(it for it in self.saved.problems if it.path != str(self._paths.rules)),
            rows=parsed.rows,
        )
        self._stamp = stamp
        self._naming.take(addresses)
        return {}


def _stamp(path: Path) -> tuple[int, ...]:
    """Tell one state of the file from another without reading it; nothing if that cannot be."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
