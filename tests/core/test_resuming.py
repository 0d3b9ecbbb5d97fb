from dataclasses import replace

import pytest

from lvs_nat.core import memory
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, State
from lvs_nat.core.memory import Memory
from lvs_nat.core.resuming import presumed, resumed
from lvs_nat.core.setup import Target
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service
from tests.core.test_cluster import CHECK, SETUP, SLOWLY, heard, rows


def left(healths, **more):
    """Return what a director has left that knew *healths*."""
    known = memory.known(healths)
    return Memory("boot", False, 0.0, "digest", "", "", "", known, **more)


def test_what_the_kernel_holds_goes_on_serving_until_a_verdict_says_otherwise():
    cluster = presumed(Cluster.of(WEB, SETUP, {}), WEB.services, 0.0)

    assert rows(cluster) == (RS1, RS2)
    assert rows(heard(cluster, rs1="x")) == (RS1, RS2)
    assert rows(heard(cluster, rs1="xx")) == (RS2,)


def test_a_row_found_at_weight_0_that_should_have_more_waits_there_for_its_server():
    found = rules(service(VIP, real("192.168.122.10:80", 0), RS2))
    cluster = presumed(Cluster.of(WEB, SETUP, {}), found.services, 0.0)

    assert rows(cluster) == (real("192.168.122.10:80", 0), RS2)
    assert rows(heard(cluster, rs1="++")) == (RS1, RS2)


ONE = rules(service(VIP, RS1))


@pytest.mark.parametrize(
    "state, held, expected",
    [
        (State.UP, WEB, (RS1, RS2)),
        (State.UP, rules(), ()),
        (State.UP, ONE, (RS1,)),
        (State.FAILING, rules(), ()),
        (State.DOWN, WEB, (real("192.168.122.10:80", 0), real("192.168.122.20:80", 0))),
        (State.DOWN, rules(), ()),
    ],
)
def test_what_the_last_director_knew_to_serve_serves_on_where_the_kernel_holds_it(
    state, held, expected
):
    cluster = Cluster.of(WEB, SETUP, {})
    known = {who: Health(state) for who in cluster.healths}
    table = held.services
    found = presumed(resumed(cluster, left(known), table, 0.0, at_once=False), table, 0.0)

    assert rows(found) == expected


@pytest.mark.parametrize(
    ("held", "now", "later", "weight"),
    [
        (150, 31.0, 31.0, 150),  # nobody was away
        (150, 31.0, 81.0, 400),
        (150, 900.0, 900.0, 175),  # nobody was there for long: it goes on, and does not jump
        (150, 900.0, 950.0, 425),
        (0, 31.0, 31.0, 25),  # somebody has quiesced it meanwhile
        (500, 31.0, 31.0, 150),  # somebody has had enough of it: slowly all the same
        (None, 31.0, 31.0, 500),  # it is not there: it comes as one that starts
    ],
)
def test_a_slow_return_goes_on_after_a_restart_from_the_weight_it_had_come_to(
    held, now, later, weight
):
    kept = [real("192.168.122.20:80", 1000)]
    kept += [] if held is None else [real("192.168.122.10:80", held)]
    cluster = Cluster.of(WEB, SLOWLY, {})
    well = {who: Health(State.UP) for who in cluster.healths}
    ramps = {(f"tcp {VIP}", "192.168.122.10:80"): 0.0}
    table = rules(service(VIP, *kept)).services
    found = resumed(cluster, left(well, ramps=ramps), table, now, at_once=False)
    found = replace(found, healths=well)

    assert rows(found, now=later) == (
        real("192.168.122.10:80", weight),
        real("192.168.122.20:80", 1000),
    )


def test_a_server_known_to_be_down_must_rise_and_one_not_known_passes_once():
    cluster = Cluster.of(WEB, SETUP, {})
    down = {Target(RS1.endpoint, CHECK): Health(State.DOWN)}
    recalled = resumed(cluster, left(down), {}, 0.0, at_once=False)

    assert rows(heard(recalled, rs1="+", rs2="+")) == (RS2,)
    assert rows(heard(recalled, rs1="++", rs2="+")) == (RS1, RS2)
