"""What a trial counts, and what becomes of several."""

from math import inf

import pytest

from bench.contenders import Contender, keepalived_conf, ldirectord_cf, our_command
from bench.daemons import command_line
from bench.failover import compared, default, equal, row, times
from bench.faults import FAULTS
from bench.figures import Promise
from bench.trials import Trial, account, medians, segments, weights
from lvs_nat.core import config
from lvs_nat.core.setup import OnFailure, Watch
from lvs_nat.lab.load import Request

TABLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  AC19000A:0050 rr
  -> C0A87A14:0050      Masq    1      0          2
  -> C0A87A0A:0050      Masq    0      1          0
"""
SERVERS = ("192.168.122.10", "192.168.122.20")
OURS, THEIRS, PERL = (Contender(it, "equal") for it in ("lvs-nat", "keepalived", "ldirectord"))


def test_the_kernels_table_tells_the_weight_of_each_server():
    assert weights(TABLE) == {"192.168.122.20": 1, "192.168.122.10": 0}
    assert weights("") == {}


def test_a_hosts_counters_tell_of_the_checks_that_it_gets():
    snmp = "Ip: Forwarding InSegs\nIp: 1 5\nTcp: RtoMin InSegs OutSegs\nTcp: 200 17 12\n"

    assert segments(snmp) == 17


def test_a_request_failed_or_was_late_or_neither():
    requests = [Request(0.0, 0.1), Request(0.0, 1.2), Request(0.0, 4.0, error="timed out")]

    assert account(requests) == (1, 1)


def test_each_figure_has_a_median_of_its_own_and_most_of_never_is_never():
    trials = [Trial(3, 0, 1.0, inf, 0.5), Trial(1, 2, 3.0, inf, 0.7), Trial(2, 9, 2.0, 1.0, inf)]

    assert medians(trials) == Trial(2, 2, 2.0, inf, 0.7)


def test_rivals_are_compared_where_their_checks_can_see_and_by_default_where_they_cannot():
    both = {name: tuple(compared(name, way) for way in ("equal", "default")) for name in FAULTS}

    assert both == {
        **dict.fromkeys(("killed", "drop", "link", "half"), (True, True)),
        "gateway": (False, True),
        **dict.fromkeys(("errors", "hang", "slow"), (True, False)),
    }


def found(ours_, keepalived, ldirectord):
    return {OURS: trial(ours_), THEIRS: trial(keepalived), PERL: trial(ldirectord)}


def trial(failed, gone=1.0):
    return Trial(failed, 0, gone, gone, 0.5)


@pytest.mark.parametrize("failed, kept", [((9, 9, 30), True), ((10, 9, 30), False)])
def test_at_equal_settings_the_better_rival_is_the_measure(failed, kept):
    assert [it.kept for it in equal(found(*failed))] == [kept]


def by_default(ours_, keepalived, ldirectord, rescued=0):
    return {
        Contender("lvs-nat", "default"): ours_,
        Contender("keepalived", "default"): keepalived,
        Contender("ldirectord", "default"): ldirectord,
        Contender("lvs-nat", "with rescue", ("rescue = yes",)): trial(rescued),
    }


def test_by_default_a_third_of_the_better_rivals_failures_is_allowed():
    seen = by_default(trial(2, 0.05), trial(37), trial(30), rescued=1)

    assert [(it.seen, it.limit, it.kept) for it in default("killed", FAULTS["killed"], seen)] == [
        (2, 10.0, True), (0.05, 0.1, True), (2, 2, True), (1, 0, False),
    ]  # fmt: skip
    assert [it.kept for it in default("link", FAULTS["link"], seen)] == [True]


def test_where_many_fail_the_time_is_compared_with_keepalivedes():
    seen = by_default(trial(0, 1.0), trial(9, 4.0), trial(9, 12.0))

    promises = list(default("half", FAULTS["half"], seen))

    assert promises == [Promise("time until all are out / keepalived's", 0.25, 0.35)]


def test_what_has_not_happened_is_said_so():
    seen = {**found(3, 6, 12), OURS: Trial(3, 1, 0.5, inf, inf)}

    assert row(OURS, seen[OURS], seen) == (
        "lvs-nat", "equal", 3, 0.5, 1, 0.5, "later", "never",
    )  # fmt: skip
    assert times(Trial(90, 0, inf, inf, 0.0)) == ("never", "never", 0.0)
    assert row(THEIRS, seen[THEIRS], seen)[3] is None


@pytest.mark.parametrize("kind", ["tcp", "status"])
@pytest.mark.parametrize("settings", ["equal", "default"])
def test_our_settings_are_ones_that_lvs_nat_takes(tmp_path, kind, settings):
    command = our_command(Contender("lvs-nat", settings), tmp_path, kind, SERVERS)
    setup = config.parse((tmp_path / "conf").read_text(), "lvs-nat.conf")
    [check] = setup.default.checks

    assert command == command_line(tmp_path, "run")
    assert (check.interval, check.fall) == (1.0, 2)
    if settings == "equal":
        assert (check.timeout, check.fast) == (1.0, 0.2)
        assert setup.default.on_failure is OnFailure.REMOVE
        assert setup.watch is Watch.NO


def test_rivals_are_told_to_believe_two_failures_where_settings_are_equal(tmp_path):
    told = {
        way: (
            "retry 1\ndelay_before_retry 0.2"
            in keepalived_conf(Contender("", way), "tcp", SERVERS),
            "failurecount=2" in ldirectord_cf(Contender("", way), tmp_path, "tcp", SERVERS),
        )
        for way in ("equal", "default")
    }

    assert told == {"equal": (True, True), "default": (False, False)}
