"""One director is run from its lock to its end."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable

from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.spawner import spawn
from lvs_nat.errors import LvsNatError
from lvs_nat.system import privileges
from lvs_nat.system.pidfile import PidFile

log = logging.getLogger(__name__)

# Called once, with an LSB exit code, what to show, and warnings.
Announce = Callable[[int, str, "tuple[str, ...]"], None]


def serve(paths: Paths, lock: PidFile, announce: Announce) -> int:
    """Run a director until its end; return its exit code.

    The prober is forked while nothing is open that it could misuse, and while this process
    is small: what only the director needs is loaded afterwards.  Then the files are judged,
    and only then is the kernel spoken to.  Whatever prevents a start is announced with its
    exit code.
    """
    gc.disable()  # what a start makes stays; looking through it over and over takes longer
    warnings: tuple[str, ...] = ()
    try:
        paths.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        with lock:
            lock.write()
            link = spawn()
            from lvs_nat.daemon import rescuing, watching
            from lvs_nat.daemon.saved import load
            from lvs_nat.daemon.service import Service
            from lvs_nat.system.ipvs import Ipvs
            from lvs_nat.system.timeouts import TimeoutRecord

            saved = load(paths)
            warnings = tuple(map(str, saved.warnings))
            for warning in warnings:
                log.warning("%s", warning)
            with Ipvs(TimeoutRecord(paths.timeouts)) as kernel:
                watcher = watching.opened(saved.setup)
                rescue = rescuing.prepared(saved.setup, paths.rescue)
                privileges.keep_only(("CAP_NET_ADMIN",))

                def begun(code: int, text: str) -> None:
                    announce(code, text, warnings)
                    gc.freeze()
                    gc.enable()

                code = Service(paths, saved, link, kernel, begun, watcher, rescue).run()
                if code and rescue:
                    rescuing.withdrawn(rescue)
                return code
    except (LvsNatError, OSError) as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        code = getattr(error, "exit_code", 1)
        announce(code, str(error), warnings)
        return int(code)
    except Exception:
        log.exception("a fault of lvs-nat itself, please report it; the table stays as it is")
        raise
