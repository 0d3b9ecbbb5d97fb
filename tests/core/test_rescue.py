from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, State
from lvs_nat.core.questions import Nothing
from lvs_nat.core.rescue import rescued
from lvs_nat.core.setup import Check, OnFailure, ServiceSetup, Setup
from lvs_nat.model import Forwarding
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp, udp

TLS = "172.25.0.10:443"
OTHER = real("192.168.122.30:80")
GONE = rules(service(VIP, RS2))
QUIET1 = real("192.168.122.10:80", 0)
DIRECT2 = real("192.168.122.20:80", forwarding=Forwarding.DIRECT)
YES = ServiceSetup(rescue=True)
ON = Setup(YES)
QUIESCE = Setup(replace(YES, on_failure=OnFailure.QUIESCE))
UNCHECKED = Setup(replace(YES, checks=(Check(Nothing()),)))
HALF = Setup(replace(YES, servers={RS1.endpoint: (Check(Nothing()),)}))
WEB_ALONE = Setup(services={tcp(VIP): YES})
UP, DOWN = Health(State.UP), Health(State.DOWN)


@pytest.mark.parametrize(
    "meant, actual, setup, servers",
    [
        # Each can stand in for the other.
        (WEB, WEB, ON, [RS1, RS2]),
        # The dead one's last refusals can be kept, the last living one's cannot.
        (WEB, GONE, ON, [RS1]),
        (WEB, rules(service(VIP, QUIET1, RS2)), ON, [RS1]),
        # Nobody is left, or nothing is there yet.
        (WEB, rules(service(VIP)), ON, []),
        (WEB, rules(service(VIP, QUIET1)), ON, []),
        (WEB, rules(), ON, []),
        (rules(service(VIP, RS1)), rules(service(VIP, RS1)), ON, []),
        # Nobody asked for it, or not for this service.
        (WEB, WEB, Setup(), []),
        (
            rules(service(VIP, RS1, RS2), service(TLS, RS2, OTHER)),
            rules(service(VIP, RS1, RS2), service(TLS, RS2, OTHER)),
            WEB_ALONE,
            [RS1],
        ),
        # What no check removes would be tried again and again.
        (WEB, WEB, QUIESCE, []),
        (WEB, WEB, UNCHECKED, []),
        (WEB, WEB, HALF, [RS2]),
        # Only answers that pass here can be kept, and only TCP has such.
        (
            rules(service(VIP, RS1, DIRECT2)),
            WEB,
            ON,
            [RS1],
        ),
        (rules(service(udp(VIP), RS1, RS2)), rules(service(udp(VIP), RS1, RS2)), ON, []),
        # A server of two services must be dispensable in both.
        (
            rules(service(VIP, RS1, RS2), service(TLS, RS2, OTHER)),
            rules(service(VIP, RS1, RS2), service(TLS, RS2)),
            ON,
            [RS1, OTHER],
        ),
        (
            rules(service(VIP, RS1, RS2), service(TLS, RS1)),
            rules(service(VIP, RS1, RS2), service(TLS, RS1)),
            ON,
            [RS2],
        ),
    ],
)
def test_refusals_are_kept_where_another_server_can_answer(meant, actual, setup, servers):
    cluster = Cluster.of(meant, setup, {})
    well = replace(cluster, healths=dict.fromkeys(cluster.healths, UP))

    assert rescued(well, actual.services) == {server.endpoint for server in servers}


def test_from_a_server_that_is_kept_although_it_is_down_nobody_is_rescued_nor_by_it():
    cluster = Cluster.of(WEB, ON, {})
    healths = {who: DOWN if who.endpoint == RS2.endpoint else UP for who in cluster.healths}

    assert rescued(replace(cluster, healths=healths), WEB.services) == frozenset()


def test_what_somebody_added_to_the_table_counts_for_nothing():
    other = rules(service(VIP, RS1, RS2), service(TLS, RS1))
    cluster = Cluster.of(WEB, ON, {})
    well = replace(cluster, healths=dict.fromkeys(cluster.healths, UP))

    assert rescued(well, other.services) == {RS1.endpoint, RS2.endpoint}
