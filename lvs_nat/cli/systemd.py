"""Where systemd runs the service, what is typed goes through systemctl, so that it knows."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from lvs_nat.cli.options import places_given
from lvs_nat.errors import LvsNatError

UNIT = "lvs-nat.service"
# ActiveState of a unit of which a process runs, or will by itself in a moment.
BUSY = ("active", "reloading", "refreshing", "activating", "deactivating")
LSB = range(1, 8)


class Systemd:
    """The service manager of this machine, if systemd is one; *cgroup* tells where we run.

    Whoever names files on the command line means a director of his own, and the unit's own
    ExecReload and ExecStop must act, not order themselves: for them `state` is "".
    """

    def __init__(
        self,
        booted: Path = Path("/run/systemd/system"),  # sd_booted(3)
        cgroup: Path = Path("/proc/self/cgroup"),
    ) -> None:
        self._booted = booted
        self._cgroup = cgroup

    def state(self, args: argparse.Namespace) -> str:
        """Return the unit's ActiveState; "" where it is not there or not to be asked."""
        if places_given(args) or not self._booted.is_dir() or self._within():
            return ""
        found = _properties("LoadState", "ActiveState")
        there = found.get("LoadState", "not-found") != "not-found"
        return found.get("ActiveState", "") if there else ""

    def must_be_startable(self) -> None:
        """Raise LvsNatError for a unit that was masked, as systemctl would: it is to stay down."""
        if _properties("LoadState").get("LoadState") == "masked":
            raise LvsNatError(
                f"{UNIT} is masked, so that nobody starts it: `systemctl unmask {UNIT}` allows it"
            )

    def order(self, verb: str) -> None:
        """Have the unit started, stopped, ...; return once that is done.

        Raises LvsNatError with what the unit said in the journal, which systemctl does not
        tell, and with the exit code of its process.
        """
        if verb != "stop":
            self.must_be_startable()
        began = time.time()
        code, said = _run("systemctl", verb, UNIT)
        if code == 0:
            return
        refusal = LvsNatError(_complaints(began) or said.strip() or f"systemctl {verb} failed")
        status = int(_properties("ExecMainStatus").get("ExecMainStatus") or 0)
        if verb != "reload" and status in LSB:
            refusal.exit_code = status
        raise refusal

    def _within(self) -> bool:
        try:
            return f"/{UNIT}" in self._cgroup.read_text()
        except OSError:
            return False


def stopping() -> bool:
    """Say whether systemd has a job that stops our unit for good.

    ExecStop is run for a restart as well, and without any job after a crash: table and
    connections are then for the next director.
    """
    _, jobs = _run("systemctl", "list-jobs", "--plain", "--no-legend", "--full")
    return any(line.split()[1:3] == [UNIT, "stop"] for line in jobs.splitlines())


def _complaints(since: float) -> str:
    """Return the errors that processes of the unit have logged."""
    _run("journalctl", "--sync")
    lines = ("--quiet", "--output=cat", "--priority=err", f"--since=@{since:.6f}")
    return _run("journalctl", *lines, f"_SYSTEMD_UNIT={UNIT}")[1].strip()


def _properties(*names: str) -> dict[str, str]:
    _, text = _run("systemctl", "show", f"--property={','.join(names)}", UNIT)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _run(*words: str) -> tuple[int, str]:
    """Return exit code and output; a program that is not there has failed and says nothing."""
    import subprocess  # not for commands that systemd does not concern

    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "SYSTEMD_PAGER": "", "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return 127, ""
    return done.returncode, done.stdout
