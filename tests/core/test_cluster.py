import pytest

from lvs_nat.core.cluster import Cluster, Row, target
from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.setup import Check, CheckKind, OnStart, ServiceSetup, Setup
from lvs_nat.model import Counters, Mark
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp, udp

SETUP = Setup(ServiceSetup(check=Check(fall=2, rise=2)))
VERDICTS = {
    "+": Verdict(Outcome.PASS, "connected"),
    "-": Verdict(Outcome.SILENT, "no answer"),
    "x": Verdict(Outcome.REFUSED, "refused"),
}


def heard(cluster, **results):
    """Return the cluster after a letter's verdict a second; rs1="+x" and so on."""
    endpoints = {"rs1": RS1.endpoint, "rs2": RS2.endpoint}
    for server, letters in results.items():
        who = cluster.members[Row(tcp(VIP), endpoints[server])]
        for now, letter in enumerate(letters):
            cluster, _ = cluster.judged([(who, VERDICTS[letter])], float(now))
    return cluster


def rows(cluster, name=VIP):
    return tuple(cluster.table()[tcp(name)].destinations.values())


def test_a_server_enters_with_its_first_pass():
    cluster = Cluster.of(WEB, SETUP, {})

    assert rows(cluster) == ()
    assert rows(heard(cluster, rs2="+")) == (RS2,)
    assert rows(heard(cluster, rs1="+", rs2="+")) == (RS1, RS2)
    assert rows(heard(cluster, rs1="-", rs2="+")) == (RS2,)


@pytest.mark.parametrize(
    "letters, expected",
    [
        ("+x", (RS1, RS2)),
        ("+xx", (RS2,)),
        ("+xx+", (RS2,)),
        ("+xx++", (RS1, RS2)),
        ("+--", (real("192.168.122.10:80", 0), RS2)),
        ("+--+", (real("192.168.122.10:80", 0), RS2)),
        ("+--++", (RS1, RS2)),
        ("+--x", (RS2,)),
    ],
)
def test_a_failed_server_leaves_and_a_recovered_one_returns(letters, expected):
    assert rows(heard(Cluster.of(WEB, SETUP, {}), rs2="+", rs1=letters)) == expected


def test_a_quiesced_server_is_removed_once_it_sends_nothing_more():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs2="+", rs1="+--")
    key = Row(tcp(VIP), RS1.endpoint)
    silent = {key: Counters(packets_out=40)}

    assert rows(cluster.watched(silent, 3.9)) == (real("192.168.122.10:80", 0), RS2)
    assert rows(cluster.watched(silent, 4.0)) == (RS2,)


def test_what_the_kernel_holds_goes_on_serving_until_a_verdict_says_otherwise():
    cluster = Cluster.of(WEB, SETUP, {}).presuming(WEB.services, 0.0)

    assert rows(cluster) == (RS1, RS2)
    assert rows(heard(cluster, rs1="x")) == (RS1, RS2)
    assert rows(heard(cluster, rs1="xx")) == (RS2,)


def test_a_row_found_at_weight_0_that_should_have_more_waits_there_for_its_server():
    found = rules(service(VIP, real("192.168.122.10:80", 0), RS2))
    cluster = Cluster.of(WEB, SETUP, {}).presuming(found.services, 0.0)

    assert rows(cluster) == (real("192.168.122.10:80", 0), RS2)
    assert rows(heard(cluster, rs1="++")) == (RS1, RS2)


def test_a_reload_keeps_the_health_of_servers_that_stay():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+", rs2="+")
    more = rules(service(VIP, RS1, RS2, real("192.168.122.30:80", 1), scheduler="wrr"))

    assert rows(cluster.reloaded(more, SETUP)) == (RS1, RS2)


def test_a_trusted_server_need_not_pass_first():
    assert rows(Cluster.of(WEB, Setup(on_start=OnStart.TRUST), {})) == (RS1, RS2)


def test_services_that_ask_the_same_of_a_server_share_one_target():
    both = rules(service(VIP, RS1), service("172.25.0.11:80", RS1))

    assert len(Cluster.of(both, SETUP, {}).healths) == 1


def test_a_change_of_state_is_told_once_and_a_verdict_for_a_stranger_is_nothing():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+")
    who = cluster.members[Row(tcp(VIP), RS1.endpoint)]
    stranger = target(SETUP, tcp(VIP), at("192.168.122.99:80"))

    assert cluster.judged([(who, VERDICTS["+"])], 1.0)[1] == ()
    assert [c.after.state for c in cluster.judged([(who, VERDICTS["-"])], 1.0)[1]] == [
        State.FAILING
    ]
    assert cluster.judged([(stranger, VERDICTS["-"])], 1.0)[1] == ()


@pytest.mark.parametrize(
    "name, endpoint, asked",
    [
        (tcp(VIP), "192.168.122.10:80", True),
        (tcp("172.25.0.10:0"), "192.168.122.10:0", False),
        (udp("172.25.0.10:53"), "192.168.122.10:53", False),
        (Mark(5), "192.168.122.10:80", False),
    ],
)
def test_a_connection_is_asked_only_of_tcp_servers_with_a_port(name, endpoint, asked):
    assert (target(SETUP, name, at(endpoint)) is not None) is asked


def test_a_service_or_a_server_can_go_unchecked_and_then_serves():
    unchecked = ServiceSetup(check=Check(kind=CheckKind.NONE))
    cluster = Cluster.of(WEB, Setup(unchecked), {})

    assert rows(cluster) == (RS1, RS2)
    assert cluster.health(Row(tcp(VIP), RS1.endpoint)) is None
    one = ServiceSetup(servers={RS1.endpoint: Check(kind=CheckKind.NONE)})
    assert rows(Cluster.of(WEB, Setup(services={tcp(VIP): one}), {})) == (RS1,)


def test_known_health_is_taken_over():
    who = target(SETUP, tcp(VIP), RS1.endpoint)

    assert rows(Cluster.of(WEB, SETUP, {who: Health(State.UP)})) == (RS1,)


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
    recalled = cluster.recalling(known, held.services).presuming(held.services, 0.0)

    assert rows(recalled) == expected


def test_a_server_known_to_be_down_must_rise_and_one_not_known_passes_once():
    cluster = Cluster.of(WEB, SETUP, {})
    down = {cluster.members[Row(tcp(VIP), RS1.endpoint)]: Health(State.DOWN)}
    recalled = cluster.recalling(down, {})

    assert rows(heard(recalled, rs1="+", rs2="+")) == (RS2,)
    assert rows(heard(recalled, rs1="++", rs2="+")) == (RS1, RS2)


def test_a_reload_keeps_the_health_of_servers_that_are_asked_more_seldom_now():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+--", rs2="+")
    slower = Setup(ServiceSetup(check=Check(interval=9.0)))

    assert rows(cluster.reloaded(WEB, slower)) == rows(cluster)
