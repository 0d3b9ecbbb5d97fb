import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.questions import Nothing
from lvs_nat.core.rescue import rescued
from lvs_nat.core.setup import Check, OnFailure, ServiceSetup, Setup
from lvs_nat.model import Forwarding
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp, udp

TLS = "172.25.0.10:443"
OTHER = real("192.168.122.30:80")
GONE = rules(service(VIP, RS2))
QUIET1 = real("192.168.122.10:80", 0)
QUIESCE = Setup(default=ServiceSetup(on_failure=OnFailure.QUIESCE))
UNCHECKED = Setup(default=ServiceSetup((Check(Nothing()),)))
HALF = Setup(default=ServiceSetup(servers={RS1.endpoint: (Check(Nothing()),)}))


@pytest.mark.parametrize(
    "meant, actual, setup, servers",
    [
        # Each can stand in for the other.
        (WEB, WEB, Setup(), [RS1, RS2]),
        # The dead one's last refusals can be kept, the last living one's cannot.
        (WEB, GONE, Setup(), [RS1]),
        (WEB, rules(service(VIP, QUIET1, RS2)), Setup(), [RS1]),
        # Nobody is left, or nothing is there yet.
        (WEB, rules(service(VIP)), Setup(), []),
        (WEB, rules(service(VIP, QUIET1)), Setup(), []),
        (WEB, rules(), Setup(), []),
        (rules(service(VIP, RS1)), rules(service(VIP, RS1)), Setup(), []),
        # What no check removes would be tried again and again.
        (WEB, WEB, QUIESCE, []),
        (WEB, WEB, UNCHECKED, []),
        (WEB, WEB, HALF, [RS2]),
        # Only answers that pass here can be kept, and only TCP has such.
        (
            rules(service(VIP, RS1, real("192.168.122.20:80", forwarding=Forwarding.DIRECT))),
            WEB,
            Setup(),
            [RS1],
        ),
        (rules(service(udp(VIP), RS1, RS2)), rules(service(udp(VIP), RS1, RS2)), Setup(), []),
        # A server of two services must be dispensable in both.
        (
            rules(service(VIP, RS1, RS2), service(TLS, RS2, OTHER)),
            rules(service(VIP, RS1, RS2), service(TLS, RS2)),
            Setup(),
            [RS1, OTHER],
        ),
        (
            rules(service(VIP, RS1, RS2), service(TLS, RS1)),
            rules(service(VIP, RS1, RS2), service(TLS, RS1)),
            Setup(),
            [RS2],
        ),
    ],
)
def test_refusals_are_kept_where_another_server_can_answer(meant, actual, setup, servers):
    cluster = Cluster.of(meant, setup, {})

    assert rescued(cluster, actual.services) == {server.endpoint for server in servers}


def test_a_service_added_to_the_table_by_hand_counts_for_nothing():
    other = rules(service(VIP, RS1, RS2), service(TLS, RS1, RS2))

    assert rescued(Cluster.of(WEB, Setup(), {}), other.services) == {RS1.endpoint, RS2.endpoint}
    assert tcp(TLS) in other.services
