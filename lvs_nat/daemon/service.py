"""The life of the daemon, told as a story: it starts, serves, reloads and ends."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import changes, united
from lvs_nat.core.leaving import unseen
from lvs_nat.core.memory import Memory
from lvs_nat.core.targets import Here
from lvs_nat.daemon.desk import ADMINS, Desk
from lvs_nat.daemon.director import SECOND_LOOK, Director
from lvs_nat.daemon.ending import clear, give_back
from lvs_nat.daemon.garbage import undisturbed
from lvs_nat.daemon.hearing import Hearing
from lvs_nat.daemon.host import Host
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.loading import Loading
from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.naming import Naming
from lvs_nat.daemon.notes import Notes
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.rescuing import Rescuing
from lvs_nat.daemon.saved import Saved
from lvs_nat.daemon.succession import Seat, Succession
from lvs_nat.daemon.telling import Telling
from lvs_nat.daemon.watching import EAGER, Watching
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

# Between two looks at the kernel's table: never more than a hundredth of a processor where
# reading takes long.  A glance is cheap, so that any lost table is back within half a second.
LOOK = 0.3
GLANCE = 0.1
SHARE = 100
# A table that was found empty is looked at again just past that moment.
LOOK_AGAIN = SECOND_LOOK + 0.01
# What the kernel has refused is tried again this soon, however long reading takes.
RETRY = 1.0
# The first round of probes may last one time-out, and this much for the way there and back.
GRACE = 0.25
# To tell of tens of thousands of servers takes seconds on a slow machine.
TELLING = 30.0
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
        self._link = link
        self._announce = announce
        self._announced = False
        self._kernel = kernel
        self._loop = Loop()
        self._naming = Naming(paths.addresses, self._loop)
        self._loading = Loading(paths, saved, self._naming)
        self._clock = time.monotonic
        self._hearing = Hearing(link)
        self._said = ""
        self._before = self._kernel.read()
        self._notes = Notes(paths.memory)
        self._seat = seat
        self._host = Host(
            Sysctls(record=paths.sysctls), lambda: self._director.cluster, self._moved
        )
        self._watcher = watcher
        silent_since = watcher.silent_since if watcher else unseen
        # Clients may be served by what another director has left: a refusal keeps that up.
        self._succeeds = paths.sysctls.exists()
        found = self._notes.read()
        self._began = found.began if found and seat.listening is not None else self._clock()
        self._director = Director(self._first_cluster(found), kernel, self._clock, silent_since)
        self._notes.brief(self._director, found, self._loading.saved)
        self._watching = Watching(watcher, self._loop, self._director, link)
        self._rescuing = Rescuing(rescue, self._loop, self._director)
        self._wishing = Wishing(paths.wishes, self._director, self._clock)
        self._wishing.recall()
        self._telling = Telling(
            paths, kernel, self._director, self._hearing, self._loading, self._naming, self._began
        )
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
        if claim := self._seat.claim:
            self._loop.watch(claim.fileno(), claim.turn_away)
        self._feed_watchdog()
        self._ask()
        try:
            self._loop.run()
        finally:
            self._naming.close()
            self._host.close()
            if claim:
                claim.close()
            self._desk.close()
            self._link.close()
        return self.exit_code

    # Starting

    def _first_cluster(self, found: Memory | None) -> Cluster:
        """Return what to believe first: what the last director knew, and what the kernel holds."""
        now, rows = self._clock(), self._before.services
        at_once = self._seat.listening is not None
        here = self._host.here()
        return self._notes.cluster(found, self._loading.saved, rows, now, here, at_once=at_once)

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
        self._announce(0, self._telling.listing())
        notify.ready(self._telling.line())
        log.info("serving: %s", self._telling.line())
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
        usually = EAGER if self._watching.look() else LOOK
        pause = max(usually, SHARE * (time.thread_time() - began))
        if self._director.refusals:
            pause = min(pause, RETRY)
        if self._director.suspects_loss:
            pause = LOOK_AGAIN
        self._loop.after("look", pause, self._look)
        self._loop.after("glance", GLANCE, self._glance)
        self._wishing.keep()
        self._tell()

    def _glance(self) -> None:
        """Look before its time where a table that takes long to read seems to be lost."""
        if self._director.glance():
            self._loop.after("glance", GLANCE, self._glance)
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
            if self._said != (status := self._telling.line()):
                notify.status(status)
                self._said = status
            self._loop.once("remember", self._notes.pause, self._remember)
            # An edit, which was said to stay, or one that a reload has dropped.
            if not self._notes.has(self._director) and self._notes.about(self._loading.saved):
                self._remember()

    def _remember(self, *, clean: bool = False) -> list[str]:
        return self._notes.write(self._director, self._loading.saved, self._began, clean=clean)

    def _hand_over(self) -> None:
        self._naming.rest()  # a successor would never wait for our children
        self._wishing.write()
        self._notes.hand_over(self._director, self._loading.saved, self._began)

    def _feed_watchdog(self) -> None:
        interval = notify.watchdog_interval()
        if interval:
            notify.watchdog()
            self._loop.after("watchdog", interval, self._feed_watchdog)

    # Being asked

    def _verbs(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return what all may ask, what operators may, and what is for root."""
        wishing, loading, telling = self._wishing, self._loading, self._telling
        return (
            {"status": self._report},
            {
                "running": self._running, "diff": telling.diff, "judge": loading.judge,
                "reload": self._reload, "wish": wishing.wish, "weigh": self._weigh,
                "connections": wishing.connections,
            },
            {
                "reexec": lambda _: self._succession.begin(),
                "stop": self._stop,
                "saved": loading.was_saved,
            },
        )  # fmt: skip

    def _report(self, request: dict[str, Any]) -> dict[str, Any]:
        with notify.patience(TELLING):
            return self._telling.report(request)

    def _running(self, request: dict[str, Any]) -> dict[str, Any]:
        self._look()  # an edit made a moment ago is what `save` is asked to save
        return self._telling.running(request)

    def _weigh(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._wishing.weigh(request)
        return {**answer, "warnings": self._remember()}  # what was answered outlives a crash

    def _reload(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read all files and go over to them; raise ConfigError and change nothing if bad."""
        self._loading.must_be_meant(request)
        unwritten: list[str] = []
        notify.reloading()
        notify.longer(2 * BUDGET)  # names are looked up
        try:
            with undisturbed():
                self._director.reload(*self._loading.load())
                self._ask()
            if self._notes.about(self._loading.saved):  # with edits that are dropped now
                unwritten = self._remember()
            self._host.set()  # last: a setting that the kernel refuses must not leave half of it
        finally:
            self._feed_watchdog()
            notify.ready(self._telling.line())
        log.info("reloaded: %s", self._telling.line())
        warnings = list(map(str, self._loading.saved.warnings))
        return {"refusals": list(self._director.refusals), "warnings": warnings + unwritten}

    def _reload_by_signal(self) -> None:
        try:
            self._reload({})
        except (LvsNatError, OSError) as error:
            self._loading.refused(error)

    # Ending

    def _leave(self) -> None:
        """End, and leave the table and its connections to the next director."""
        notify.stopping()
        self._remember(clean=True)
        log.info("ending; the table stays")
        self._loop.stop()

    def _stop(self, _: dict[str, Any]) -> dict[str, Any]:
        """End the service: the table is cleared, the sysctls are as they were."""
        director, setup = self._director, self._director.cluster.setup
        ours = united(director.cluster.rules, director.dropped)
        lines = clear(self._kernel, ours, setup)
        # What is done now stays done, whatever the rest comes to.
        self._loop.stop()
        notify.stopping()
        try:
            lines += give_back(self._kernel, setup, self._host, self._timeouts)
        finally:
            self._notes.forget()  # no sooner: were we killed, the next stop would not know what ran
        log.info("stopped")
        return {"restored": lines}
