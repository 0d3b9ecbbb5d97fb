import errno
import logging
from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.plan import (
    AddDestination,
    DelDestination,
    DelService,
    SetDestination,
    SetService,
    SetTimeouts,
    StartDaemon,
    plan,
)
from lvs_nat.core.pool import Wish
from lvs_nat.core.questions import Nothing
from lvs_nat.core.resuming import presumed
from lvs_nat.core.setup import Check, Drift, Own, ServiceSetup, Setup, Target, WhenEmpty
from lvs_nat.core.wishes import Wanted, Whom
from lvs_nat.daemon.director import SECOND_LOOK, Director
from lvs_nat.errors import KernelError
from lvs_nat.model import SyncDaemon, SyncRole, Timeouts
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp
from tests.fakes import FakeIpvs

PASS = Verdict(Outcome.PASS, "connected")
REFUSED = Verdict(Outcome.REFUSED, "connection refused")
OTHER = service("10.9.9.9:25", real("192.168.122.10:25"))
THIRD = service("10.9.9.9:26", RS1)
WRR = service(VIP, scheduler="wrr")


class Story:
    """A director, its kernel and its clock, told step by step."""

    def __init__(self, ruleset=WEB, setup=Setup(), kernel=None):  # noqa: B008
        self.kernel = kernel or FakeIpvs()
        self.now = 0.0
        cluster = presumed(Cluster.of(ruleset, setup, {}), self.kernel.read().services, 0.0)
        self.director = Director(cluster, self.kernel, lambda: self.now)

    def hears(self, row, *verdicts):
        for verdict in verdicts:
            self.director.hear([(Target(row.endpoint, Check()), verdict)])
        return self

    def serving(self):
        return self.hears(RS1, PASS).hears(RS2, PASS)

    def looks(self, after=1.0):
        self.now += after
        self.director.reconcile()
        return self

    def by_hand(self, *operations):
        assert self.kernel.apply(operations) == ()
        return self

    @property
    def services(self):
        return {name: set(one.destinations) for name, one in self.kernel.read().services.items()}

    @property
    def table(self):
        return self.kernel.read().services


def test_servers_enter_as_they_pass_and_leave_as_they_refuse():
    story = Story().serving()

    assert story.table == WEB.services
    assert story.hears(RS1, REFUSED).table == WEB.services
    assert story.hears(RS1, REFUSED).table == rules(service(VIP, RS2)).services
    assert story.hears(RS1, PASS, PASS).table == WEB.services


def test_a_table_already_right_is_not_touched():
    kernel = FakeIpvs()
    story = Story(kernel=kernel).serving()
    writes = kernel.writes
    story.looks().looks()

    assert kernel.writes == writes


def test_a_service_is_not_opened_before_a_server_may_serve_or_the_first_round_is_over():
    story = Story()
    story.director.hold(1.0)

    assert story.looks(0.5).table == {}
    assert story.looks(0.6).table == rules(service(VIP)).services


def test_what_is_not_ours_goes_but_only_after_the_first_round():
    story = Story(kernel=FakeIpvs(OTHER))
    story.director.hold(1.0)

    assert set(story.looks(0.5).table) == {OTHER.name}
    assert set(story.hears(RS1, PASS).table) == {OTHER.name, tcp(VIP)}
    assert set(story.hears(RS2, PASS).table) == {tcp(VIP)}


def test_with_own_rules_what_is_not_ours_stays_and_edits_of_it_are_not_our_business():
    story = Story(setup=Setup(own=Own.RULES), kernel=FakeIpvs(OTHER)).serving().looks()
    story.by_hand(DelDestination(OTHER.name, real("192.168.122.10:25").endpoint)).looks()

    assert set(story.table) == {tcp(VIP), OTHER.name}
    assert story.director.meant == WEB


def test_with_own_rules_a_service_that_a_reload_drops_was_ours_to_remove():
    setup = Setup(own=Own.RULES)
    more = rules(service(VIP, RS1, RS2), service("172.25.0.10:443", RS1))
    story = Story(more, setup=setup, kernel=FakeIpvs(OTHER)).serving().looks()
    before = set(story.table)
    story.director.reload(WEB, setup)

    assert set(story.looks().table) == before - {tcp("172.25.0.10:443")}
    assert OTHER.name in before


