import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.fates import Fates
from lvs_nat.core.plan import SetTimeouts
from lvs_nat.core.setup import Drift, Setup
from lvs_nat.model import Timeouts
from tests.builders import rules

BEFORE = Timeouts(900, 120, 300)
LEFT = "left as it is: the rules have no --set for it"
PART = "put back as far as the rules have a --set for it"


@pytest.mark.parametrize(
    "ruled, typed, words",
    [
        (None, Timeouts(901, 120, 300), LEFT),
        (Timeouts(0, 0, 300), Timeouts(901, 120, 300), LEFT),
        (Timeouts(900, 120, 300), Timeouts(901, 121, 301), "put back"),
        (Timeouts(900, 0, 0), Timeouts(901, 120, 300), "put back"),
        (Timeouts(900, 0, 0), Timeouts(901, 121, 300), PART),
    ],
)
def test_of_idle_timeouts_those_are_put_back_that_the_rules_set(ruled, typed, words):
    running, before = rules(timeouts=ruled), rules(timeouts=BEFORE)

    fates = Fates(Drift.REPAIR, running, before, Cluster.of(running, Setup(), {}), {}, 0.0)
    assert fates.of(SetTimeouts(typed)) == words
