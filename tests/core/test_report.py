import pytest

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.judging import judged
from lvs_nat.core.report import Pulse, count, report
from lvs_nat.core.setup import Check, Setup, Target
from lvs_nat.core.warmth import Warmth
from lvs_nat.model import Counters, Mark
from tests.builders import RS1, RS2, VIP, real, rules, service, tcp

RULES = rules(service(VIP, RS1, RS2), service(Mark(7), real("192.168.122.10:443", 1)))
FIRST = Row(tcp(VIP), RS1.endpoint)
ASKED = Target(RS1.endpoint, Check())
WARM = Warmth("+-+", 0.0004, 0.0003, 0.002)


def cluster():
    fresh = Cluster.of(RULES, Setup(), {})
    passed = Verdict(Outcome.PASS, "connected", 0.0004)
    return judged(fresh, [(ASKED, passed)], 100.0)[0]


def test_the_counts_are_one_sentence():
    assert str(count(cluster())) == "2 virtual services, 2 of 3 real servers serving, 1 unchecked"


def test_a_server_that_is_leaving_is_not_counted_among_those_that_serve():
    refused = (ASKED, Verdict(Outcome.REFUSED, "refused"))
    leaving, _ = judged(cluster(), [refused, refused], 101.0)

    assert FIRST in leaving.departures
    assert str(count(leaving)) == "2 virtual services, 1 of 3 real servers serving, 1 unchecked"


def test_every_server_says_how_it_fares_and_why():
    actual = rules(service(VIP, RS1), RULES.services[Mark(7)])
    counters = {FIRST: Counters(active=3, inactive=4, connections_rate=5)}
    found = report(cluster(), actual, counters, Pulse({ASKED: 110.4}, {ASKED: WARM}), 110.0)

    assert found["counts"] == {
        "services": 2, "servers": 3, "serving": 2, "failed": 1, "unchecked": 1,
    }  # fmt: skip
    web, mark = found["services"]
    assert web["servers"] == [
        {
            "address": "192.168.122.10:80",
            "forwarding": "masquerade",
            "sorry": False,
            "weight": 5,
            "kernel_weight": 5,
            "state": "up",
            "serving": True,
            "for": 10.0,
            "words": "connected",
            "ms": 0.4,
            "next_probe_in": 0.4,
            "checks": [
                {
                    "check": "tcp",
                    "endpoint": "192.168.122.10:80",
                    "from": None,
                    "state": "up",
                    "serving": True,
                    "for": 10.0,
                    "words": "connected",
                    "ms": 0.4,
                    "next_probe_in": 0.4,
                    "history": "+-+",
                    "latency": {"mean": 0.4, "least": 0.3, "most": 2.0},
                }
            ],
            "wish": None,
            "remark": None,
            "active_connections": 3,
            "inactive_connections": 4,
            "connections_per_second": 5,
        },
        {
            "address": "192.168.122.20:80",
            "forwarding": "masquerade",
            "sorry": False,
            "weight": 10,
            "kernel_weight": None,
            "state": "new",
            "serving": False,
            "for": None,
            "words": "not asked yet",
            "ms": None,
            "next_probe_in": None,
            "checks": [
                {
                    "check": "tcp",
                    "endpoint": "192.168.122.20:80",
                    "from": None,
                    "state": "new",
                    "serving": False,
                    "for": None,
                    "words": "not asked yet",
                    "ms": None,
                    "next_probe_in": None,
                    "history": "",
                    "latency": {"mean": None, "least": None, "most": None},
                }
            ],
            "wish": None,
            "remark": None,
            "active_connections": 0,
            "inactive_connections": 0,
            "connections_per_second": 0,
        },
    ]
    assert (mark["protocol"], mark["address"]) == ("fwmark", "7")
    assert mark["servers"][0]["state"] == "unchecked"


@pytest.mark.parametrize(
    "due, ahead", [(110.4, 0.4), (110.0, 0.0), (109.7, 0.7), (100.25, 0.25), (None, None)]
)
def test_a_probe_that_brought_no_news_is_followed_by_the_next_an_interval_later(due, ahead):
    found = report(cluster(), RULES, {}, Pulse({ASKED: due} if due else {}), 110.0)

    assert found["services"][0]["servers"][0]["next_probe_in"] == ahead
