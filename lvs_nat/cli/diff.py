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
# The same where a file is named, which need not be the director's.
TITLES_OF_A_FILE = {
    **TITLES,
    "save": "lvs-nat save --rules {} would change the file as these commands do:",
    "reload": "a reload of {} would run:",
}
# Names in the rule file may have to be looked up.
PATIENCE = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the commands as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Print an ipvsadm command for each difference; exit 0 if there is none, else 1."""
    where, named = paths(args), args.rules is not None
    answer = ask(where.socket, "diff", timeout=PATIENCE, saved=not named)
    running = rules.parse(str(answer["rules"]), "the running rules").ruleset
    for warning in answer.get("warnings", ()):
        machine.warn(str(warning))
    if "saved" in answer and not named:
        saved = rules.parse(str(answer["saved"]), "the saved rules").ruleset
    else:  # a director of an older version does not read its file
        saved = rules_of(where)[0].ruleset
    found = {
        "save": list(map(spell_operation, changes(saved, running))),
        "reload": list(map(spell_operation, changes(running, saved))),
        "kernel": [str(line) for line in answer["kernel"]],
    }
    if args.json:
        machine.say(json.dumps(found, indent=2))
    else:
        titles = TITLES_OF_A_FILE if named else TITLES
        for key, lines in found.items():
            if lines:
                title = titles[key].format(where.rules)
                machine.say("\n".join((title, *(f"  ipvsadm {line}" for line in lines))))
    return 1 if any(found.values()) else 0
