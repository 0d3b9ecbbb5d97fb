"""lvs-nat stop: the end of the service; the machine is left as it was found."""

from __future__ import annotations

import argparse
import os
import signal
import time
from contextlib import suppress

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.cli.systemd import BUSY, stopping
from lvs_nat.core.setup import Own, Setup
from lvs_nat.daemon.notes import Notes
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import rules_of, settings
from lvs_nat.errors import AlreadyRunning, ConfigError, LvsNatError, NotRunning
from lvs_nat.model import Ruleset
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import PidFile, holder

# What a director may take to answer, and then to end.
PATIENCE = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--if-stop-job",
        action="store_true",
        help="do nothing unless systemd has a job that stops the unit (for its ExecStop)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Clear the table, restore the sysctls, end the director; 0 also where none runs."""
    machine.must_be_root("stop")
    where = paths(args)
    if args.if_stop_job and not stopping():
        return 0
    ordered = machine.systemd.state(args) in BUSY
    if ordered:
        machine.systemd.order("stop")  # it leaves to us what a crash has left
    pid = holder(where.pid_file)
    records = (where.memory, where.sysctls, where.timeouts, where.rescue)
    if pid is None and not any(record.exists() for record in records):
        if not ordered:
            machine.say("lvs-nat is not running")
        return 0
    lines = _ask_to_stop(where, pid, machine) if pid is not None else None
    if lines is None:
        lines = clean_up(where)
    if where.rescue.exists():
        lines += _end_rescue(where)
    for line in lines:
        machine.say(line)
    return 0


def _end_rescue(where: Paths) -> list[str]:
    """Remove rules of the packet filter, which a director without privilege cannot do."""
    from lvs_nat.system.rescue import Rescue

    Rescue(where.rescue).remove()
    return ["refusals of real servers reach clients again"]


def _ask_to_stop(where: Paths, pid: int, machine: Machine) -> list[str] | None:
    """Return what was restored; None if the director had to be killed."""
    try:
        lines = [str(line) for line in ask(where.socket, "stop", timeout=PATIENCE)["restored"]]
    except (NotRunning, OSError) as error:
        machine.warn(f"pid {pid} does not answer ({error}); killing it and clearing up")
        end(where, signal.SIGKILL)
        return None
    end(where, 0)
    return lines


def end(where: Paths, number: int, patience: float = PATIENCE) -> None:
    """Return once the director has ended that gets signal *number* (0 for none).

    One that does not end in *patience* seconds is killed, which leaves its table as it is.
    Raises LvsNatError if not even that helps.
    """
    for sent in (number, signal.SIGKILL):
        pid = holder(where.pid_file)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, sent)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if holder(where.pid_file) is None:
                return
            time.sleep(0.01)
    raise LvsNatError(f"pid {pid} does not end, not even killed: a device or the kernel holds it")


def clean_up(where: Paths) -> list[str]:
    """Do what a director that crashed can no longer do: clear the table, restore sysctls."""
    from lvs_nat.daemon.ending import clear, give_back
    from lvs_nat.system.ipvs import Ipvs
    from lvs_nat.system.sysctl import Sysctls
    from lvs_nat.system.timeouts import TimeoutRecord

    try:
        with PidFile(where.pid_file):  # no director may start in the midst of this
            rules, setup = _last(where)
            settings, timeouts = Sysctls(record=where.sysctls), TimeoutRecord(where.timeouts)
            with Ipvs() as kernel:
                lines = clear(kernel, rules, setup)
                lines += give_back(kernel, setup, settings, timeouts)
            for left in (where.memory, where.socket):
                left.unlink(missing_ok=True)
            return lines
    except AlreadyRunning as error:
        raise LvsNatError(f"{error}: it has just been started; stop again") from error


def _last(where: Paths) -> tuple[Ruleset, Setup]:
    """Return what is to be cleared, without its rows, and the settings: those that ran.

    The files count where that is not known.  Broken ones must not keep the service from being
    stopped, but where it cannot be known whether the whole table is ours, no more than our
    rules is cleared.
    """
    notes = Notes(where.memory)
    found = notes.read()
    ran, setup = (notes.ours(found), notes.setup(found)) if found else (None, None)
    return ran or _saved(where), setup or _configured(where)


def _saved(where: Paths) -> Ruleset:
    try:
        return rules_of(where)[0].ruleset
    except ConfigError:
        return Ruleset()


def _configured(where: Paths) -> Setup:
    try:
        return settings(where)[0]
    except ConfigError:
        return Setup(own=Own.RULES)
