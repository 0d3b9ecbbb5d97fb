"""A firewall on the director, in the order of rules that firewalld has."""

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import Director

pytestmark = pytest.mark.lab

CONNTRACK = "net/ipv4/vs/conntrack"
# Of firewalld's chains what matters here; they come before IPVS on both hooks, as these do.
FIREWALLD = """\
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -j REJECT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -j REJECT
"""
OPENED = "-I INPUT 1 -p tcp --dport 80 -j ACCEPT"


@pytest.fixture
def director():
    with Director() as director:
        for rule in FIREWALLD.splitlines():
            iptables(director, rule)
        director.service("start")
        yield director


def iptables(director, rule):
    director.lab.run("director", ["iptables-legacy", "-w", *rule.split()])


def answered(director, seconds=1.0):
    """Return how many of 20 requests/s are answered, and how many there were."""
    records = director.lab.requests(20, seconds, timeout=4)
    return sum(one.ok for one in records), len(records)


def test_behind_firewalld_clients_are_served_once_the_port_is_open_and_ipvs_is_tracked(director):
    closed, _ = answered(director)
    iptables(director, OPENED)
    opened, _ = answered(director)
    director.sysctl(CONNTRACK, "1")
    tracked, asked = answered(director)

    assert (closed, opened) == (0, 0)
    assert tracked == asked
    assert until(lambda: director.status()["counts"]["serving"] == 2, 5, "both servers serving")
