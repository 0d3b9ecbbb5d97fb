from ipaddress import ip_interface

import pytest

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Health, Outcome, State, Verdict, Weight
from lvs_nat.core.judging import NO_WAY, judged
from lvs_nat.core.questions import Agent, Connect, File, Nothing
from lvs_nat.core.resuming import presumed
from lvs_nat.core.setup import Check, OnStart, ServiceSetup, Setup, Target, WhenEmpty
from lvs_nat.core.targets import Here
from lvs_nat.model import Counters, Destination
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp

CHECK = Check(fall=2, rise=2)
SETUP = Setup(ServiceSetup((CHECK,)))
VERDICTS = {
    "+": Verdict(Outcome.PASS, "connected"),
    "-": Verdict(Outcome.SILENT, "no answer"),
    "x": Verdict(Outcome.REFUSED, "refused"),
    "!": Verdict(Outcome.FAIL, "status 500"),
    "m": Verdict(Outcome.MUTE, "connected, but no answer in time"),
    "?": Verdict(Outcome.UNKNOWN, "too many open files"),
}


def heard(cluster, **results):
    """Return the cluster after a letter's verdict a second; rs1="+x" and so on."""
    endpoints = {"rs1": RS1.endpoint, "rs2": RS2.endpoint}
    for server, letters in results.items():
        [who] = cluster.members[Row(tcp(VIP), endpoints[server])]
        for now, letter in enumerate(letters):
            cluster, _ = judged(cluster, [(who, VERDICTS[letter])], float(now))
    return cluster


def rows(cluster, name=VIP, now=100.0):
    return tuple(cluster.table(now)[tcp(name)].destinations.values())


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


SORRY = ServiceSetup((CHECK,), when_empty=WhenEmpty.SORRY, sorry=(at("192.168.122.99:80"),))


def test_a_sorry_server_stands_in_where_every_weight_is_0():
    off = rules(service(VIP, real("192.168.122.10:80", 0), real("192.168.122.20:80", 0)))
    cluster = Cluster.of(off, Setup(SORRY), {})
    cluster, _ = judged(cluster, [(who, VERDICTS["+"]) for who in cluster.healths], 0.0)

    assert rows(cluster)[-1] == Destination(SORRY.sorry[0])


@pytest.mark.parametrize(
    ("beside", "suspected"),
    [((), True), ((Check(File("/etc/%h")),), True), ((Check(Connect()),), False)],
    ids=["nothing", "a file, which tells nothing of our link", "another question that passes"],
)
def test_a_director_that_hears_nothing_of_anybody_suspects_itself(beside, suspected):
    cluster = Cluster.of(WEB, Setup(ServiceSetup((CHECK, *beside))), {})
    cluster, _ = judged(cluster, [(who, VERDICTS["+"]) for who in cluster.healths], 0.0)
    silent = [(who, VERDICTS["-"]) for who in cluster.healths if who.check == CHECK]
    for now in (1.0, 2.0):
        cluster, _ = judged(cluster, silent, now)

    assert (cluster.suspected is not None) is suspected


def test_a_director_does_not_suspect_itself_where_servers_take_connections_and_then_hang():
    cluster = Cluster.of(WEB, Setup(SORRY), {})
    cluster, _ = judged(cluster, [(who, VERDICTS["+"]) for who in cluster.healths], 0.0)
    everybody = [who for who in cluster.healths if who.endpoint not in SORRY.sorry]
    for now in (1.0, 2.0):
        cluster, _ = judged(cluster, [(who, VERDICTS["m"]) for who in everybody], now)

    assert cluster.suspected is None
    assert Destination(SORRY.sorry[0]) in rows(cluster)


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
    [who] = cluster.members[Row(tcp(VIP), RS1.endpoint)]
    stranger = Target(at("192.168.122.99:80"), CHECK)

    assert judged(cluster, [(who, VERDICTS["+"])], 1.0)[1] == ()
    assert [c.after.state for c in judged(cluster, [(who, VERDICTS["-"])], 1.0)[1]] == [
        State.FAILING
    ]
    assert judged(cluster, [(stranger, VERDICTS["-"])], 1.0)[1] == ()


@pytest.mark.parametrize("letters", ["", "+", "-", "+-", "+--", "+--+", "?", "+?", "+--?"])
@pytest.mark.parametrize("letter", "+-x?")
@pytest.mark.parametrize("times", range(1, 8))
def test_a_verdict_that_is_told_for_several_probes_counts_for_each(letters, letter, times):
    verdict = VERDICTS[letter]
    before = heard(Cluster.of(WEB, SETUP, {}), rs1=letters)
    [who] = before.members[Row(tcp(VIP), RS1.endpoint)]
    one_by_one, changes = before, ()
    for _ in range(times):
        one_by_one, more = judged(one_by_one, [(who, verdict)], 100.0)
        changes += more

    assert judged(before, [(who, verdict)] * times, 100.0) == (one_by_one, changes)