def test_an_edit_by_hand_is_kept_and_becomes_what_save_writes(caplog):
    caplog.set_level(logging.INFO)
    story = Story().serving().looks().by_hand(SetService(WRR)).looks()
    meant = rules(service(VIP, RS1, RS2, scheduler="wrr"))

    assert story.table == meant.services
    assert story.director.meant.services == meant.services
    assert "somebody ran ipvsadm -E -t 172.25.0.10:80 -s wrr (kept" in caplog.text


def test_a_server_deleted_by_hand_stays_away_and_one_added_by_hand_serves_at_once():
    story = Story().serving().looks().by_hand(DelDestination(tcp(VIP), RS1.endpoint)).looks()

    assert story.hears(RS1, PASS, PASS).table == rules(service(VIP, RS2)).services
    story.by_hand(AddDestination(tcp(VIP), RS1)).looks()
    assert story.table == WEB.services


def test_a_drain_by_hand_survives_a_failure_of_another_server():
    drained = real("192.168.122.10:80", 0)
    story = Story().serving().looks().by_hand(SetDestination(tcp(VIP), drained)).looks()

    assert story.hears(RS2, REFUSED, REFUSED).table == rules(service(VIP, drained)).services


@pytest.mark.parametrize(
    "policy, scheduler, saved", [(Drift.REPAIR, "rr", "rr"), (Drift.REPORT, "wrr", "rr")]
)
def test_edits_are_put_back_or_only_told_where_the_policy_says_so(policy, scheduler, saved):
    story = Story(setup=Setup(drift=policy)).serving().looks().by_hand(SetService(WRR)).looks()

    assert story.table[tcp(VIP)].scheduler == scheduler
    assert story.director.meant.services[tcp(VIP)].scheduler == saved


def test_a_sync_daemon_that_no_rule_has_named_is_put_back_too():
    story = Story(setup=Setup(drift=Drift.REPAIR)).serving().looks()
    story.by_hand(StartDaemon(SyncDaemon(SyncRole.MASTER, "lo"))).looks()

    assert story.kernel.read().daemons == {}


def test_a_table_found_empty_twice_is_put_back():
    story = Story().serving().looks().by_hand(DelService(tcp(VIP)))

    assert story.looks().table == {}
    assert story.director.suspects_loss
    assert story.looks(SECOND_LOOK).table == WEB.services
    assert story.director.meant == WEB


class Interrupted(FakeIpvs):
    """A table to which *meanwhile* is done between the next look and what comes of it."""

    meanwhile = None

    def apply(self, operations):
        act, self.meanwhile = self.meanwhile, None
        if act:
            act()
        return super().apply(operations)


def test_a_table_that_is_emptied_just_before_something_is_added_is_put_back_whole():
    both = rules(*WEB.services.values(), OTHER)
    story = Story(kernel=Interrupted()).serving().looks()
    story.director.reload(both, Setup())
    story.hears(real("192.168.122.10:25"), PASS)
    story.kernel.meanwhile = story.kernel.flush
    story.director.reload(rules(*both.services.values(), THIRD), Setup())
    story.looks()
    left = story.services.keys()

    assert left == {THIRD.name}
    assert story.looks().looks(SECOND_LOOK).services.keys() == {*both.services, THIRD.name}
    assert story.director.meant.services.keys() == {*both.services, THIRD.name}


def test_a_glance_sees_a_lost_table_and_neither_traffic_nor_a_silent_kernel():
    story = Story().serving()

    assert story.director.glance()
    story.by_hand(DelService(tcp(VIP)))
    assert not story.director.glance()
    assert story.looks().looks(SECOND_LOOK + 0.01).director.glance()
    story.kernel.broken = KernelError("the kernel's answer was lost", errno.ENOBUFS)
    assert story.director.glance()


def test_before_anything_is_known_of_a_table_a_glance_has_nothing_to_say():
    assert Story(kernel=FakeIpvs(OTHER)).director.glance()


def test_a_table_emptied_and_filled_again_at_once_is_an_edit():
    story = Story().serving().looks().by_hand(DelService(tcp(VIP))).looks()
    other = rules(OTHER)
    story.by_hand(*plan(other, rules())).looks()

    assert story.table == other.services
    assert story.director.meant.services == other.services


HEAVY = SetDestination(tcp(VIP), real("192.168.122.10:80", 7))
LIGHT = SetDestination(tcp(VIP), real("192.168.122.20:80", 1))


