"""lvs-nat reload, force-reload: the running director goes over to the saved files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from lvs_nat.cli.files import meant
from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.cli.systemd import BUSY
from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import KernelError, NotRunning
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import holder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Have the director judge its files, and read them.

    It decides whether who asks may do so; who is not root may not even be able to judge them.
    It reads its own files, and refuses where the command line means others.
    """
    where = paths(args)
    if holder(where.pid_file) is None:
        raise NotRunning("lvs-nat is not running")
    if machine.uid == 0 and machine.systemd.state(args) in BUSY:
        judge(where, machine)
        machine.systemd.order("reload")
        return 0
    done = ask(where.socket, "reload", timeout=30.0, **meant(args))
    _warn(done.get("warnings", ()), machine)  # a director of an older version tells none
    if done["refusals"]:
        raise KernelError("\n".join(map(str, done["refusals"])))
    return 0


def judge(where: Paths, machine: Machine) -> None:
    """Have the director judge its files: the unit's options may have named others than ours."""
    _warn(ask(where.socket, "judge", timeout=30.0)["warnings"], machine)


def _warn(warnings: Iterable[object], machine: Machine) -> None:
    for warning in warnings:
        machine.warn(f"warning: {warning}")
