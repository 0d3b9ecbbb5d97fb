"""One director is run from its lock to its end."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.spawner import spawn
from lvs_nat.errors import ConfigError, LvsNatError
from lvs_nat.system import notify, privileges
from lvs_nat.system.pidfile import PidFile
from lvs_nat.system.program import Program

if TYPE_CHECKING:
    from lvs_nat.core.setup import Rivals
    from lvs_nat.daemon.link import Link
    from lvs_nat.daemon.saved import Saved
    from lvs_nat.daemon.succession import Seat
    from lvs_nat.system.rescue import Rescue
    from lvs_nat.system.watcher import Watcher

log = logging.getLogger(__name__)

# What a start may take from the first word about a resolver on: two waits of a minute, and the
# first round of probes.
SETTLING = 180.0

# What a director has that had to be made as root, or by the image before it.
Hands = tuple["Watcher | None", "Rescue | None"]
# Called once, with an LSB exit code, what to show, and warnings.
Announce = Callable[[int, str, "tuple[str, ...]"], None]


def serve(paths: Paths, lock: PidFile, announce: Announce, program: Program) -> int:
    """Run a director until its end; return its exit code.

    *program* is how we were called, taken before anybody went to another directory.

    The prober is forked while nothing is open that it could misuse, and while this process
    is small: what only the director needs is loaded afterwards.  Then the files are judged,
    and only then is the kernel spoken to.  Whatever prevents a start is announced with its
    exit code.
    """
    warnings: tuple[str, ...] = ()

    def tell(code: int, text: str) -> None:
        announce(code, text, warnings)

    def begin() -> int:
        nonlocal warnings
        paths.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        with lock:
            lock.write()
            link = spawn(program=program)
            saved = _saved(paths)
            from lvs_nat.daemon import rescuing, rivalry, watching
            from lvs_nat.daemon.succession import Seat

            claim, rivals = rivalry.claimed(_towards_rivals(paths, saved))
            warnings = (*map(str, (*saved.problems, *saved.warnings)), *rivals)
            for warning in warnings:
                log.warning("%s", warning)

            def hands() -> Hands:
                rescue = rescuing.prepared(saved.setup, paths.rescue)
                return watching.opened(saved.setup), rescue

            seat = Seat(program, lock.fileno(), claim=claim)
            return _direct(paths, saved, link, tell, seat, hands)

    return _guarded(begin, tell)


def go_on(paths: Paths, lock: int, listening: int, link: Link, watcher: Watcher | None) -> int:
    """Be the director in the place of another image of this process, until its end.

    It has left the descriptors *lock* and *listening*, the *watcher* that it had, and all that
    it knew in the state file.
    """
    from lvs_nat.daemon import rescuing, rivalry
    from lvs_nat.daemon.notes import Notes
    from lvs_nat.daemon.succession import Seat

    os.set_inheritable(lock, False)

    def begin() -> int:
        with PidFile(paths.pid_file, lock):
            notes = Notes(paths.memory)
            found = notes.read()
            if found is None:
                raise LvsNatError("what ran is not known; ending, and leaving the table as it is")
            claim, _ = rivalry.claim()
            seat = Seat(Program.of_this_process(), lock, listening, claim)

            def hands() -> Hands:
                return watcher, rescuing.adopted(paths.rescue)

            return _direct(paths, notes.saved(found), link, lambda *_: None, seat, hands)

    return _guarded(begin, lambda *_: None)


def _direct(
    paths: Paths,
    saved: Saved,
    link: Link,
    tell: Callable[[int, str], None],
    seat: Seat,
    hands: Callable[[], Hands],
) -> int:
    from lvs_nat.daemon import rescuing
    from lvs_nat.daemon.service import Service
    from lvs_nat.system.ipvs import Ipvs
    from lvs_nat.system.timeouts import TimeoutRecord

    with Ipvs(TimeoutRecord(paths.timeouts)) as kernel:
        watcher, rescue = hands()
        privileges.keep_only(("CAP_NET_ADMIN",))

        def begun(code: int, text: str) -> None:
            tell(code, text)
            gc.freeze()
            gc.enable()

        code = Service(paths, saved, link, kernel, begun, seat, watcher, rescue).run()
        if code and rescue:
            rescuing.withdrawn(rescue)
        return code


def _guarded(story: Callable[[], int], refuse: Callable[[int, str], None]) -> int:
    """Return what *story* does; what prevents it is logged, and told to *refuse*."""
    gc.disable()  # what a start makes stays; looking through it over and over takes longer
    try:
        return story()
    except (LvsNatError, OSError) as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        code = getattr(error, "exit_code", 1)
        refuse(code, str(error))
        return int(code)
    except Exception:
        log.exception("a fault of lvs-nat itself, please report it; the table stays as it is")
        raise


def _towards_rivals(paths: Paths, saved: Saved) -> Rivals:
    """Return what to do about rivals: nobody who has served with them is kept from going on."""
    from lvs_nat.core.setup import Rivals
    from lvs_nat.daemon.notes import Notes

    policy = saved.setup.rivals
    served = policy is Rivals.REFUSE and Notes(paths.memory).read() is not None
    return Rivals.WARN if served else policy


def _saved(paths: Paths) -> Saved:
    """Return what the files mean; where they are bad after a crash, what ran before it."""
    from lvs_nat.daemon.notes import Notes
    from lvs_nat.daemon.saved import load

    def waiting(words: str) -> None:
        log.warning("%s", words)
        notify.status(words)
        notify.longer(SETTLING)

    try:
        return load(paths, waiting)
    except ConfigError as error:
        left = Notes(paths.memory).left_by_a_crash()
        if left is None:
            raise
        log.error("the files cannot be used; after a crash, going on with what ran before it")
        return replace(left, problems=error.problems)