def fought_over(story, times, *operations):
    """Have a program do *operations* again once a second, whatever becomes of them."""
    for _ in range(times):
        story.by_hand(*operations).looks()
    return story


def test_a_program_that_never_tires_is_put_right_each_time_and_named_once_a_minute(caplog):
    caplog.set_level(logging.INFO)
    story = Story(setup=Setup(drift=Drift.REPAIR)).serving().looks()
    before = story.kernel.writes
    caplog.clear()
    fought_over(story, 100, HEAVY)

    assert story.table == WEB.services
    assert story.kernel.writes - before == 2 * 100
    assert [record.message for record in caplog.records] == [
        *[
            "somebody ran ipvsadm -e -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 7 (put back)",
            "ipvsadm -e -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5",
        ]
        * 3,
        KEEPS.format(4),
        KEEPS.format(60),
    ]
    assert [str(it) for it in story.director.quarrels.all] == [KEEPS.format(60)]


KEEPS = (
    "something keeps changing real server 192.168.122.10:80 of tcp 172.25.0.10:80: {} times "
    "within a minute, the last time by ipvsadm -e -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 7; "
    "is it managed by a second program?"
)


def test_what_somebody_does_to_another_row_meanwhile_is_told_as_ever(caplog):
    story = Story(setup=Setup(drift=Drift.REPAIR)).serving().looks()
    fought_over(story, 10, HEAVY)
    caplog.clear()
    fought_over(story, 1, HEAVY, LIGHT)

    assert [record.message for record in caplog.records] == [
        "somebody ran ipvsadm -e -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 1 (put back)"
    ]


def test_a_quarrel_that_has_ended_is_forgotten_within_a_minute():
    story = fought_over(Story(setup=Setup(drift=Drift.REPAIR)).serving().looks(), 10, HEAVY)

    assert story.looks(50).director.quarrels.over("timeouts") is False
    assert story.director.quarrels.after((), story.now).all != ()
    assert story.looks(10).director.quarrels.after((), story.now).all == ()


def test_a_failed_server_that_another_program_puts_back_goes_out_each_time(caplog):
    story = Story().serving().hears(RS1, REFUSED, REFUSED).looks()
    fought_over(story, 20, AddDestination(tcp(VIP), RS1))

    assert story.table == rules(service(VIP, RS2)).services
    assert story.director.meant == WEB
    assert sum("keeps changing" in record.message for record in caplog.records) == 1


def test_a_table_that_is_emptied_over_and_over_is_put_back_each_time(caplog):
    caplog.set_level(logging.INFO)
    story = Story().serving().looks()
    caplog.clear()
    for _ in range(10):
        story.by_hand(DelService(tcp(VIP))).looks().looks(SECOND_LOOK + 0.01)

    assert story.table == WEB.services
    told = [record.message for record in caplog.records]
    assert told.count("somebody ran ipvsadm -C (the whole table is put back)") == 3
    assert sum("keeps changing the whole table: 4 times" in line for line in told) == 1
    assert len(told) == 3 * 4 + 1


def test_of_a_whole_table_that_somebody_rewrites_no_more_than_a_hundred_lines_are_logged(caplog):
    many = rules(service(VIP, *(real(f"10.0.{i // 250}.{i % 250 + 1}:80") for i in range(500))))
    story = Story(many, Setup(ServiceSetup((Check(Nothing()),)))).looks().looks()
    caplog.clear()
    rows = [replace(row, weight=9) for row in many.services[tcp(VIP)].destinations.values()]
    story.by_hand(*(SetDestination(tcp(VIP), row) for row in rows)).looks()

    assert len(caplog.records) == 101
    assert caplog.records[-1].message.startswith("and 400 more changes by somebody (kept")
    assert {
        row.weight for row in story.director.meant.services[tcp(VIP)].destinations.values()
    } == {9}


def test_a_refusal_is_told_once_and_tried_again(caplog):
    story = Story(rules(service(VIP, RS1, scheduler="nosuch"))).hears(RS1, PASS).looks().looks()

    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
    assert "nosuch" in story.director.refusals[0]


