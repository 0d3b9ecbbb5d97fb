"""What the log says of virtual services as a whole."""

import logging
from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.pool import Wish
from lvs_nat.core.setup import Check, ServiceSetup, Setup, Target, WhenEmpty
from lvs_nat.core.wishes import Wanted, Whom
from lvs_nat.daemon.director import Director
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service
from tests.daemon.test_director import PASS, REFUSED, Story
from tests.fakes import FakeIpvs

SILENT = Verdict(Outcome.SILENT, "no answer")
SORRY = real("192.168.122.99:80")
SORRIES = {"when_empty": WhenEmpty.SORRY, "sorry": (SORRY.endpoint,)}
NONE = "quorum lost: none of its real servers takes new clients"


@pytest.fixture
def told(caplog):
    """Return what was said of services since it was asked last, as (level, words)."""
    caplog.set_level(logging.INFO)

    def since():
        found = [
            (record.levelname, record.message[len("virtual service ") :])
            for record in caplog.records
            if record.message.startswith("virtual service")
        ]
        caplog.clear()
        return [(level, words.replace(f"tcp {VIP}: ", "")) for level, words in found]

    return since


def story(ruleset=WEB, **setup):
    """Return a director that has looked once and knows that all serve."""
    found = Story(ruleset, Setup(default=ServiceSetup(**setup))).looks().serving()
    return found.hears(SORRY, PASS) if "sorry" in setup else found


def test_a_service_that_serves_is_nothing_to_talk_about(told):
    story(**SORRIES).looks().hears(RS1, REFUSED, REFUSED).hears(RS1, PASS, PASS)

    assert told() == []


def test_a_service_that_nobody_serves_is_told_once_and_told_again_when_it_is_served(told):
    one = story().hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED).looks().looks()

    assert told() == [("ERROR", NONE)]
    one.hears(RS1, PASS, PASS).looks()
    assert told() == [("INFO", "quorum regained")]


def test_a_quorum_is_lost_before_the_last_server_is(told):
    one = story(quorum=12, hysteresis=2).hears(RS2, REFUSED, REFUSED)

    words = "quorum lost: too little weight takes new clients (quorum = 12, hysteresis = 2)"
    assert told() == [("ERROR", words)]
    one.hears(RS2, PASS, PASS)
    assert told() == [("INFO", "quorum regained")]


def test_sorry_servers_are_told_as_they_stand_in_and_as_they_do_no_more(told):
    one = story(**SORRIES).hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED)

    assert told() == [("ERROR", f"{NONE}; sorry server 192.168.122.99:80 stands in")]
    one.hears(SORRY, REFUSED, REFUSED)
    assert told() == [("WARNING", "sorry server 192.168.122.99:80 stands in no more")]
    one.hears(SORRY, PASS, PASS)
    assert told() == [("ERROR", "sorry server 192.168.122.99:80 stands in")]
    one.hears(RS2, PASS, PASS)
    words = "quorum regained; sorry server 192.168.122.99:80 stands in no more"
    assert told() == [("INFO", words)]


def test_who_is_kept_by_the_panic_guard_is_told(told):
    one = story(keep_at_least=0.5).hears(RS2, REFUSED, REFUSED)

    kept = "real server 192.168.122.20:80 is down but kept: too few would be left"
    assert told() == [("ERROR", kept)]
    one.hears(RS2, PASS, PASS)
    words = "real server 192.168.122.20:80 is no longer kept while down"
    assert told() == [("INFO", words)]


def test_who_is_kept_where_nothing_else_is_left_is_told(told):
    story(when_empty=WhenEmpty.KEEP).hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED)

    kept = "real servers 192.168.122.10:80, 192.168.122.20:80 are down but kept"
    assert told() == [("ERROR", f"{NONE}; {kept}: too few would be left")]


