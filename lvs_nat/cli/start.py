"""lvs-nat start: the director in the background, and the table on the terminal."""

from __future__ import annotations

import argparse

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.daemon.detach import start
from lvs_nat.daemon.paths import Paths
from lvs_nat.system.pidfile import holder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Start, wait until clients are served, show the table.  A second start is no error."""
    machine.must_be_root("start")
    where = paths(args)
    pid = holder(where.pid_file)
    if pid is not None:
        machine.say(f"lvs-nat is already running as pid {pid}")
        return 0
    if machine.systemd.state(args):
        machine.systemd.order("start")
        machine.say(table())
        return 0
    return begin(where, machine)


def begin(where: Paths, machine: Machine) -> int:
    """Start a director of ours by the files of *where*; return the exit code."""
    outcome = start(where)
    for warning in outcome.warnings:
        machine.warn(f"warning: {warning}")
    if outcome.code:
        machine.warn("".join(outcome.text))
    else:
        machine.say_all(outcome.text)
    return outcome.code


def table() -> str:
    """Return the kernel's table as `ipvsadm -Ln` shows it."""
    from lvs_nat.core.listing import listing
    from lvs_nat.system.ipvs import Ipvs

    with Ipvs() as kernel:
        found, info = kernel.snapshot(), kernel.info()
    return listing(found.ruleset.services, found.counters, info.version, info.size)