def test_each_change_of_the_table_is_one_line_spelled_as_ipvsadm(caplog):
    caplog.set_level(logging.INFO)
    Story().serving().hears(RS1, REFUSED, REFUSED)

    assert [record.message for record in caplog.records] == [
        "real server 192.168.122.10:80 is up: connected",
        "ipvsadm -A -t 172.25.0.10:80 -s rr",
        "ipvsadm -a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5",
        "real server 192.168.122.20:80 is up: connected",
        "ipvsadm -a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10",
        "real server 192.168.122.10:80 is down: connection refused",
        "ipvsadm -d -t 172.25.0.10:80 -r 192.168.122.10:80",
    ]


def test_a_server_that_cannot_be_asked_stays_as_it_was_and_is_told_once(caplog):
    unknown = Verdict(Outcome.UNKNOWN, "no descriptor is left")
    story = Story().serving().hears(RS1, *[unknown] * 5)

    assert story.table == WEB.services
    assert [record.message for record in caplog.records] == [
        "real server 192.168.122.10:80 cannot be asked and is taken to be up: no descriptor is left"
    ]


def test_a_reload_lets_new_servers_arrive_before_old_ones_leave():
    story = Story().serving().looks()
    rs3 = real("192.168.122.30:80", 3)
    story.director.reload(rules(service(VIP, rs3)), Setup())
    story.director.hold(1.0)

    assert story.looks(0.1).table == WEB.services
    assert story.hears(rs3, PASS).table == rules(service(VIP, rs3)).services


def test_what_was_done_although_the_answer_was_lost_is_not_taken_for_somebodys_edit():
    story = Story().serving().looks()
    apply = story.kernel.apply

    def lose_the_answer(operations):
        apply(operations)
        raise KernelError("the kernel's answer was lost", errno.ENOBUFS)

    story.kernel.apply = lose_the_answer
    story.hears(RS1, REFUSED, REFUSED)
    story.kernel.apply = apply

    assert story.looks().table == rules(service(VIP, RS2)).services
    assert story.director.meant == WEB
    assert story.hears(RS1, PASS, PASS).table == WEB.services


def test_an_edit_of_a_service_that_is_about_to_leave_is_let_go_with_it():
    story = Story(kernel=FakeIpvs(OTHER))
    story.director.hold(1.0)
    story.looks(0.1).by_hand(SetDestination(OTHER.name, real("192.168.122.10:25", 9)))

    assert set(story.looks(0.1).table) == {OTHER.name}
    assert story.looks().table == rules(service(VIP)).services
    assert story.director.meant == WEB


def test_nothing_is_told_as_done_to_a_service_that_the_kernel_refuses(caplog):
    caplog.set_level(logging.INFO)
    Story(rules(service(VIP, RS1, scheduler="nosuch"))).hears(RS1, PASS).looks().looks()

    assert [record.message for record in caplog.records if "ipvsadm" in record.message] == []


MASTER = SyncDaemon(SyncRole.MASTER, "lo", 7)
SYNCED = rules(*WEB.services.values(), daemons={SyncRole.MASTER: MASTER})


def test_a_reload_ends_a_sync_daemon_that_the_rules_name_no_more():
    story = Story(SYNCED).serving().looks()
    before = story.kernel.read().daemons
    story.director.reload(WEB, Setup())
    story.looks().looks()

    assert set(before) == {SyncRole.MASTER}
    assert story.kernel.read().daemons == {}


def test_a_sync_daemon_that_no_rule_ever_named_is_left_alone():
    story = Story(kernel=FakeIpvs(*WEB.services.values()))
    story.by_hand(StartDaemon(MASTER)).serving().looks()
    story.director.reload(WEB, Setup(drift=Drift.REPAIR))
    story.looks()

    assert set(story.kernel.read().daemons) == {SyncRole.MASTER}


def test_a_reload_with_other_timings_keeps_every_server_whatever_its_first_verdict():
    story = Story().serving().looks()
    slower = Setup(ServiceSetup((Check(interval=5.0),)))
    story.director.reload(WEB, slower)
    story.director.hear([(Target(RS1.endpoint, Check(interval=5.0)), REFUSED)])

    assert story.looks().table == WEB.services


def test_a_reload_that_begins_to_check_a_server_takes_it_out_after_no_less_than_fall_failures():
    unchecked = Setup(ServiceSetup((Check(Nothing()),)))
    story = Story(setup=unchecked).looks()
    before = story.table
    story.director.reload(WEB, Setup())

    assert before == WEB.services
    assert story.hears(RS1, REFUSED).looks().table == WEB.services
    assert story.hears(RS1, REFUSED).table == rules(service(VIP, RS2)).services


