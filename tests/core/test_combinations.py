"""Wishes, weights, the guard and stand-ins, several at a time."""

from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, Outcome, State, Verdict, Weight
from lvs_nat.core.leaving import Departure
from lvs_nat.core.memory import Memory, parse, spell
from lvs_nat.core.pool import Stand, Wish, choose, row
from lvs_nat.core.questions import Http
from lvs_nat.core.rescue import rescued
from lvs_nat.core.setup import Check, OnFailure, ServiceSetup, Setup, Target, WhenEmpty
from lvs_nat.core.wishes import Wanted, Whom
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp
from tests.daemon.test_director import PASS, REFUSED, Story
from tests.fakes import FakeIpvs

NAME = tcp(VIP)
OTHER = "172.25.0.11:80"
SILENT, WRONG = Verdict(Outcome.SILENT, "no answer"), Verdict(Outcome.FAIL, "status 500")
SORRY = real("192.168.122.99:80")
SORRIES = {"when_empty": WhenEmpty.SORRY, "sorry": (SORRY.endpoint,)}


def story(ruleset=WEB, **setup):
    return Story(ruleset, Setup(default=ServiceSetup(**setup)))


def weights(told):
    found = told.table[NAME].destinations
    return {endpoint: row.weight for endpoint, row in found.items()}


def test_the_guard_does_not_take_a_small_weight_that_is_asked_for_for_a_failure():
    many = [real(f"192.168.122.{number}:80", 10) for number in range(1, 11)]
    busy = [Stand(it, Health(State.UP, weight=Weight(0.4))) for it in many[1:]]
    dead = Stand(many[0], Health(State.DOWN), Departure(1.0, removed=True))

    assert many[0].endpoint not in choose(ServiceSetup(keep_at_least=0.5), [*busy, dead]).rows


def test_the_guard_counts_who_is_drained_as_out():
    four = [real(f"192.168.122.{number}:80") for number in range(1, 5)]
    drained = [Stand(it, Health(State.UP), wish=Wish.QUIESCED) for it in four[:2]]
    dead = Stand(four[2], Health(State.DOWN), Departure(1.0, removed=True))
    stands = [*drained, dead, Stand(four[3], Health(State.UP))]

    assert choose(ServiceSetup(keep_at_least=0.5), stands).rows[four[2].endpoint] == four[2]


def test_the_guard_keeps_on_while_the_last_one_is_in_doubt():
    told = (
        story(keep_at_least=0.6)
        .serving()
        .hears(RS2, WRONG, WRONG)
        .looks(6)
        .hears(RS1, SILENT, SILENT)
    )

    assert weights(told) == {RS1.endpoint: 5, RS2.endpoint: 10}


def test_sorry_servers_stand_in_rather_than_the_dead():
    told = story(rules(service(VIP, RS1)), keep_at_least=0.5, **SORRIES)
    told.hears(RS1, PASS).hears(SORRY, PASS).hears(RS1, REFUSED, REFUSED)

    assert weights(told) == {SORRY.endpoint: 1}


@pytest.mark.parametrize("wish, expected", [(Wish.OUT, {}), (Wish.QUIESCED, {SORRY.endpoint: 0})])
def test_whom_the_operator_wants_out_stands_in_for_nobody(wish, expected):
    elsewhere = service("172.25.0.11:80", SORRY)
    told = story(rules(service(VIP, RS1), elsewhere), **SORRIES)
    told.hears(RS1, PASS).hears(SORRY, PASS)
    told.director.wish({Whom(None, SORRY.endpoint): Wanted(wish)})
    told.hears(RS1, REFUSED, REFUSED)

    assert weights(told) == expected


def test_whoever_comes_back_by_itself_after_a_wish_comes_slowly():
    told = story(slow_start=20.0).serving()
    told.director.wish({Whom(None, RS1.endpoint): Wanted(Wish.OUT, None, told.now + 60)})
    told.looks(61)

    assert weights(told) == {RS1.endpoint: 5, RS2.endpoint: 1000}


def test_who_was_dead_long_before_is_not_held_by_a_director_that_suspects_itself():
    third = real("192.168.122.30:80")
    told = story(rules(service(VIP, RS1, RS2, third))).serving()
    told.hears(third, PASS).hears(third, SILENT, SILENT).looks(6)
    told.looks(1000).hears(RS1, SILENT, SILENT).hears(RS2, SILENT, SILENT).looks()

    assert told.director.cluster.suspected is not None
    assert weights(told) == {RS1.endpoint: 5, RS2.endpoint: 10}


@pytest.mark.parametrize("weight", [Weight(50, share=False), Weight(1.0), Weight(0.4)])
def test_a_weight_of_0_stays_whatever_the_server_asks_for(weight):
    drained = replace(RS1, weight=0)

    assert row(Stand(drained, Health(State.UP, weight=weight))) == drained


