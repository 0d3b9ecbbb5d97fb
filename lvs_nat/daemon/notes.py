"""The state file is written and read: what one director leaves for the next."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lvs_nat.core import memory, rules
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import changes
from lvs_nat.core.memory import Memory
from lvs_nat.core.resuming import presumed, resumed
from lvs_nat.core.setup import Drift, Setup
from lvs_nat.core.spelling import spell, spell_operation
from lvs_nat.core.targets import Here
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.garbage import undisturbed
from lvs_nat.daemon.ledger import Ledger
from lvs_nat.daemon.saved import Saved, setup_of
from lvs_nat.errors import ConfigError
from lvs_nat.model import Ruleset, Table
from lvs_nat.system import files

log = logging.getLogger(__name__)

# News waits so long for more of it: writing takes no more than a twentieth of a processor, or
# where it takes long, what half a second allows.
SHARE = 20
LONGEST = 0.5


class Notes:
    """The state file at *path*.  A file that cannot be used is said and done without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ledger = Ledger(path, "a crash now would forget this")
        self._boot = files.boot_id()
        self._written: object = None
        self._about: Saved | None = None
        self._took = 0.0
        self._rulesets: tuple[Ruleset | None, Ruleset | None] = None, None

    def read(self) -> Memory | None:
        """Return what the last director of this boot left."""
        try:
            found = memory.parse(files.read_text(self._path))
        except (ConfigError, ValueError, OSError) as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            log.warning("starting without what the last director knew: %s: %s", self._path, error)
            return None
        if found.boot != self._boot:
            return None
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
        running = self._meant_by(found, saved)
        if running is not saved.rules:
            _warn("going on with the unsaved", saved.rules, running)
        if found and (reported := self._reported(found, saved)):
            _warn("leaving as it is, and not saved:", running, reported)
            running = reported
        cluster = Cluster.of(running, saved.setup, {}, here)
        if found:
            cluster = resumed(cluster, found, rows, now, at_once=at_once)
        return presumed(cluster, rows, now)

    def brief(self, director: Director, found: Memory | None, saved: Saved) -> None:
        """Tell *director*, whose cluster is of these, what is its to remove and not its to save."""
        if found and (ran := self.ours(found)):
            director.drop(ran)
        if found and self._reported(found, saved):
            director.meant = self._meant_by(found, saved)

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

    def _goes_on(self, found: Memory, saved: Saved) -> bool:
        """Whether edits last: their director was not told to end, and the file means the same."""
        return not found.clean and self._means(found, saved)

    def _meant_by(self, found: Memory | None, saved: Saved) -> Ruleset:
        """Return the rules that are to run, with the edits that were taken into them."""
        edited = found and found.running != found.rules
        ran = self.rules(found) if found and edited and self._goes_on(found, saved) else None
        return ran or saved.rules

    def _reported(self, found: Memory, saved: Saved) -> Ruleset | None:
        """Return these with the edits that were only reported, where that is still the policy."""
        if found.reported is None or saved.setup.drift is not Drift.REPORT:
            return None
        return self._rules(found.reported) if self._goes_on(found, saved) else None

    def _means(self, found: Memory, saved: Saved) -> bool:
        """Whether the rule file means what it did when *found* was written."""
        return found.saved == saved.digest or self._rules(found.rules) == saved.rules

    def rules(self, found: Memory) -> Ruleset | None:
        """Return the rules that ran when *found* was written; None, and a word, if they are bad."""
        return self._rules(found.running)

    def ours(self, found: Memory) -> Ruleset | None:
        """Return the services, without rows, and sync daemons that the last director had made.

        They are those of the rules that ran, and what it had not yet removed of rules before.
        """
        text = (found.reported or found.running) + found.dropped
        heads = (line for line in text.splitlines(keepends=True) if not line.startswith("-a "))
        return self._rules("".join(heads))

    def setup(self, found: Memory) -> Setup | None:
        """Return the settings that ran; None, and a word, if they are bad."""
        try:
            return setup_of(found.settings, f"{self._path}: settings")
        except ConfigError as error:
            log.warning("returning to the settings in the file: %s", error)
            return None

    def _rules(self, text: str) -> Ruleset | None:
        try:
            return rules.parse(text, str(self._path)).ruleset
        except ConfigError as error:
            log.warning("returning to the saved rules: %s", error)
            return None

    def saved(self, found: Memory) -> Saved:
        """Return the files as they were when *found* was written; ConfigError if they are bad."""
        setup = setup_of(found.settings, f"{self._path}: settings")
        parsed = rules.parse(found.rules, f"{self._path}: rules")
        return Saved(parsed.ruleset, setup, (), found.saved, found.settings, found.problems)

    def write(
        self, director: Director, saved: Saved, began: float, *, clean: bool = False
    ) -> list[str]:
        """Write down what runs now, if that is news.

        Returns, where that cannot be, what to warn the operator of.
        """
        # To see that nothing is new takes a tenth of the time of spelling thousands of rows.
        cluster = director.cluster
        healths = cluster.healths.values()
        moments = [(it.state, it.since, it.falls, it.weight) for it in healths]
        leaving = {key: memory.moments(it) for key, it in cluster.departures.items()}
        doubts = (leaving, cluster.lost, cluster.suspected, director.dropped, cluster.rules)
        news = (director.meant, cluster.members, saved, clean, moments, cluster.ramps, doubts)
        self._rulesets = director.meant, cluster.rules
        if news == self._written:
            return []
        asked = time.monotonic()
        try:
            with undisturbed():
                self._put(director, saved, began, clean)
            self._written = news
        except OSError as error:
            return [self._ledger.complain(error)]
        finally:
            self._took = time.monotonic() - asked
        return []

    @property
    def pause(self) -> float:
        """How long news may wait to be written down, in seconds."""
        return min(LONGEST, SHARE * self._took)

    def has(self, director: Director) -> bool:
        """Whether its rules, and not only equal ones, were written down, or could not be."""
        meant, running = self._rulesets
        return meant is director.meant and running is director.cluster.rules

    def about(self, saved: Saved) -> bool:
        """Whether a crash would go on with what was written last, given these files."""
        about = self._about
        return about is not None and (about.digest == saved.digest or about.rules == saved.rules)

    def hand_over(self, director: Director, saved: Saved, began: float) -> None:
        """Write down all of it, for a successor at once; raise OSError where that cannot be."""
        self._written = None  # if we go on here after all, it has to be written down anew
        self._put(director, saved, began, clean=False)

    def forget(self) -> None:
        """A stopped service leaves nothing."""
        self._path.unlink(missing_ok=True)

    def _put(self, director: Director, saved: Saved, began: float, clean: bool) -> None:
        running, cluster = spell(director.meant), director.cluster
        noted = Memory(
            boot=self._boot,
            clean=clean,
            began=began,
            saved=saved.digest,
            rules=running if saved.rules == director.meant else spell(saved.rules),
            running=running,
            settings=saved.settings,
            problems=saved.problems,
            healths=memory.known(cluster.healths),
            ramps=memory.named(cluster.ramps),
            departures=memory.named(cluster.departures),
            lost=frozenset(map(str, cluster.lost)),
            suspected=cluster.suspected,
            dropped=spell(director.dropped),
            reported=None if cluster.rules == director.meant else spell(cluster.rules),
        )
        self._ledger.write(memory.spell(noted))
        self._about = saved


def _warn(what: str, before: Ruleset, after: Ruleset) -> None:
    for operation in changes(before, after):
        log.warning("%s ipvsadm %s", what, spell_operation(operation))
