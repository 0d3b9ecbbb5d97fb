import pytest

from lvs_nat.core.drift import adopt, changes, edits, lost, perform, reweighed
from lvs_nat.core.plan import (
    AddService,
    DelDestination,
    DelService,
    SetDestination,
    SetService,
    SetTimeouts,
    StopDaemon,
    plan,
)
from lvs_nat.core.setup import Own
from lvs_nat.model import SyncDaemon, SyncRole, Timeouts, bare
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp

MORE = rules(service(VIP, RS1, RS2, scheduler="wrr"), service("172.25.0.10:443", RS1))
MASTER = SyncDaemon(SyncRole.MASTER, "eth1", 7)


@pytest.mark.parametrize("before", [rules(), WEB, MORE])
@pytest.mark.parametrize("after", [rules(), WEB, MORE])
def test_what_was_done_to_a_table_done_again_gives_the_same_table(before, after):
    assert perform(before, changes(before, after)) == after


def test_a_plan_performed_is_the_table_planned():
    assert perform(WEB, plan(MORE, WEB)) == MORE


def test_an_edited_scheduler_becomes_the_running_one():
    actual = rules(service(VIP, RS1, RS2, scheduler="wrr"))

    assert changes(WEB, actual) == (SetService(bare(service(VIP, scheduler="wrr"))),)
    assert adopt(WEB, WEB, changes(WEB, actual)) == actual


def test_an_edit_of_a_failed_server_leaves_its_meant_weight_alone():
    quiesced = rules(service(VIP, real("192.168.122.10:80", 0), RS2))
    limited = rules(service(VIP, real("192.168.122.10:80", 0, upper_threshold=50), RS2))

    assert adopt(WEB, quiesced, changes(quiesced, limited)) == rules(
        service(VIP, real("192.168.122.10:80", 5, upper_threshold=50), RS2)
    )


@pytest.mark.parametrize(
    "row, after",
    [
        # What somebody has done to the same row, or the row itself, is not to be saved.
        (real("192.168.122.10:80", 7, upper_threshold=50), real("192.168.122.10:80", 7)),
        (real("192.168.122.30:80", 7), RS1),
    ],
)
def test_of_a_row_that_is_given_a_weight_no_more_than_the_weight_is_taken(row, after):
    meant = rules(service(VIP, RS1, RS2))

    assert reweighed(meant, [SetDestination(tcp(VIP), row)]) == rules(service(VIP, after, RS2))
    assert reweighed(meant, [SetDestination(tcp("172.25.0.11:80"), row)]) == meant


def test_a_failed_server_that_is_absent_is_not_taken_for_a_deletion():
    without = rules(service(VIP, RS2))

    assert adopt(WEB, without, changes(without, without)) == WEB


def test_weight_by_hand_addition_and_deletion_are_taken_in():
    actual = rules(service(VIP, real("192.168.122.10:80", 0), real("192.168.122.30:80", 7)))

    assert adopt(WEB, WEB, changes(WEB, actual)) == actual


NEW = service("172.25.0.10:81", RS1)
BOTH = rules(*WEB.services.values(), NEW)


@pytest.mark.parametrize(
    "expected, actual, added, answer",
    [
        (rules(), rules(), (), False),
        (WEB, rules(), (), True),
        (WEB, WEB, (), False),
        (rules(), WEB, (), False),
        (WEB, WEB, (WEB,), False),  # all of it is new
        (WEB, rules(), (WEB,), True),
        (BOTH, rules(NEW), (), False),
        (BOTH, rules(NEW), (rules(NEW),), True),  # it was added to an empty table
        (BOTH, rules(), (rules(NEW),), True),
        (BOTH, WEB, (rules(NEW),), False),
    ],
)
def test_a_table_is_lost_when_nothing_is_left_of_something(expected, actual, added, answer):
    assert lost(expected, actual, {name for one in added for name in one.services}) is answer


def test_a_sync_daemon_that_somebody_stopped_is_noticed():
    running = rules(daemons={SyncRole.MASTER: MASTER})

    assert changes(running, rules()) == (StopDaemon(MASTER),)
    assert adopt(running, running, changes(running, rules())) == rules()


LEAVING = rules(service(VIP, RS1, RS2), service("172.25.0.11:80", RS1, RS2))
HEAVIER = rules(
    service(VIP, RS1, RS2), service("172.25.0.11:80", RS1, real("192.168.122.20:80", 9))
)


@pytest.mark.parametrize(
    "expected, actual, own, concerning",
    [
        (WEB, rules(service(VIP, RS1)), Own.RULES, (DelDestination(tcp(VIP), RS2.endpoint),)),
        (WEB, MORE, Own.TABLE, changes(WEB, MORE)),
        (WEB, MORE, Own.RULES, (SetService(bare(service(VIP, scheduler="wrr"))),)),
        (LEAVING, HEAVIER, Own.TABLE, ()),
        (LEAVING, WEB, Own.TABLE, ()),
        (WEB, rules(*WEB.services.values(), timeouts=Timeouts(60)), Own.RULES,
         (SetTimeouts(Timeouts(60)),)),
        (rules(daemons={SyncRole.MASTER: MASTER}), rules(), Own.RULES, (StopDaemon(MASTER),)),
    ],
)  # fmt: skip
def test_an_edit_of_what_is_not_ours_or_is_about_to_go_is_none(expected, actual, own, concerning):
    assert edits(WEB, expected, actual, own) == concerning


def test_what_a_save_would_change_is_told_as_operations():
    running = rules(
        service(VIP, real("192.168.122.10:80", 6), scheduler="wrr"), timeouts=Timeouts(60, 30, 10)
    )

    assert changes(WEB, running) == (
        SetTimeouts(Timeouts(60, 30, 10)),
        SetService(bare(service(VIP, scheduler="wrr"))),
        SetDestination(tcp(VIP), real("192.168.122.10:80", 6)),
        DelDestination(tcp(VIP), at("192.168.122.20:80")),
    )
    assert changes(WEB, WEB) == ()
    assert changes(WEB, rules()) == (DelService(tcp(VIP)),)
    assert changes(rules(), rules(service(VIP))) == (AddService(service(VIP)),)