def test_the_last_one_in_doubt_is_told_as_it_is_kept_and_as_it_is_given_up(told):
    one = story().hears(RS1, REFUSED, REFUSED).hears(RS2, SILENT, SILENT)

    kept = "real server 192.168.122.20:80 is silent but kept until it is removed: it is the last"
    assert told() == [("ERROR", f"{NONE}; {kept}")]
    one.looks(0.5).looks(3.0).looks(3.0)
    words = "real server 192.168.122.20:80 is no longer kept while down"
    assert told() == [("WARNING", words)]


def test_of_many_servers_a_few_are_named(told):
    many = [real(f"192.168.122.{number}:80") for number in range(10, 18)]
    one = Story(rules(service(VIP, *many)), Setup(default=ServiceSetup(keep_at_least=1.0))).looks()
    one.director.hear([(Target(it.endpoint, Check()), PASS) for it in many])
    one.director.hear([(Target(it.endpoint, Check()), REFUSED) for it in many] * 2)

    ((_, words),) = told()
    assert "192.168.122.14:80 and 3 more are down but kept" in words


def test_what_the_operator_empties_is_told_like_any_other(told):
    one = story()
    one.director.wish({Whom(None, it.endpoint): Wanted(Wish.OUT) for it in (RS1, RS2)})

    assert told() == [("ERROR", NONE)]


def test_a_start_says_nothing_before_the_first_verdicts_and_then_what_is_wrong(told):
    one = Story().looks().hears(RS1, REFUSED)

    assert told() == []
    one.hears(RS2, REFUSED)
    assert told() == [("ERROR", NONE)]


def test_rows_found_at_weight_0_are_no_news_before_the_first_verdicts(told):
    found = service(VIP, replace(RS1, weight=0), replace(RS2, weight=0))
    one = Story(kernel=FakeIpvs(found)).looks().hears(RS1, REFUSED)

    assert told() == []
    one.hears(RS2, REFUSED)
    assert told() == [("ERROR", NONE)]


def test_a_restart_finds_no_news_in_what_was_told_before(told):
    found = {Target(it.endpoint, Check()): Health(State.DOWN) for it in (RS1, RS2)}
    one = Story()
    one.director = Director(Cluster.of(WEB, Setup(), found), FakeIpvs(), lambda: one.now)
    one.looks().hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED).looks()

    assert told() == []
    one.hears(RS2, PASS, PASS)
    assert told() == [("INFO", "quorum regained")]


def test_a_reload_that_adds_a_server_is_no_news_until_that_one_is_known(told):
    one = story().hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED)
    told()
    third = real("192.168.122.30:80")
    one.director.reload(rules(service(VIP, RS1, RS2, third)), Setup())
    one.looks()

    assert told() == []
    one.hears(third, PASS)
    assert told() == [("INFO", "quorum regained")]


def test_a_service_without_servers_or_no_more_in_the_rules_is_none_in_trouble(told):
    other = service("172.25.0.11:80", RS1)
    one = story(rules(*WEB.services.values(), other)).hears(RS1, REFUSED, REFUSED)

    assert told() == [("ERROR", f"tcp 172.25.0.11:80: {NONE}")]
    one.director.reload(rules(service(VIP, RS2), service("172.25.0.12:80")), Setup())
    one.looks()
    assert told() == []


def test_a_director_that_suspects_itself_says_that_alone(told):
    one = story()
    silent = [(Target(it.endpoint, Check()), SILENT) for it in (RS1, RS2)]
    one.director.hear(silent * 2)
    one.looks()

    assert one.director.cluster.suspected is not None
    assert told() == []


def test_of_a_hundred_services_in_trouble_no_more_are_told_one_by_one(told):
    check = Check()
    names = [f"172.25.{number // 200}.{number % 200 + 1}:80" for number in range(150)]
    one = Story(rules(*(service(name, RS1) for name in names)), Setup(ServiceSetup((check,))))
    one.looks().hears(RS1, PASS).hears(RS1, REFUSED, REFUSED)

    assert len(told()) == 100


def test_a_look_at_services_that_serve_chooses_nobody_anew():
    one = story()
    cluster = one.director.cluster

    assert cluster.choices(one.now) == {}
    assert cluster.table(one.now) == WEB.services
