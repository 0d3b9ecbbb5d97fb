"""What the running director has of the saved files, and what is wrong with them by now."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from lvs_nat.core.setup import Setup
from lvs_nat.daemon.naming import Naming
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import Saved, load, rules_of
from lvs_nat.errors import ConfigError, Problem
from lvs_nat.model import Ruleset
from lvs_nat.system import notify
from lvs_nat.system.names import BUDGET

log = logging.getLogger(__name__)


class Loading:
    """The files as they were last read, with the problems of a later look that was in vain."""

    def __init__(self, paths: Paths, saved: Saved, naming: Naming) -> None:
        self.saved = saved
        self._paths = paths
        self._naming = naming
        naming.take(saved.addresses)

    def load(self) -> tuple[Ruleset, Setup]:
        """Read all files anew; raise ConfigError and change nothing if they are bad."""
        self.saved = saved = load(self._paths, before=self.saved.rows)
        self._naming.take(saved.addresses)
        for warning in saved.warnings:
            log.warning("%s", warning)
        return saved.rules, saved.setup

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

    def was_saved(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take note of what the rule file holds now; the settings stay as they run."""
        notify.longer(2 * BUDGET)
        parsed, digest, addresses = rules_of(self._paths, before=self.saved.rows)
        self.saved = replace(
            self.saved,
            rules=parsed.ruleset,
            digest=digest,
            problems=tuple(it for it in self.saved.problems if it.path != str(self._paths.rules)),
            rows=parsed.rows,
        )
        self._naming.take(addresses)
        return {}
