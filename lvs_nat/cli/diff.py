"""lvs-nat diff: what the rule file, the running rules and the kernel's table have apart."""

from __future__ import annotations

import argparse
import json

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core import rules
from lvs_nat.core.drift import changes
from lvs_nat.core.spelling import spell_operation
from lvs_nat.daemon.saved import rules_of
from lvs_nat.system.control import ask

# Each list of commands, and what it would be good for.
TITLES = {
    "save": "lvs-nat save would change the file as these commands do:",
    "reload": "lvs-nat reload would run:",
    "kernel": "the kernel's table is still to be changed by:",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the commands as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Print an ipvsadm command for each difference; exit 0 if there is none, else 1."""
    where = paths(args)
    answer = ask(where.socket, "diff")
    running = rules.parse(str(answer["rules"]), "the running rules").ruleset
    saved = rules_of(where)[0].ruleset
    found = {
        "save": list(map(spell_operation, changes(saved, running))),
        "reload": list(map(spell_operation, changes(running, saved))),
        "kernel": [str(line) for line in answer["kernel"]],
    }
    if args.json:
        machine.say(json.dumps(found, indent=2))
    else:
        for key, lines in found.items():
            if lines:
                machine.say("\n".join((TITLES[key], *(f"  ipvsadm {line}" for line in lines))))
    return 1 if any(found.values()) else 0