def test_a_service_or_a_server_can_go_unchecked_and_then_serves():
    unchecked = ServiceSetup((Check(Nothing()),))
    cluster = Cluster.of(WEB, Setup(unchecked), {})

    assert rows(cluster) == (RS1, RS2)
    assert cluster.health(Row(tcp(VIP), RS1.endpoint)) is None
    one = ServiceSetup(servers={RS1.endpoint: (Check(Nothing()),)})
    assert rows(Cluster.of(WEB, Setup(services={tcp(VIP): one}), {})) == (RS1,)


def test_known_health_is_taken_over():
    who = Target(RS1.endpoint, CHECK)

    assert rows(Cluster.of(WEB, SETUP, {who: Health(State.UP)})) == (RS1,)


SLOWLY = Setup(ServiceSetup((CHECK,), slow_start=100.0))


@pytest.mark.parametrize(
    ("letters", "weight"),
    [
        ("+", 500),  # it enters at the start
        ("-++", 5),  # it was down at the start: clients have been without it
        ("+--++", 5),
    ],
)
def test_whoever_was_away_returns_slowly_whether_or_not_it_was_there_before(letters, weight):
    cluster = heard(Cluster.of(WEB, SLOWLY, {}), rs2="+", rs1=letters)

    assert rows(cluster, now=len(letters))[0] == real("192.168.122.10:80", weight)


def test_a_reload_keeps_the_health_of_servers_that_are_asked_more_seldom_now():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+--", rs2="+")
    slower = Setup(ServiceSetup((Check(interval=9.0),)))

    assert rows(cluster.reloaded(WEB, slower)) == rows(cluster)


HERE = Here(frozenset({ip_interface("172.25.0.10/24"), ip_interface("192.168.122.100/24")}))
WEIGHTLESS = real("192.168.122.10:80", 0)


def on_the_way(*verdicts, cluster=None, until=10.0):
    """Return the cluster once rs1 was told of by *verdicts*: p plainly, w for its way back."""
    cluster = cluster or Cluster.of(WEB, SETUP, {}, HERE)
    for key in cluster.members:
        for who in cluster.members[key]:
            cluster, _ = judged(cluster, [(who, VERDICTS["+"])], 0.0)
    plain, way = cluster.members[Row(tcp(VIP), RS1.endpoint)]
    for now, (about, letter) in enumerate(verdicts, 1):
        asked = plain if about == "p" else way
        cluster, _ = judged(cluster, [(asked, VERDICTS[letter])], float(now))
    return cluster


@pytest.mark.parametrize(
    "verdicts, expected",
    [
        ((), (RS1, RS2)),
        (("w-",), (RS1, RS2)),
        (("w-", "w-"), (WEIGHTLESS, RS2)),
        (("w-", "w-", "w+", "w+"), (RS1, RS2)),
        # A refusal has found its way back.
        (("wx", "wx"), (RS1, RS2)),
        (("wm", "wm"), (RS1, RS2)),
        # While the server does not answer the director either, silence is its own.
        (("p-", "w-", "w-"), (RS1, RS2)),
        (("px", "px", "wx", "wx"), (RS2,)),
        (("px", "px", "w-", "w-", "p+", "p+"), (RS1, RS2)),
        # A wrong answer is one.
        (("p!", "p!", "w-", "w-", "p+", "p+"), (WEIGHTLESS, RS2)),
        (("pm", "pm", "w-", "w-", "p+", "p+"), (WEIGHTLESS, RS2)),
    ],
)
def test_a_server_whose_answers_do_not_come_back_takes_no_client(verdicts, expected):
    assert rows(on_the_way(*verdicts)) == expected


def test_what_is_wrong_with_the_way_back_is_said_in_words():
    cluster = on_the_way("w-", "w-")

    assert cluster.health(Row(tcp(VIP), RS1.endpoint)).last.words == NO_WAY


def watched(cluster, looks):
    """Return the cluster after looks at (time, packets that have come out of rs1)."""
    for now, packets in looks:
        counters = {Row(tcp(VIP), RS1.endpoint): Counters(packets_out=packets)}
        cluster = cluster.watched(counters, now)
    return cluster


def test_where_packets_come_out_all_the_same_the_server_serves_on():
    cluster = on_the_way("w-", "w-")  # at 2 s
    old = watched(cluster, [(2.1, 40), (4.0, 90)])  # counted late, may have come out before
    new = watched(old, [(5.0, 90), (6.0, 130)])

    assert rows(old) == (WEIGHTLESS, RS2)
    assert rows(watched(old, [(5.0, 90), (9.5, 90)])) == (RS2,)
    assert rows(new) == (RS1, RS2)
    assert new.flowing == {Row(tcp(VIP), RS1.endpoint)}
    assert new.health(Row(tcp(VIP), RS1.endpoint)).state is State.UP


