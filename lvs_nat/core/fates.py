"""What becomes of what somebody else did to the kernel's table, in words."""

from __future__ import annotations

from dataclasses import astuple

from lvs_nat.core.plan import Operation, SetTimeouts
from lvs_nat.core.setup import Drift
from lvs_nat.model import Ruleset, Timeouts

USUAL = {
    Drift.ADOPT: "kept; `lvs-nat save` writes it to the rule file",
    Drift.REPAIR: "put back",
    Drift.REPORT: "left as it is, and not saved",
}


def fate(operation: Operation, policy: Drift, rules: Ruleset, expected: Ruleset) -> str:
    """Return what becomes of *operation*, done by hand where *expected* had been.

    *rules* are those that ran.
    """
    if policy is Drift.REPAIR and isinstance(operation, SetTimeouts):
        return _timeouts(operation.timeouts, rules.timeouts, expected.timeouts)
    return USUAL[policy]


def _timeouts(present: Timeouts, meant: Timeouts | None, before: Timeouts | None) -> str:
    """Return what becomes of idle timeouts where the policy is to repair: the rules tell."""
    ruled = [
        bool(wanted)
        for wanted, have, was in zip(
            *map(astuple, (meant or Timeouts(), present, before or present))
        )
        if have != was
    ]
    if all(ruled):
        return USUAL[Drift.REPAIR]
    if any(ruled):
        return "put back as far as the rules have a --set for it"
    return "left as it is: the rules have no --set for it"
