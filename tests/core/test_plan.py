from itertools import product

import pytest

from lvs_nat.core.drift import perform
from lvs_nat.core.plan import (
    AddDestination,
    AddService,
    DelDestination,
    DelService,
    SetDestination,
    SetService,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
    carried_out,
    plan,
)
from lvs_nat.model import Forwarding, Mark, SyncDaemon, SyncRole, Timeouts, Tunnel, bare
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp

QUIET = real("192.168.122.10:80", 0)
RS3 = real("192.168.122.30:80", 3)
TABLES = [
    rules(),
    WEB,
    rules(service(VIP, QUIET, RS3, scheduler="wrr")),
    rules(service("172.25.0.10:443", RS1), service(VIP, RS2)),
    rules(service(Mark(7), RS3, persistence=300)),
]
MASTER = SyncDaemon(SyncRole.MASTER, "eth1", 7)


@pytest.mark.parametrize(
    "desired, actual, operations",
    [
        (WEB, WEB, ()),
        (
            WEB,
            rules(),
            (
                AddService(service(VIP)),
                AddDestination(tcp(VIP), RS1),
                AddDestination(tcp(VIP), RS2),
            ),
        ),
        (
            rules(service(VIP, RS3)),
            WEB,
            (
                AddDestination(tcp(VIP), RS3),
                DelDestination(tcp(VIP), RS1.endpoint),
                DelDestination(tcp(VIP), RS2.endpoint),
            ),
        ),
        (rules(service(VIP, QUIET, RS2)), WEB, (SetDestination(tcp(VIP), QUIET),)),
        (
            rules(service(VIP, RS1, RS2, scheduler="wrr")),
            WEB,
            (SetService(service(VIP, scheduler="wrr")),),
        ),
        (rules(), WEB, (DelService(tcp(VIP)),)),
        (rules(timeouts=Timeouts(0, 30)), rules(timeouts=Timeouts(900, 30, 300)), ()),
        (
            rules(timeouts=Timeouts(60, 30)),
            rules(timeouts=Timeouts(900, 30, 300)),
            (SetTimeouts(Timeouts(60, 30)),),
        ),
        (rules(daemons={SyncRole.MASTER: MASTER}), rules(), (StartDaemon(MASTER),)),
        (rules(), rules(daemons={SyncRole.MASTER: MASTER}), ()),
    ],
)
def test_a_plan_holds_what_differs_and_nothing_else(desired, actual, operations):
    assert plan(desired, actual) == operations


def test_a_sync_daemon_that_differs_is_started_anew_and_one_that_the_kernel_filled_in_is_kept():
    reported = SyncDaemon(SyncRole.MASTER, "eth1", 7, at("224.0.0.81:0").address, 8848, 1, 1472)
    other = SyncDaemon(SyncRole.MASTER, "eth1", 8)

    assert (
        plan(rules(daemons={SyncRole.MASTER: MASTER}), rules(daemons={SyncRole.MASTER: reported}))
        == ()
    )
    assert plan(
        rules(daemons={SyncRole.MASTER: other}), rules(daemons={SyncRole.MASTER: reported})
    ) == (
        StopDaemon(reported),
        StartDaemon(other),
    )


def test_a_destination_that_the_kernel_made_local_is_left_alone():
    local = real("192.168.122.10:80", 5, forwarding=Forwarding.LOCAL)
    direct = real("192.168.122.10:80", 5, forwarding=Forwarding.DIRECT)
    tunnel = real("192.168.122.10:80", 5, forwarding=Forwarding.TUNNEL, tunnel=Tunnel())

    assert plan(rules(service(VIP, direct)), rules(service(VIP, local))) == ()
    assert plan(rules(service(VIP, tunnel)), rules(service(VIP, local))) == ()
    assert plan(rules(service(VIP, RS1)), rules(service(VIP, local))) == (
        SetDestination(tcp(VIP), RS1),
    )


@pytest.mark.parametrize("actual, desired", list(product(TABLES, repeat=2)))
def test_a_plan_cut_short_anywhere_can_be_finished_later(actual, desired):
    operations = plan(desired, actual)
    for done in range(len(operations) + 1):
        kernel = perform(actual, operations[:done])

        assert perform(kernel, plan(desired, kernel)) == desired


@pytest.mark.parametrize("actual, desired", list(product(TABLES, repeat=2)))
def test_a_service_that_stays_is_never_emptied_on_the_way(actual, desired):
    operations = plan(desired, actual)
    kept = set(actual.services) & set(desired.services)
    for done in range(len(operations) + 1):
        kernel = perform(actual, operations[:done])

        assert all(kernel.services[name].destinations for name in kept)


def test_bare_services_are_what_the_kernel_calls_a_service():
    assert bare(WEB.services[tcp(VIP)]) == service(VIP)


def test_a_sync_daemon_ends_only_where_its_role_is_named_and_none_is_wanted():
    running = rules(daemons={SyncRole.MASTER: MASTER})

    assert plan(rules(), running) == ()
    assert plan(rules(), running, ended=[SyncRole.BACKUP]) == ()
    assert plan(rules(), running, ended=[SyncRole.MASTER]) == (StopDaemon(MASTER),)
    assert plan(running, running, ended=SyncRole) == ()


def test_what_is_refused_was_not_done_nor_what_was_to_be_done_to_a_service_that_is_not_there():
    other = service("172.25.0.11:80", RS1)
    operations = plan(rules(service(VIP, RS1, RS2), other), rules())
    add, first, second, *rest = operations

    assert carried_out(operations, []) == operations
    assert carried_out(operations, [second]) == (add, first, *rest)
    assert carried_out(operations, [add]) == tuple(rest)
