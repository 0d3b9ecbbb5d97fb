"""The order of ipvsadm, which goes round in a circle."""

from ipaddress import IPv4Address
from itertools import permutations

import pytest

from lvs_nat.core import order
from lvs_nat.model import Mark
from tests.builders import real, rules, service, tcp, udp


def sorted_addresses(*addresses):
    rows = [real(f"{address}:80") for address in addresses]
    ordered = order.destinations(service("172.25.0.10:80", *rows))
    return [str(row.endpoint.address) for row in ordered]


@pytest.mark.parametrize(
    "addresses",
    [
        ["192.168.0.3", "192.168.0.20"],
        ["172.16.0.5", "192.168.0.3", "203.0.113.5", "10.0.0.5"],
        ["150.0.0.1", "200.0.0.1", "1.0.0.1", "10.0.0.1"],
        ["0.0.0.1", "127.255.255.255"],
        ["200.0.0.1", "10.0.0.1"],
    ],
)
def test_addresses_within_half_a_circle_have_one_order(addresses):
    for given in permutations(addresses):
        assert sorted_addresses(*given) == addresses


@pytest.mark.parametrize(
    "added, listed",
    [
        # As recorded from ipvsadm 1.31, whose merge sort begins with the newest.
        (["10.0.0.1", "100.0.0.1", "190.0.0.1"], ["190.0.0.1", "10.0.0.1", "100.0.0.1"]),
        (["190.0.0.1", "100.0.0.1", "10.0.0.1"], ["10.0.0.1", "100.0.0.1", "190.0.0.1"]),
    ],
)
def test_addresses_around_the_circle_are_merged_as_by_ipvsadm(added, listed):
    assert sorted_addresses(*added) == listed


def test_real_servers_of_one_address_stand_by_port_and_families_are_mixed():
    rows = [
        real("50.0.0.1:80"),
        real("[2001:db8::1]:80"),
        real("10.0.0.2:443"),
        real("10.0.0.2:80"),
    ]
    ordered = order.destinations(service("172.25.0.10:80", *rows))

    assert [str(row.endpoint) for row in ordered] == [
        "10.0.0.2:80",
        "10.0.0.2:443",
        "[2001:db8::1]:80",
        "50.0.0.1:80",
    ]


def test_services_stand_by_mark_family_protocol_address_port():
    names = [
        tcp("10.0.0.1:80"),
        tcp("10.0.0.1:443"),
        udp("10.0.0.1:80"),
        tcp("[fd00::1]:80"),
        tcp("[2001:db8::1]:80"),
        Mark(3),
        Mark(3, 6),
        Mark(7),
    ]
    table = rules(*(service(name) for name in reversed(names))).services

    assert [it.name for it in order.services(table)] == names


def test_marks_of_the_upper_half_stand_before_all_others():
    table = rules(service(tcp("10.0.0.1:80")), service(Mark(2**32 - 1))).services

    assert [it.name for it in order.services(table)] == [Mark(2**32 - 1), tcp("10.0.0.1:80")]


def test_half_a_circle_away_is_before_both_ways():
    far = str(IPv4Address("10.0.0.1") + 2**31)

    assert sorted_addresses("10.0.0.1", far) == [far, "10.0.0.1"]
    assert sorted_addresses(far, "10.0.0.1") == ["10.0.0.1", far]
