"""lvs-nat reexec: the running director goes on as the version that is installed now."""

from __future__ import annotations

import argparse

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.errors import LvsNatError, NotRunning
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import holder

# What a trial, and then a start of 10,000 rows, may take on a slow machine.
PATIENCE = 90.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Return once the installed version serves; no file is read, and no connection breaks."""
    machine.must_be_root("reexec")
    where = paths(args)
    if holder(where.pid_file) is None:
        raise NotRunning("lvs-nat is not running")
    before = ask(where.socket, "status")
    ask(where.socket, "reexec", timeout=PATIENCE)
    # Who comes in between waits at the door, as the socket is never closed.
    after = ask(where.socket, "status", timeout=PATIENCE)
    if after["loaded"] == before["loaded"]:
        raise LvsNatError("the old version goes on; see the system log")
    machine.say(f"lvs-nat (pid {after['pid']}) goes on as version {after['version']}")
    return 0
