"""What clients notice is told in medians, and promised of every run of ours."""

import pytest

from bench.disruption import Crowd, Harm, table
from bench.figures import shown
from bench.operated import Keepalived, Ours

CALM = Harm(0, 900, 0, 200, 1.5)


def found(*ours):
    theirs = [Harm(failed, 900, 60, 200, 2.0) for failed in (30, 40, 80)]
    return {("restart", Ours.name): list(ours), ("restart", Keepalived.name): theirs}


def test_the_medians_stand_beside_one_another():
    told = table(found(CALM, CALM, CALM), Crowd(), 3)

    assert told.columns == (
        *("act", "lvs-nat: failed", "lvs-nat: broken", "keepalived: failed", "keepalived: broken"),
    )
    assert [tuple(map(shown, row)) for row in told.rows] == [("restart", "0", "0", "40", "60")]
    assert told.kept


@pytest.mark.parametrize("harm", [CALM._replace(failed=1), CALM._replace(broken=1)])
def test_one_bad_run_of_three_breaks_the_promise_although_the_median_is_good(harm):
    told = table(found(CALM, harm, CALM), Crowd(), 3)

    assert [tuple(map(shown, row)) for row in told.rows] == [("restart", "0", "0", "40", "60")]
    assert [promise.kept for promise in told.promises].count(False) == 1
