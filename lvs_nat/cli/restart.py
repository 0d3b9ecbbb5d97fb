"""lvs-nat restart, try-restart: a new director on the same table; no connection breaks."""

from __future__ import annotations

import argparse
import os
import signal

from lvs_nat.cli import start
from lvs_nat.cli.files import COMPLETE, of_director
from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.cli.reload import judge
from lvs_nat.cli.stop import end
from lvs_nat.cli.systemd import BUSY
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import load
from lvs_nat.errors import LvsNatError
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import holder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run, only_running=parser.prog.endswith("try-restart"))


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Judge the files first: a bad one leaves the running director alone."""
    machine.must_be_root("restart")
    where = paths(args)
    pid = holder(where.pid_file)
    if pid is None and args.only_running:
        return 0
    state = machine.systemd.state(args)
    if state:
        machine.systemd.must_be_startable()  # or the one that runs would have no successor
    if state in BUSY or (state and pid is None):
        if pid is not None:
            judge(where, machine)
        machine.systemd.order("try-restart" if args.only_running else "restart")
        machine.say(start.table())
        return 0
    if state:  # the one that runs is not the unit's, whose director takes its place
        load(where)
        end(where, signal.SIGTERM)
        return start.run(args, machine)
    if pid is not None and COMPLETE not in os.environ:
        where = _same(args, machine)
    load(where)
    end(where, signal.SIGTERM)
    return start.begin(where, machine)


def _same(args: argparse.Namespace, machine: Machine) -> Paths:
    """Return the files of the director that runs, but for those that are typed."""
    where = paths(args)
    try:
        return of_director(args, ask(where.socket, "running"))
    except (LvsNatError, OSError) as error:
        machine.warn(
            f"warning: the director does not say which files it runs on ({error}); "
            f"the next one reads {where.rules} and {where.config}"
        )
        return where
