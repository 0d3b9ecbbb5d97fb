"""A director tells what it does: to whoever asks, and to the service manager."""

from __future__ import annotations

import os
import time
from typing import Any

import lvs_nat
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import changes
from lvs_nat.core.listing import listing
from lvs_nat.core.report import count, report
from lvs_nat.core.spelling import spell, spell_operation
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.hearing import Hearing
from lvs_nat.daemon.loading import Loading
from lvs_nat.daemon.naming import Naming
from lvs_nat.daemon.paths import Paths
from lvs_nat.system.ipvs import Ipvs


class Telling:
    """One director's words about itself; *began* is the monotonic time of its service's start."""

    def __init__(
        self,
        paths: Paths,
        kernel: Ipvs,
        director: Director,
        hearing: Hearing,
        loading: Loading,
        naming: Naming,
        began: float,
    ) -> None:
        self._paths = paths
        self._kernel = kernel
        self._info = kernel.info()
        self._director = director
        self._hearing = hearing
        self._loading = loading
        self._naming = naming
        self._began = began
        self._loaded = time.time()
        self._counted: tuple[Cluster | None, str] = None, ""

    def line(self) -> str:
        """Return how it stands in one line, as `systemctl status` shows it.

        It is asked for at every look; thousands are counted only where anything has changed.
        """
        cluster, line = self._director.cluster, self._counted[1]
        if cluster is not self._counted[0]:
            line = str(count(cluster))
            self._counted = cluster, line
        return line

    def listing(self) -> str:
        """Return the kernel's table as `ipvsadm -Ln` shows it."""
        director, info = self._director, self._info
        return listing(director.actual.services, director.counters, info.version, info.size)

    def report(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return all that is known, for `lvs-nat status`."""
        director, now = self._director, time.monotonic()
        pulse, saved = self._hearing.pulse, self._loading.saved
        body = report(director.cluster, director.actual, director.counters, pulse, now)
        return {
            "pid": os.getpid(),
            "version": lvs_nat.__version__,
            "loaded": self._loaded,
            "since": time.time() - (now - self._began),
            "uptime": round(now - self._began, 1),
            "rules": str(self._paths.rules),
            "unsaved": list(map(spell_operation, changes(saved.rules, director.meant))),
            "problems": list(map(str, saved.problems)),
            "names": self._naming.remarks,
            "refusals": list(director.refusals),
            "quarrels": list(map(str, director.quarrels.after((), now).all)),
            "writes": self._kernel.writes,
            **body,
        }

    def running(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return the rules that run, the file that they are saved in, and all files."""
        files = {
            "rules": str(self._paths.rules),
            "config": str(self._paths.config),
            "config_given": self._paths.config_given,
            "state_dir": str(self._paths.state_dir),
        }
        return {"rules": spell(self._director.meant), "path": files["rules"], "files": files}

    def diff(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the rules that run, what the kernel's table still differs by, what is saved.

        Who asks may not be able to read the rule file; nobody reads it who has another one to
        compare with.
        """
        pending = list(map(spell_operation, self._director.pending()))
        answer = {"rules": spell(self._director.meant), "kernel": pending}
        if not request.get("saved", True):
            return answer
        saved, warnings = self._loading.on_disk()
        return {**answer, "saved": spell(saved), "warnings": warnings}
