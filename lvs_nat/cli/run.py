"""lvs-nat run: the director in the foreground, as systemd wants it."""

from __future__ import annotations

import argparse
import faulthandler

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.daemon.serve import serve
from lvs_nat.system import logs
from lvs_nat.system.pidfile import PidFile
from lvs_nat.system.program import Program


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Serve until a signal or `lvs-nat stop` ends it."""
    machine.must_be_root("run")
    where = paths(args)
    logs.to_stderr()
    faulthandler.enable(file=2)  # systemd's watchdog ends us by SIGABRT: show where we hung

    def announce(_code: int, _text: str, _warnings: tuple[str, ...]) -> None:
        """Whatever is to be said has gone to the log, which is this terminal or the journal."""

    return serve(where, PidFile(where.pid_file), announce, Program.of_this_process())
