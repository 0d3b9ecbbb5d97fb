"""What becomes of what somebody else did to the kernel's table, in words."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.plan import (
    AddDestination,
    DelDestination,
    Operation,
    SetDestination,
    SetTimeouts,
)
from lvs_nat.core.pool import Wish
from lvs_nat.core.setup import Drift
from lvs_nat.model import Destination, Endpoint, Ruleset, Table, Timeouts

USUAL = {
    Drift.ADOPT: "kept; `lvs-nat save` writes it to the rule file",
    Drift.REPAIR: "put back",
    Drift.REPORT: "left as it is, and not saved",
}
HIDDEN = {
    Drift.ADOPT: "kept in the rules, `lvs-nat save` writes it; in the table the server stays {}",
    Drift.REPORT: "not saved; in the table the server stays {}",
}


@dataclass(frozen=True)
class Fates:
    """What becomes of edits where *expected* had been, in words.

    rules are those that ran; cluster is what the edits make of everything, as far as the policy
    takes them in, and table what it wants now.
    """

    policy: Drift
    rules: Ruleset
    expected: Ruleset
    cluster: Cluster
    table: Table
    now: float

    def of(self, operation: Operation) -> str:
        """Return what becomes of one of them."""
        repairs = self.policy is Drift.REPAIR
        if repairs and isinstance(operation, SetTimeouts):
            return _timeouts(operation.timeouts, self.rules.timeouts, self.expected.timeouts)
        if not repairs and isinstance(operation, (SetDestination, DelDestination)):
            key = Row(operation.name, _endpoint(operation))
            if key.endpoint not in self.rules.services[key.service].destinations:
                return "put back: " + (SORRY if key in self.cluster.sorries else UNNAMED)
        if not repairs and isinstance(operation, (AddDestination, SetDestination)):
            return self._seen(Row(operation.name, _endpoint(operation)), operation.destination)
        return USUAL[self.policy]

    def _seen(self, key: Row, given: Destination) -> str:
        """Return what becomes of a row that is to be as *given*: it may be out of the table."""
        wanted = self.table[key.service].destinations.get(key.endpoint)
        if wanted is not None and bool(wanted.weight) is bool(given.weight):
            return USUAL[self.policy]
        wish = self.cluster.stand(key, self.now).wish
        return HIDDEN[self.policy].format("out for now" if wish is Wish.NOTHING else wish.value)


SORRY = "a sorry server is as lvs-nat.conf has it"
UNNAMED = "the rules do not name this server"


def _endpoint(operation: AddDestination | SetDestination | DelDestination) -> Endpoint:
    if isinstance(operation, DelDestination):
        return operation.endpoint
    return operation.destination.endpoint


def _timeouts(present: Timeouts, meant: Timeouts | None, before: Timeouts | None) -> str:
    """Return what becomes of idle timeouts where the policy is to repair: the rules tell."""
    values = zip(*map(astuple, (meant or Timeouts(), present, before or present)))
    ruled = [bool(wanted) for wanted, have, was in values if have != was]
    if all(ruled):
        return USUAL[Drift.REPAIR]
    if any(ruled):
        return "put back as far as the rules have a --set for it"
    return "left as it is: the rules have no --set for it"
