"""lvs-nat save: the running rules become the saved ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvs_nat.cli.files import of_director
from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core import rules
from lvs_nat.core.report import size
from lvs_nat.errors import ConfigError, LvsNatError
from lvs_nat.system import files
from lvs_nat.system.control import ask


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Write what is meant, failed servers included, and keep a copy of the file before."""
    machine.must_be_root("save")
    answer = ask(paths(args).socket, "running")
    where, text = of_director(args, answer), str(answer["rules"])
    ruleset = rules.parse(text, "the running rules").ruleset
    if not ruleset.services:
        raise LvsNatError(f"nothing runs that could be saved; {where.rules} stays as it is")
    before = _before(where.rules)
    if before and before != text.encode():
        where.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write_atomic(where.backup, before)
    files.write_atomic(where.rules, text)
    said = f"{size(ruleset)} saved to {where.rules}"
    theirs = Path(answer.get("path", where.rules))
    if theirs.resolve() == where.rules.resolve():
        ask(where.socket, "saved")
    else:
        said += f"; {theirs}, which the director reads, stays as it is"
    machine.say(said)
    return 0


def _before(path: Path) -> bytes:
    """Return what the file holds, be it rules or not; nothing where there is none."""
    try:
        return files.read_bytes(path)
    except ConfigError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return b""
        raise LvsNatError(f"{error}; without a copy of it nothing is saved") from error
