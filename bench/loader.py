"""Bring the kernel's table to a rule file and print how many changes that took.

The start of the daemon without its daemon: reading, parsing, planning, applying.  Lean, for
bench/table.py times it as a whole process.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from lvs_nat.core import rules
from lvs_nat.core.plan import plan
from lvs_nat.system.ipvs import Ipvs


def main(path: str) -> int:
    desired = rules.parse(Path(path).read_text(), path).ruleset
    with Ipvs() as table:
        refusals = table.apply(plan(desired, table.read()))
        print(table.writes)
    for refusal in refusals:
        print(refusal.error, file=sys.stderr)
    return 1 if refusals else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