def test_whoever_flows_and_then_fails_leaves_in_two_steps_like_any_other():
    flowing = watched(on_the_way("w-", "w-"), [(5.0, 90), (6.0, 130)])
    plain, _ = flowing.members[Row(tcp(VIP), RS1.endpoint)]
    for now in (3600.0, 3601.0):
        flowing, _ = judged(flowing, [(plain, VERDICTS["-"])], now)

    assert rows(watched(flowing, [(3601.3, 140), (3602.9, 150)])) == (WEIGHTLESS, RS2)
    assert rows(watched(flowing, [(3601.3, 140), (3603.1, 140)])) == (RS2,)


def test_the_last_server_is_not_quiesced_on_a_suspicion_of_its_way_back():
    alone = rules(service(VIP, RS1))
    cluster = on_the_way("w-", "w-", cluster=Cluster.of(alone, SETUP, {}, HERE))

    assert rows(cluster) == (RS1,)
    assert rows(watched(cluster, [(5.0, 40), (9.5, 40)])) == ()


def test_a_virtual_address_that_arrives_takes_no_server_out_before_a_verdict():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+", rs2="+")
    moved = presumed(cluster.moved(HERE), WEB.services, 5.0)

    assert cluster.moved(cluster.here) is cluster
    assert sum(who.path for who in moved.healths) == 2
    assert rows(moved) == (RS1, RS2)
    assert not any(who.path for who in moved.moved(Here()).healths)


BOTH = Setup(ServiceSetup((CHECK, Check(Connect(), fall=2))))


def test_of_several_checks_all_must_pass():
    cluster = Cluster.of(WEB, BOTH, {})
    first, second = cluster.members[Row(tcp(VIP), RS1.endpoint)]
    cluster, _ = judged(cluster, [(first, VERDICTS["+"])], 0.0)
    both, _ = judged(cluster, [(second, VERDICTS["+"])], 0.0)
    fallen, _ = judged(both, [(second, VERDICTS["x"])] * 2, 1.0)

    assert [rows(it) for it in (cluster, both, fallen)] == [(), (RS1,), ()]
    assert fallen.health(Row(tcp(VIP), RS1.endpoint)).last.words == "refused"


def test_a_server_gets_the_weight_that_it_asks_for():
    cluster = Cluster.of(WEB, Setup(ServiceSetup((Check(Agent(), port=99),))), {})
    [who] = cluster.members[Row(tcp(VIP), RS2.endpoint)]
    for weight, expected in [
        (None, 10),
        (Weight(0.5), 5),
        (Weight(0.52), 5),  # too near to be worth a write
        (Weight(0.0), 0),
        (Weight(0.01), 1),
        (Weight(7, share=False), 7),
        (None, 10),
    ]:
        verdict = Verdict(Outcome.PASS, "ready", weight=weight)
        cluster, _ = judged(cluster, [(who, verdict)], 1.0)
        assert [row.weight for row in rows(cluster)] == [expected]


def test_a_refusal_by_another_port_leaves_doubt_and_the_server_its_connections():
    cluster = Cluster.of(WEB, Setup(ServiceSetup((Check(Agent(), port=99, fall=1),))), {})
    for key in cluster.members:
        cluster, _ = judged(cluster, [(cluster.members[key][0], VERDICTS["+"])], 0.0)
    [who] = cluster.members[Row(tcp(VIP), RS1.endpoint)]
    cluster, _ = judged(cluster, [(who, VERDICTS["x"])], 1.0)

    assert rows(cluster) == (WEIGHTLESS, RS2)


def test_a_mute_server_is_removed_at_once_unless_all_others_owe_an_answer_as_well():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs2="+", rs1="+--")

    def after(*mute):
        owed = {one.endpoint: 0.5 for one in mute}
        return rows(cluster.watched({}, 2.2, owed.get))

    assert after() == (WEIGHTLESS, RS2)
    assert after(RS1) == (RS2,)
    assert after(RS1, RS2) == (WEIGHTLESS, RS2)


def test_who_fell_while_the_director_suspected_itself_has_time_to_answer_again():
    cluster = heard(Cluster.of(WEB, SETUP, {}), rs1="+", rs2="+")
    both = [cluster.members[Row(tcp(VIP), one.endpoint)][0] for one in (RS1, RS2)]
    for _ in range(2):
        cluster, _ = judged(cluster, [(who, VERDICTS["-"]) for who in both], 2.0)
    held = cluster
    for _ in range(2):
        cluster, _ = judged(cluster, [(both[1], VERDICTS["+"])], 9.0)
    owed = {RS1.endpoint: 2.0}

    assert held.suspected == 2.0
    assert rows(held.watched({}, 8.0, owed.get)) == (RS1, RS2)
    assert rows(cluster.watched({}, 9.5, owed.get)) == (WEIGHTLESS, RS2)
    assert rows(cluster.watched({}, 11.0, owed.get)) == (RS2,)
