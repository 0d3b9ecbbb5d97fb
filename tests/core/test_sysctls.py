import pytest

from lvs_nat.core.sysctls import (
    effects,
    ours,
    recorded,
    restored,
    returning,
    spell,
    staying,
    wanted,
)
from lvs_nat.core.traces import Trace

FORWARD = "net/ipv4/ip_forward"
ALL = "net/ipv4/conf/all/"
DEFAULT = "net/ipv4/conf/default/"
ETH0 = "net/ipv4/conf/eth0.100/"


def test_forwarding_is_wanted_first_and_redirects_nowhere_but_on_lo():
    assert list(wanted(["lo", "eth0.100", "eth1"], False).items()) == [
        (FORWARD, "1"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv4/conf/eth0.100/send_redirects", "0"),
        ("net/ipv4/conf/eth1/send_redirects", "0"),
        ("net/ipv4/vs/expire_nodest_conn", "1"),
        ("net/ipv4/vs/expire_quiescent_template", "1"),
        ("net/ipv4/vs/conn_reuse_mode", "1"),
    ]


def test_ipv6_is_forwarded_only_where_a_service_needs_it():
    ipv6 = {"net/ipv6/conf/all/forwarding": "1"}

    assert wanted([], True) == {**wanted([], False), **ipv6}


@pytest.mark.parametrize(
    "name, value, along",
    [
        (FORWARD, "1", {ETH0 + "forwarding": "1", ALL + "accept_redirects": "0"}),
        (FORWARD, "0", {ETH0 + "forwarding": "0", ALL + "accept_redirects": "1"}),
        ("net/ipv6/conf/all/forwarding", "1", {"net/ipv6/conf/eth0/forwarding": "1"}),
        (ALL + "send_redirects", "0", {}),
    ],
)
def test_forwarding_changes_others_along(name, value, along):
    present = [
        ETH0 + "forwarding",
        ETH0 + "send_redirects",
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/eth0/forwarding",
    ]

    assert effects(name, value, present) == along


def test_what_changes_and_what_is_right_already_is_recorded_alike():
    wants = {FORWARD: "1", ALL + "send_redirects": "0", "net/ipv4/vs/gone": "1"}
    present = {
        FORWARD: "0",
        ALL + "send_redirects": "0",
        ETH0 + "forwarding": "0",
        ALL + "accept_redirects": "1",
    }

    assert recorded(wants, present, {}) == {
        FORWARD: Trace("0", "1"),
        ETH0 + "forwarding": Trace("0", "1"),
        ALL + "accept_redirects": Trace("1", "0"),
        ALL + "send_redirects": Trace("0", "0"),
    }


def test_the_first_record_of_a_name_is_kept():
    record = {FORWARD: Trace("0", "1"), ALL + "accept_redirects": Trace("1", "0")}
    settled = {FORWARD: "1", ALL + "accept_redirects": "0"}
    undone = {FORWARD: "0", ALL + "accept_redirects": "1"}

    assert recorded({FORWARD: "1"}, settled, record) == record
    assert recorded({FORWARD: "1"}, undone, record) == record


def test_a_router_keeps_its_forwarding_though_somebody_switched_it_off_meanwhile():
    on = {FORWARD: "1", ETH0 + "forwarding": "1"}
    record = recorded({FORWARD: "1"}, on, {})

    record = recorded({FORWARD: "1"}, dict.fromkeys(on, "0"), record)

    assert record == dict.fromkeys(on, Trace("1", "1"))


@pytest.mark.parametrize(
    "trace, present, target, noted",
    [
        (Trace("0", "0"), "0", "0", Trace("0", "1")),  # what we left alone
        (Trace("1", "0"), "0", "1", Trace("1", "1", "0")),
        (Trace("1", "0"), "1", "1", Trace("1", "1")),
        (Trace("2", "0"), "0", "2", Trace("2", "1", "0")),
        (Trace("0", "0"), "2", "2", Trace("2", "1")),  # what somebody has set
    ],
)
def test_what_the_kernel_will_set_along_with_a_return_is_recorded_as_ours(
    trace, present, target, noted
):
    redirects, forward = ALL + "accept_redirects", Trace("0", "1")
    before = {FORWARD: "1", redirects: present}
    record = {FORWARD: forward, redirects: trace}

    assert returning({FORWARD: "0", redirects: target}, before, record) == {
        FORWARD: forward,
        redirects: noted,
    }
    assert returning({FORWARD: "1", redirects: target}, before, record) == record


@pytest.mark.parametrize("before", ["1", "0"])
def test_an_interface_that_appears_later_goes_back_to_the_default_before_us(before):
    wants = {DEFAULT + "send_redirects": "0"}
    record = recorded(wants, {DEFAULT + "send_redirects": before}, {})

    wants[ETH0 + "send_redirects"] = "0"
    record = recorded(wants, dict.fromkeys(wants, "0"), record)

    assert record[ETH0 + "send_redirects"] == Trace(before, "0")


def test_an_interface_that_was_there_before_us_goes_back_to_its_own_value():
    wants = {DEFAULT + "send_redirects": "0", ETH0 + "send_redirects": "0"}
    present = {DEFAULT + "send_redirects": "1", ETH0 + "send_redirects": "0"}

    assert recorded(wants, present, {})[ETH0 + "send_redirects"] == Trace("0", "0")


@pytest.mark.parametrize(
    "name, own",
    [
        (FORWARD, True),
        (ETH0 + "send_redirects", True),
        ("net", False),
        ("kernel/core_pattern", False),
        ("net/../kernel/core_pattern", False),
        ("/net/ipv4/ip_forward", False),
        ("net//ipv4", False),
        ("", False),
    ],
)
def test_only_settings_of_the_network_are_ours(name, own):
    assert ours(name, Trace("0", "1")) is own


def test_a_setting_is_spelled_as_sysctl_takes_it():
    assert spell(ETH0 + "send_redirects") == "net.ipv4.conf.eth0/100.send_redirects"


LEFT = "net.ipv4.vs.expire_nodest_conn is left at 2: somebody set it, where we had set 1"
STAYS = "net.ipv4.ip_forward stays at 1 for the table that is kept; it was 0"
EXPIRE = "net/ipv4/vs/expire_nodest_conn"


@pytest.mark.parametrize(
    "present, expected, left, stays",
    [
        ({EXPIRE: "1", FORWARD: "1"}, [(FORWARD, "0"), (EXPIRE, "0")], [], [STAYS]),
        ({EXPIRE: "2", FORWARD: "1"}, [(FORWARD, "0"), (EXPIRE, "2")], [LEFT], [STAYS]),
        ({EXPIRE: "0", FORWARD: "0"}, [(FORWARD, "0"), (EXPIRE, "0")], [], []),
        ({FORWARD: "0"}, [(FORWARD, "0")], [], []),
    ],
)
def test_our_settings_are_given_back_forwarding_first_and_those_of_others_left(
    present, expected, left, stays
):
    record = {EXPIRE: Trace("0", "1"), FORWARD: Trace("0", "1")}
    found, lines = restored(record, present)

    assert (list(found.items()), lines) == (expected, left)
    assert [line for line in staying(record, present) if "ip_forward" in line] == stays
