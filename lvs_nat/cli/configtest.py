"""lvs-nat configtest: all problems of all files, and nothing is touched."""

from __future__ import annotations

import argparse

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core.report import size
from lvs_nat.daemon.saved import load


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Exit 0 if a start would take the files, 6 with every problem if not."""
    where = paths(args)
    saved = load(where)
    for warning in saved.warnings:
        machine.warn(f"warning: {warning}")
    machine.say(f"{where.rules}: {size(saved.rules)}: OK")
    return 0
