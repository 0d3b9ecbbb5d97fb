import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.guard import objection
from lvs_nat.core.health import Health, State
from lvs_nat.core.pool import Wish
from lvs_nat.core.setup import ServiceSetup, Setup
from lvs_nat.core.wishes import Wanted, Whom
from tests.builders import RS1, RS2, WEB

WORDS = (
    "this would leave {} of the weight of tcp 172.25.0.10:80, less than keep_at_least = {:.0%}; "
    "--force does it all the same"
)


def drained(*rows, least):
    """Return the cluster of two well servers, of weight 5 and 10, without *rows*."""
    setup = Setup(ServiceSetup(keep_at_least=least))
    new = Cluster.of(WEB, setup, {})
    well = Cluster.of(WEB, setup, dict.fromkeys(new.healths, Health(State.UP)))
    return well.wished({Whom(None, row.endpoint): Wanted(Wish.OUT) for row in rows}, 0.0)


@pytest.mark.parametrize(
    "before, after, least, left",
    [
        ((), (RS1,), 0.5, ""),
        ((), (RS2,), 0.5, "33%"),
        ((), (RS1, RS2), 0.5, "0%"),
        ((), (RS1, RS2), 0.0, ""),
        # Two thirds are no less than two thirds.
        ((), (RS1,), 2 / 3, ""),
        # What is too little already may stay so, or become more.
        ((RS2,), (RS2,), 0.5, ""),
        ((RS1, RS2), (RS2,), 0.5, ""),
        ((RS2,), (RS1, RS2), 0.5, "0%"),
    ],
)
def test_an_act_that_leaves_less_than_is_to_be_kept_is_objected_to(before, after, least, left):
    found = objection(drained(*before, least=least), drained(*after, least=least), 0.0)

    assert found == (WORDS.format(left, least) if left else "")
