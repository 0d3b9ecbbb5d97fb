"""lvs-nat stop: the end of the service; the machine is left as it was found."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core.setup import OnStop, Own, Setup
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import load
from lvs_nat.errors import ConfigError, LvsNatError, NotRunning
from lvs_nat.model import Ruleset
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import holder

# What a director may take to answer, and then to end.
PATIENCE = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unless-restarting",
        action="store_true",
        help="do nothing while systemd restarts the unit (for its ExecStop)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Clear the table, restore the sysctls, end the director; 0 also where none runs."""
    machine.must_be_root("stop")
    where = paths(args)
    if args.unless_restarting and _restarting():
        return 0
    pid = holder(where.pid_file)
    if pid is None and not where.memory.exists() and not where.sysctls.exists():
        machine.say("lvs-nat is not running")
        return 0
    lines = _ask_to_stop(where, pid, machine) if pid is not None else None
    if lines is None:
        lines = clean_up(where)
    for line in lines:
        machine.say(line)
    return 0


def _ask_to_stop(where: Paths, pid: int, machine: Machine) -> list[str] | None:
    """Return what was restored; None if the director had to be killed."""
    try:
        lines = [str(line) for line in ask(where.socket, "stop", timeout=PATIENCE)["restored"]]
        wait_for_end(where)
        return lines
    except (NotRunning, OSError) as error:
        machine.warn(f"pid {pid} does not answer ({error}); killing it and clearing up")
        os.kill(pid, signal.SIGKILL)
        wait_for_end(where)
        return None


def wait_for_end(where: Paths) -> None:
    """Return once nobody holds the lock; raise LvsNatError if that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while holder(where.pid_file) is not None:
        if time.monotonic() > deadline:
            raise LvsNatError(f"the director still runs after {PATIENCE:g} s; see its log")
        time.sleep(0.01)


def clean_up(where: Paths) -> list[str]:
    """Do what a director that crashed can no longer do: clear the table, restore sysctls."""
    from lvs_nat.daemon.service import clear
    from lvs_nat.system.ipvs import Ipvs
    from lvs_nat.system.sysctl import Sysctls

    rules, setup = Ruleset(), Setup()
    try:
        saved = load(where)
        rules, setup = saved.rules, saved.setup
    except ConfigError:
        pass  # a file broken since the start must not keep the service from being stopped
    if setup.on_stop is OnStop.CLEAR:
        with Ipvs() as kernel:
            clear(kernel, rules, everything=setup.own is Own.TABLE)
    lines = Sysctls(record=where.sysctls).restore()
    for left in (where.memory, where.socket, where.pid_file):
        left.unlink(missing_ok=True)
    return lines


def _restarting() -> bool:
    jobs = subprocess.run(
        ["systemctl", "list-jobs", "--plain", "--no-legend"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    words = [line.split() for line in jobs.stdout.splitlines()]
    ours = [job[2] for job in words if len(job) > 2 and job[1] == "lvs-nat.service"]
    return any(kind in ("restart", "try-restart", "start") for kind in ours)
