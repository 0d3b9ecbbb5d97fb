"""lvs-nat rules: the table that a rule file means, commands applied in order."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core import rules
from lvs_nat.core.spelling import spell
from lvs_nat.daemon.naming import known
from lvs_nat.daemon.saved import read_rules
from lvs_nat.model import Ruleset
from lvs_nat.system import files
from lvs_nat.system.names import Names


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="a rule file; - for standard input")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Print the rules as `ipvsadm -S -n` would; exit 6 with every problem if there is one."""
    if args.file == "-":
        path = "standard input"
        text = files.text_of(sys.stdin.buffer.read(files.LIMIT + 1), Path(path))
    else:
        where = Path(args.file) if args.file else paths(args).rules
        path, text = str(where), read_rules(where)
    parsed = rules.parse(text, path, Names(known=known(paths(args).addresses)))
    for warning in parsed.warnings:
        machine.warn(f"warning: {warning}")
    if parsed.ruleset != Ruleset():
        machine.say(spell(parsed.ruleset))
    return 0