@pytest.mark.parametrize("on_failure", [OnFailure.REMOVE, OnFailure.QUIESCE_THEN_REMOVE])
def test_a_reload_with_another_check_removes_no_well_server_that_is_drained(on_failure):
    told = story(on_failure=on_failure).serving()
    told.director.wish({Whom(None, RS1.endpoint): Wanted(Wish.QUIESCED)})
    check = Check(Http(), timeout=3.0, fast=1.0, rise=5)
    told.looks().director.reload(
        WEB, Setup(default=ServiceSetup(checks=(check,), on_failure=on_failure))
    )
    for _ in range(4):
        told.looks()
        told.director.hear([(Target(it.endpoint, check), PASS) for it in (RS1, RS2)])

        assert weights(told) == {RS1.endpoint: 0, RS2.endpoint: 10}


@pytest.mark.parametrize("weight, expected", [(0.0, 0), (0.4, 2)])
def test_a_reload_with_another_check_keeps_the_weight_that_was_asked_for(weight, expected):
    told = story().serving()
    told.director.hear([(Target(RS1.endpoint, Check()), replace(PASS, weight=Weight(weight)))])
    told.looks().director.reload(WEB, Setup(default=ServiceSetup(checks=(Check(Http()),))))

    assert weights(told.looks()) == {RS1.endpoint: expected, RS2.endpoint: 10}


def test_a_service_whose_every_weight_is_0_serves_nobody():
    empty = rules(service(VIP, replace(RS1, weight=0)))

    assert Cluster.of(empty, Setup(), {}).share_serving(NAME, 0.0) == 0.0


def test_nobody_is_rescued_from_a_dead_server_that_the_guard_keeps():
    told = story(keep_at_least=0.6, rescue=True).serving().hears(RS2, REFUSED, REFUSED)

    assert weights(told) == {RS1.endpoint: 5, RS2.endpoint: 10}
    assert rescued(told.director.cluster, told.table) == frozenset()


@pytest.mark.parametrize(
    "setup", [{"keep_at_least": 0.9}, {"when_empty": WhenEmpty.KEEP}, {}], ids=str
)
@pytest.mark.parametrize("verdict", [REFUSED, SILENT, WRONG])
def test_who_was_found_at_weight_0_is_not_kept_before_it_has_served(setup, verdict):
    kernel = FakeIpvs(service(VIP, replace(RS1, weight=0), replace(RS2, weight=0)))
    told = Story(WEB, Setup(default=ServiceSetup(**setup)), kernel).looks()

    assert weights(told) == {RS1.endpoint: 0, RS2.endpoint: 0}
    told.hears(RS1, verdict)
    assert RS1.endpoint not in {at for at, weight in weights(told).items() if weight}
    told.hears(RS1, PASS, PASS).hears(RS2, PASS, PASS).hears(RS1, WRONG, WRONG)
    kept = 5 if setup.get("keep_at_least") else 0
    assert weights(told) == {RS1.endpoint: kept, RS2.endpoint: 10}


def test_the_next_director_does_not_keep_them_either():
    presumed = Departure(1.0, presumed=True)
    noted = Memory("", True, 0.0, "", "", "", "", departures={(f"tcp {VIP}", "a:1"): presumed})

    assert parse(spell(noted)).departures == noted.departures


@pytest.mark.parametrize("patient", [OTHER, VIP])
def test_a_reload_with_other_timings_goes_on_from_what_the_service_itself_knew(patient):
    both = rules(service(VIP, RS1, RS2), service(OTHER, RS1, RS2))
    hasty = VIP if patient == OTHER else OTHER

    def setup(fall):
        checks = {patient: Check(fall=10), hasty: Check(fall=fall)}
        return Setup(services={tcp(it): ServiceSetup((one,)) for it, one in checks.items()})

    told = Story(both, setup(2))
    told.director.hear([(who, PASS) for who in told.director.cluster.healths])
    dead = [who for who in told.director.cluster.healths if who.endpoint == RS1.endpoint]
    told.director.hear([(who, REFUSED) for who in dead] * 3)
    before = told.services
    told.director.reload(both, setup(3))

    assert told.looks().services == before
    assert before[tcp(hasty)] == {RS2.endpoint}
    assert before[tcp(patient)] == {RS1.endpoint, RS2.endpoint}


def test_where_two_services_come_to_ask_alike_the_worse_that_they_knew_holds():
    both = rules(service(VIP, RS1, RS2), service(OTHER, RS1, RS2))
    checks = {tcp(VIP): Check(fall=2), tcp(OTHER): Check(fall=10)}
    told = Story(both, Setup(services={it: ServiceSetup((one,)) for it, one in checks.items()}))
    told.director.hear([(who, PASS) for who in told.director.cluster.healths])
    dead = [who for who in told.director.cluster.healths if who.endpoint == RS1.endpoint]
    told.director.hear([(who, REFUSED) for who in dead] * 3)
    told.director.reload(both, Setup(default=ServiceSetup((Check(fall=3),))))

    assert RS1.endpoint not in told.looks().services[tcp(VIP)]
