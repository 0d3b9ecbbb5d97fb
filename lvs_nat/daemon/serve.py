"""One director is run from its lock to its end."""

from __future__ import annotations

import logging

from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import Saved
from lvs_nat.daemon.service import Announce, Service
from lvs_nat.daemon.spawner import spawn
from lvs_nat.errors import LvsNatError
from lvs_nat.system import privileges
from lvs_nat.system.ipvs import Ipvs
from lvs_nat.system.pidfile import PidFile

log = logging.getLogger(__name__)


def serve(paths: Paths, saved: Saved, lock: PidFile, announce: Announce) -> int:
    """Run a director until its end; return its exit code.

    The prober is forked while nothing is open that it could misuse; only then is the kernel
    spoken to.  Whatever prevents a start is announced with its exit code.
    """
    try:
        paths.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        with lock:
            lock.write()
            for warning in saved.warnings:
                log.warning("%s", warning)
            link = spawn()
            with Ipvs() as kernel:
                privileges.keep_only(("CAP_NET_ADMIN",))
                return Service(paths, saved, link, kernel, announce).run()
    except (LvsNatError, OSError) as error:
        log.error("%s", error)
        code = getattr(error, "exit_code", 1)
        announce(code, str(error))
        return int(code)
