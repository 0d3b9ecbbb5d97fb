from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.leaving import Departure
from lvs_nat.core.questions import Nothing
from lvs_nat.core.setup import Check, OnFailure, ServiceSetup, Setup, Target
from lvs_nat.core.suspicion import awaited, busy, flows, in_turn, suspects, whom
from lvs_nat.model import Forwarding, Mark
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp, udp

DNS = "172.25.0.10:53"
BOTH = rules(service(VIP, RS1, RS2), service(DNS, RS1))


def look(first, second, third=(0, 0), ruleset=BOTH):
    """Return the flows of RS1 and RS2 in the first service, and of RS1 in the second."""
    return flows(ruleset.services, {tcp(VIP): [first, second], tcp(DNS): [third]})


QUIET = look((5, 9), (0, 0))


@pytest.mark.parametrize(
    "now, suspected",
    [
        # Nobody came, or all went.
        (look((5, 9), (0, 0)), []),
        (look((0, 0), (0, 0)), []),
        (look((4, 9), (0, 0)), []),
        # Clients came and are served.
        (look((8, 9), (2, 0)), []),
        (look((8, 12), (2, 1)), []),
        # Clients came, and either had a short answer or none.
        (look((5, 10), (0, 0)), [(VIP, RS1)]),
        (look((4, 10), (0, 3)), [(VIP, RS1), (VIP, RS2)]),
        (look((8, 12), (0, 3), (0, 1)), [(VIP, RS2), (DNS, RS1)]),
    ],
)
def test_whoever_got_clients_of_whom_no_more_stayed_is_suspected(now, suspected):
    assert list(suspects(QUIET, now)) == [Row(tcp(name), it.endpoint) for name, it in suspected]


def test_services_that_were_edited_between_two_looks_tell_nothing():
    edited = rules(service(VIP, real("192.168.122.10:80", 7), RS2), *[BOTH.services[tcp(DNS)]])
    new = look((5, 20), (0, 20), (0, 1), edited)

    assert list(suspects(QUIET, new)) == [Row(tcp(DNS), RS1.endpoint)]
    assert list(suspects({}, new)) == []
    assert list(suspects(new, flows(WEB.services, {tcp(VIP): [(0, 0), (0, 0)]}))) == []


def test_a_machine_is_busy_while_clients_come_or_go():
    assert not busy(QUIET, look((5, 9), (0, 0)))
    assert busy(QUIET, look((5, 9), (0, 0), (1, 0)))
    assert busy(QUIET, look((4, 10), (0, 0)))
    assert not busy({}, QUIET)


def test_where_too_many_are_suspected_each_has_its_turn():
    many = [at(f"10.0.0.{n}:80") for n in range(10)]
    turns = [in_turn(many, turn, 4) for turn in range(5)]

    assert in_turn(many, 7, 10) == many
    assert {len(turn) for turn in turns} == {4}
    assert set().union(*turns) == set(many)


TCP = Check()
WIDE = Setup(services={Mark(7): ServiceSetup(checks=(replace(TCP, port=81),))})
FAR = real("192.168.122.30:80", forwarding=Forwarding.DIRECT)
PORTLESS = real("192.168.122.40:0")


def test_watched_are_those_whose_tcp_passes_and_whom_a_check_can_ask():
    everything = rules(
        service(VIP, RS1, FAR),
        service("172.25.0.10:443", RS1, RS2),
        service(udp(DNS), RS2, real("192.168.122.20:53")),
        service(Mark(7), real("192.168.122.50:80"), PORTLESS),
    )

    assert whom(Cluster.of(everything, WIDE, {})) == {
        RS1.endpoint: (Target(RS1.endpoint, TCP), Target(RS1.endpoint, TCP)),
        RS2.endpoint: (Target(RS2.endpoint, TCP),),
        at("192.168.122.50:80"): (Target(at("192.168.122.50:81"), TCP),),
    }
    assert whom(Cluster.of(WEB, Setup(ServiceSetup(checks=(Check(Nothing()),))), {})) == {}


@pytest.mark.parametrize(
    "departure, on_failure, suspected, some",
    [
        (Departure(5.0), OnFailure.QUIESCE_THEN_REMOVE, None, True),
        (Departure(5.0, packets_out=7, heard=6.0), OnFailure.QUIESCE_THEN_REMOVE, None, True),
        (Departure(5.0, removed=True), OnFailure.QUIESCE_THEN_REMOVE, None, False),
        (Departure(5.0, way=True), OnFailure.QUIESCE_THEN_REMOVE, None, False),
        (Departure(5.0, flowing=True), OnFailure.QUIESCE_THEN_REMOVE, None, False),
        (Departure(5.0), OnFailure.QUIESCE, None, False),
        (Departure(5.0), OnFailure.QUIESCE_THEN_REMOVE, 5.0, False),
    ],
)
def test_awaited_are_those_that_are_removed_once_they_are_mute(
    departure, on_failure, suspected, some
):
    cluster = Cluster.of(WEB, Setup(ServiceSetup(on_failure=on_failure)), {})
    leaving = {Row(tcp(VIP), RS1.endpoint): departure}
    cluster = replace(cluster, departures=leaving, suspected=suspected)

    assert list(awaited(cluster)) == ([RS1.endpoint] if some else [])
