"""The life of the daemon, told as a story: it starts, serves, reloads and ends."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lvs_nat
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import changes
from lvs_nat.core.listing import listing
from lvs_nat.core.report import count, report
from lvs_nat.core.spelling import spell, spell_operation
from lvs_nat.core.targets import Here
from lvs_nat.daemon.desk import ADMINS, Desk
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.ending import clear, give_back
from lvs_nat.daemon.hearing import Hearing
from lvs_nat.daemon.host import Host
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.notes import Notes
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.rescuing import Rescuing
from lvs_nat.daemon.saved import Saved, load, rules_of
from lvs_nat.daemon.succession import Seat, Succession
from lvs_nat.daemon.watching import EAGER, Watching, never
from lvs_nat.daemon.wishing import Wishing
from lvs_nat.errors import KernelError, LvsNatError
from lvs_nat.system import notify, privileges
from lvs_nat.system.control import Control
from lvs_nat.system.ipvs import Ipvs
from lvs_nat.system.names import BUDGET
from lvs_nat.system.rescue import Rescue
from lvs_nat.system.sysctl import Sysctls
from lvs_nat.system.timeouts import TimeoutRecord
from lvs_nat.system.watcher import Watcher

log = logging.getLogger(__name__)

# Between two looks at the kernel's table: short enough to put a lost table back within a
# second, and never more than a hundredth of a processor where reading takes long.  A glance
# costs next to nothing.
LOOK = 0.3
SHARE = 100
SECOND_LOOK = 0.21
# The first round of probes may last one time-out, and this much for the way there and back.
GRACE = 0.25
# Events of links need a library that takes longer to load than all of the start.
LISTEN = 1.0

Announce = Callable[[int, str], None]


class Service:
    """One running director with all its hands.

    announce is called once: with 0 and the listing when clients are served, or with an LSB
    exit code and a sentence when the start is refused.
    """

    def __init__(
        self,
        paths: Paths,
        saved: Saved,
        link: Link,
        kernel: Ipvs,
        announce: Announce,
        seat: Seat,
        watcher: Watcher | None = None,
        rescue: Rescue | None = None,
    ) -> None:
        self._paths = paths
        self._saved = saved
        self._link = link
        self._announce = announce
        self._announced = False
        self._kernel = kernel
        self._info = kernel.info()
        self._loop = Loop()
        self._clock = time.monotonic
        self._loaded = time.time()
        self._hearing = Hearing(link)
        self._said = ""
        self._problems = tuple(map(str, saved.problems))
        self._before = self._kernel.read()
        self._notes = Notes(paths.memory)
        self._seat = seat
        self._host = Host(
            Sysctls(record=paths.sysctls), lambda: self._director.cluster, self._moved
        )
        self._watcher = watcher
        silent_since = watcher.silent_since if watcher else never
        # Clients may be served by what another director has left: a refusal keeps that up.
        self._succeeds = paths.sysctls.exists()
        self._director = Director(self._first_cluster(), kernel, self._clock, silent_since)
        self._watching = Watching(watcher, self._loop, self._director, link)
        self._rescuing = Rescuing(rescue, self._loop, self._director)
        self._wishing = Wishing(paths.wishes, self._director, self._clock)
        self._wishing.recall()
        self._timeouts = TimeoutRecord(paths.timeouts)
        self.exit_code = 0

    def run(self) -> int:
        """Serve until told to end; return the exit code."""
        control = Control(self._paths.socket, self._seat.listening)
        self._desk = Desk(control, self._loop, *self._verbs(), admins=privileges.group(ADMINS))
        self._succession = Succession(
            self._seat,
            self._paths,
            self._loop,
            self._desk,
            self._link,
            self._hand_over,
            self._watcher,
        )
        self._host.set()
        self._loop.on_signal(signal.SIGTERM, self._leave)
        self._loop.on_signal(signal.SIGINT, self._leave)
        self._loop.on_signal(signal.SIGHUP, self._reload_by_signal)
        self._loop.watch(self._link.fileno(), self._hear)
        self._feed_watchdog()
        self._ask()
        try:
            self._loop.run()
        finally:
            self._desk.close()
            self._link.close()
        return self.exit_code

    # Starting

    def _first_cluster(self) -> Cluster:
        """Go on from what the last director knew, and from what the kernel holds."""
        now, rows = self._clock(), self._before.services
        found, at_once = self._notes.read(), self._seat.listening is not None
        self._began = found.began if found and at_once else now
        here = self._host.here()
        return self._notes.cluster(found, self._saved, rows, now, here, at_once=at_once)

    def _ask(self) -> None:
        """Have every server asked; take nothing away before the first answers."""
        self._hearing.order(self._director.cluster)
        targets = self._director.cluster.healths
        slowest = max((who.check.timeout for who in targets), default=0.0)
        self._director.hold(slowest + GRACE)
        if self._director.cluster.judging:
            self._loop.after("first round", slowest + GRACE, self._settle)
            self._look()
        else:
            self._settle()

    def _settle(self) -> None:
        """The first round is over: what was held back is done, and a start is announced."""
        self._loop.forget("first round")
        self._director.hold(0.0)
        self._look()
        if self._announced:
            return
        self._announced = True
        if self._director.refusals:
            self._refuse_to_start()
            return
        self._announce(0, self._listing())
        notify.ready(self._status())
        log.info("serving: %s", count(self._director.cluster))
        self._loop.after("remember", 0.0, self._remember)  # once whoever waits has been told
        self._loop.after("listen", LISTEN, lambda: self._host.listen(self._loop))

    def _refuse_to_start(self) -> None:
        try:
            self._kernel.apply(changes(self._kernel.read(), self._before))
        except KernelError as error:
            log.error("the table could not be put back: %s", error)
        if not self._succeeds:
            self._host.restore()
            self._timeouts.restore(self._kernel)
        self._announce(1, "\n".join(self._director.refusals))
        self.exit_code = 1
        self._loop.stop()

    # Serving

    def _hear(self) -> None:
        before = self._director.actual
        self._director.hear(self._hearing.news(self._clock()))
        if self._loop.pending("first round") and not self._director.cluster.judging:
            self._settle()
        if self._director.actual is not before:  # it was news, and has been acted on
            self._tell()

    def _look(self) -> None:
        """Read the kernel's table and put right what is not as it should be."""
        began = time.thread_time()  # not what others took of the processor meanwhile
        self._director.reconcile()
        usual = EAGER if self._watching.look() else LOOK
        pause = max(usual, SHARE * (time.thread_time() - began))
        if self._director.suspects_loss:
            pause = SECOND_LOOK
        self._loop.after("look", pause, self._look)
        self._loop.after("glance", LOOK, self._glance)
        self._wishing.keep()
        self._tell()

    def _glance(self) -> None:
        """Look before its time where a table that takes long to read seems to be lost."""
        if self._director.glance():
            self._loop.after("glance", LOOK, self._glance)
        else:
            self._look()

    def _moved(self, here: Here) -> None:
        self._director.move(here)
        self._tell()

    def _tell(self) -> None:
        self._hearing.follow(self._director.cluster)
        self._watching.follow()
        self._rescuing.follow()
        if self._watching.waiting:
            self._loop.once("leaving", EAGER, self._look)
        if self._announced:
            if self._said != (status := self._status()):
                notify.status(status)
                self._said = status
            self._loop.once("remember", 0.5, self._remember)

    def _remember(self, *, clean: bool = False) -> None:
        self._notes.write(self._director, self._saved, self._began, clean=clean)

    def _hand_over(self) -> None:
        self._notes.hand_over(self._director, self._saved, self._began)

    def _feed_watchdog(self) -> None:
        interval = notify.watchdog_interval()
        if interval:
            notify.watchdog()
            self._loop.after("watchdog", interval, self._feed_watchdog)

    def _status(self) -> str:
        return str(count(self._director.cluster))

    def _listing(self) -> str:
        director = self._director
        return listing(director.actual.services, director.counters, *vars(self._info).values())

    # Being asked

    def _verbs(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return what all may ask, what operators may, and what is for root."""
        wishing = self._wishing
        return (
            {"status": self._report},
            {
                "running": self._running, "diff": self._diff, "judge": self._judge,
                "reload": self._reload, "wish": wishing.wish, "weigh": wishing.weigh,
                "connections": wishing.connections,
            },
            {
                "reexec": lambda _: self._succession.begin(),
                "stop": self._stop,
                "saved": self._was_saved,
            },
        )  # fmt: skip

    def _report(self, _: dict[str, Any]) -> dict[str, Any]:
        director, now = self._director, self._clock()
        pulse = self._hearing.pulse
        body = report(director.cluster, director.actual, director.counters, pulse, now)
        return {
            "pid": os.getpid(),
            "version": lvs_nat.__version__,
            "loaded": self._loaded,
            "since": time.time() - (now - self._began),
            "uptime": round(now - self._began, 1),
            "rules": str(self._paths.rules),
            "unsaved": list(map(spell_operation, changes(self._saved.rules, director.meant))),
            "problems": list(self._problems),
            "refusals": list(director.refusals),
            "quarrels": list(map(str, director.quarrels.after((), now).all)),
            "writes": self._kernel.writes,
            **body,
        }

    def _running(self, _: dict[str, Any]) -> dict[str, Any]:
        self._look()  # an edit made a moment ago is what `save` is asked to save
        return {"rules": spell(self._director.meant), "path": str(self._paths.rules)}

    def _diff(self, _: dict[str, Any]) -> dict[str, Any]:
        pending = list(map(spell_operation, self._director.pending()))
        return {"rules": spell(self._director.meant), "kernel": pending}

    def _was_saved(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take note of what the rule file holds now; the settings stay as they run."""
        parsed, digest = rules_of(self._paths)
        self._saved = replace(self._saved, rules=parsed.ruleset, digest=digest)
        return {}

    def _judge(self, _: dict[str, Any]) -> dict[str, Any]:
        """Say what a reload would warn of; raise ConfigError with every problem of the files."""
        return {"warnings": list(map(str, load(self._paths).warnings))}

    def _reload(self, _: dict[str, Any]) -> dict[str, Any]:
        """Read all files and go over to them; raise ConfigError and change nothing if bad."""
        notify.reloading()
        notify.longer(2 * BUDGET)  # names are looked up
        try:
            self._saved = saved = load(self._paths)
            self._problems = ()
            self._director.reload(saved.rules, saved.setup)
            self._ask()
            self._host.set()  # last: a setting that the kernel refuses must not leave half of it
        finally:
            self._feed_watchdog()
            notify.ready(self._status())
        log.info("reloaded: %s", count(self._director.cluster))
        return {"refusals": list(self._director.refusals)}

    def _reload_by_signal(self) -> None:
        try:
            self._reload({})
        except (LvsNatError, OSError) as error:
            self._problems = tuple(str(error).splitlines())
            log.error("not reloaded, going on as before: %s", error)

    # Ending

    def _leave(self) -> None:
        """End, and leave the table and its connections to the next director."""
        notify.stopping()
        self._remember(clean=True)
        log.info("ending; the table stays")
        self._loop.stop()

    def _stop(self, _: dict[str, Any]) -> dict[str, Any]:
        """End the service: the table is cleared, the sysctls are as they were."""
        rules, setup = self._director.cluster.rules, self._director.cluster.setup
        lines = clear(self._kernel, rules, setup)
        # What is done now stays done, whatever the rest comes to.
        self._loop.stop()
        notify.stopping()
        self._notes.forget()
        lines += give_back(self._kernel, setup, self._host, self._timeouts)
        log.info("stopped")
        return {"restored": lines}
