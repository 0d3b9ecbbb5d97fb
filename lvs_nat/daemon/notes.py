"""The state file is written and read: what one director leaves for the next."""

from __future__ import annotations

import logging
from pathlib import Path

from lvs_nat.core import memory, rules
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import changes
from lvs_nat.core.memory import Memory
from lvs_nat.core.spelling import spell, spell_operation
from lvs_nat.core.targets import Here
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.garbage import undisturbed
from lvs_nat.daemon.saved import Saved, setup_of
from lvs_nat.errors import ConfigError
from lvs_nat.model import Ruleset, Table
from lvs_nat.system import files

log = logging.getLogger(__name__)


class Notes:
    """The state file at *path*.  A file that cannot be used is said and done without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = files.boot_id()
        self._written: object = None
        self._about = ""

    def read(self) -> Memory | None:
        """Return what the last director of this boot left."""
        if not self._path.exists():
            return None
        try:
            found = memory.parse(files.read_text(self._path))
        except (ConfigError, ValueError, OSError) as error:
            log.warning("starting without what the last director knew: %s: %s", self._path, error)
            return None
        if found.boot != self._boot:
            return None
        self._about = found.saved
        return found

    def cluster(
        self,
        found: Memory | None,
        saved: Saved,
        rows: Table,
        now: float,
        here: Here,
        *,
        at_once: bool,
    ) -> Cluster:
        """Return what to believe first: *saved*, what was *found*, and the kernel's *rows*.

        here is what this machine is; *at_once* says that no time has passed since it was
        left: nothing of it is in doubt.
        """
        running = saved.rules
        if found and not found.clean and found.saved == saved.digest:
            running = self.rules(found) or running
            for operation in changes(saved.rules, running):
                log.warning("going on with the unsaved ipvsadm %s", spell_operation(operation))
        cluster = Cluster.of(running, saved.setup, {}, here)
        if found:
            recall = found.health_now if at_once else found.health
            known = {who: was for who in cluster.healths if (was := recall(who))}
            cluster = cluster.recalling(known, rows).resuming(found.ramps, rows, now)
        return cluster.presuming(rows, now)

    def left_by_a_crash(self) -> Saved | None:
        """Return the files as the last director had read them, if it has crashed."""
        found = self.read()
        if found is None or found.clean:
            return None
        try:
            return self.saved(found)
        except ConfigError as error:
            log.warning("what ran cannot be read: %s", error)
            return None

    def rules(self, found: Memory) -> Ruleset | None:
        """Return the rules that ran when *found* was written."""
        try:
            return rules.parse(found.running, str(self._path)).ruleset
        except ConfigError as error:
            log.warning("returning to the saved rules: %s", error)
            return None

    def saved(self, found: Memory) -> Saved:
        """Return the files as they were when *found* was written; ConfigError if they are bad."""
        setup = setup_of(found.settings, f"{self._path}: settings")
        parsed = rules.parse(found.rules, f"{self._path}: rules")
        return Saved(parsed.ruleset, setup, (), found.saved, found.settings, found.problems)

    def write(self, director: Director, saved: Saved, began: float, *, clean: bool = False) -> None:
        """Write down what runs now, if that is news."""
        # To see that nothing is new takes a tenth of the time of spelling thousands of rows.
        cluster = director.cluster
        healths = cluster.healths.values()
        moments = [(health.state, health.since, health.falls) for health in healths]
        news = (director.meant, cluster.members, saved, clean, moments, cluster.ramps)
        if news == self._written:
            return
        try:
            with undisturbed():
                self._put(director, saved, began, clean)
            self._written = news
        except OSError as error:
            log.error("cannot write %s: %s; a crash now would forget this", self._path, error)

    def about(self, saved: Saved) -> bool:
        """Whether a crash would go on with what was written last, given these files."""
        return self._about == saved.digest

    def hand_over(self, director: Director, saved: Saved, began: float) -> None:
        """Write down all of it, for a successor at once; raise OSError where that cannot be."""
        self._put(director, saved, began, clean=False)

    def forget(self) -> None:
        """A stopped service leaves nothing."""
        self._path.unlink(missing_ok=True)

    def _put(self, director: Director, saved: Saved, began: float, clean: bool) -> None:
        running, ramps = spell(director.meant), director.cluster.ramps
        noted = Memory(
            boot=self._boot,
            clean=clean,
            began=began,
            saved=saved.digest,
            rules=running if saved.rules == director.meant else spell(saved.rules),
            running=running,
            settings=saved.settings,
            problems=saved.problems,
            healths=memory.known(director.cluster.healths),
            ramps={(str(it.service), str(it.endpoint)): at for it, at in ramps.items()},
        )
        files.write_atomic(self._path, memory.spell(noted), mode=0o600)
        self._about = saved.digest