@pytest.mark.parametrize(
    "ruled, left, words",
    [
        (None, Timeouts(901, 121, 301), "left as it is: the rules have no --set for it"),
        (Timeouts(900, 120, 300), Timeouts(900, 120, 300), "put back"),
    ],
)
def test_idle_timeouts_are_said_to_be_put_back_where_they_are(ruled, left, words, caplog):
    story = Story(replace(WEB, timeouts=ruled), Setup(drift=Drift.REPAIR)).serving().looks()
    story.by_hand(SetTimeouts(Timeouts(901, 121, 301))).looks().looks()

    assert story.kernel.read().timeouts == left
    assert caplog.messages == [f"somebody ran ipvsadm --set 901 121 301 ({words})"]


def test_where_servers_return_slowly_an_edit_is_logged_as_it_was_typed(caplog):
    story = Story(setup=Setup(default=ServiceSetup(slow_start=20.0))).serving().looks()
    third = real("192.168.122.30:80", 5)
    story.by_hand(AddDestination(tcp(VIP), third)).looks()

    assert caplog.messages[0].startswith(
        "somebody ran ipvsadm -a -t 172.25.0.10:80 -r 192.168.122.30:80 -m -w 5 (kept"
    )
    assert story.director.meant.services[tcp(VIP)].destinations[third.endpoint].weight == 1


SORRY = real("192.168.122.99:80")
SORRIES = ServiceSetup(when_empty=WhenEmpty.SORRY, sorry=(SORRY.endpoint,))
IN_RULES = "kept in the rules, `lvs-nat save` writes it; in the table the server stays"


def said(caplog):
    """Return what the log says becomes of each edit by hand."""
    lines = [it for it in caplog.messages if it.startswith("somebody ran")]
    return [it.partition(" (")[2].rstrip(")") for it in lines]


@pytest.mark.parametrize(
    "edit",
    [SetDestination(tcp(VIP), replace(SORRY, weight=7)), DelDestination(tcp(VIP), SORRY.endpoint)],
)
@pytest.mark.parametrize("policy", [Drift.ADOPT, Drift.REPORT])
def test_an_edit_of_a_sorry_server_is_put_back_and_said_to_be(edit, policy, caplog):
    story = Story(setup=Setup(default=SORRIES, drift=policy)).serving().hears(SORRY, PASS)
    story.hears(RS1, REFUSED, REFUSED).hears(RS2, REFUSED, REFUSED).looks()
    before = story.table
    story.by_hand(edit).looks()

    assert story.table == before
    assert said(caplog) == ["put back: a sorry server is as lvs-nat.conf has it"]


@pytest.mark.parametrize(
    "policy, kept",
    [(Drift.ADOPT, IN_RULES), (Drift.REPORT, "not saved; in the table the server stays")],
)
@pytest.mark.parametrize(
    "wish, edit, word",
    [(Wish.QUIESCED, SetDestination, "drained"), (Wish.OUT, AddDestination, "disabled")],
)
def test_an_edit_of_a_server_that_the_operator_wants_out_is_kept_out_of_the_table(
    policy, kept, wish, edit, word, caplog
):
    story = Story(setup=Setup(drift=policy)).serving()
    story.director.wish({Whom(None, RS1.endpoint): Wanted(wish)})
    before = story.looks().table
    story.by_hand(edit(tcp(VIP), real("192.168.122.10:80", 7))).looks()

    assert story.table == before
    assert said(caplog) == [f"{kept} {word}"]


def test_a_dead_server_that_somebody_adds_is_said_to_stay_out(caplog):
    story = Story().serving().hears(RS1, REFUSED, REFUSED).looks()
    story.by_hand(AddDestination(tcp(VIP), RS1)).looks()

    assert said(caplog) == [f"{IN_RULES} out for now"]
    assert story.table == rules(service(VIP, RS2)).services


def test_a_weight_of_0_by_hand_is_kept_as_it_is(caplog):
    drained = real("192.168.122.10:80", 0)
    story = Story().serving().looks().by_hand(SetDestination(tcp(VIP), drained)).looks()

    assert said(caplog) == ["kept; `lvs-nat save` writes it to the rule file"]
    assert drained in story.table[tcp(VIP)].destinations.values()
