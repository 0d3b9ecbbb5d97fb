"""A director that may open few files asks all of its servers, and blames none of them for it."""

import resource
import time

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import Director

pytestmark = pytest.mark.lab

DESCRIPTORS, SERVERS = 256, 1000
WATCHED = 5  # seconds
MANY = [f"10.9.{n // 250}.{n % 250 + 1}:80" for n in range(SERVERS)]
RULES = "".join(
    ["-A -t 172.25.0.10:80 -s rr\n"]
    + [f"-a -t 172.25.0.10:80 -r {server} -m -w 1\n" for server in MANY]
)


@pytest.mark.parametrize("check", ["tcp", "connect"])
def test_with_256_descriptors_none_of_a_thousand_servers_is_down(check):
    with Director(RULES, f"check = {check}\n") as director:
        director.lab.run("lvs01", ["ip", "route", "add", "local", "10.9.0.0/16", "dev", "lo"])
        director.lab.run("director", ["ip", "route", "add", "10.9.0.0/16", "via", "192.168.122.10"])
        director.service("start", limits=[f"--nofile={DESCRIPTORS}"])
        until(lambda: director.table().count(" -m -w 1") == SERVERS, 30, "all take clients")
        before = director.status()["writes"]
        time.sleep(WATCHED)
        states = [row["state"] for row in director.status()["services"][0]["servers"]]

        limits = [resource.prlimit(it, resource.RLIMIT_NOFILE) for it in director.family()]

        assert limits == [(DESCRIPTORS, DESCRIPTORS)] * 3
        assert states == ["up"] * SERVERS
        assert director.status()["writes"] == before


def test_where_descriptors_are_without_number_a_start_closes_no_more_than_the_unit_would_give():
    with Director(RULES, "check = tcp\n") as director:
        director.service("start", limits=["--nofile=1048576"])
        limits = [resource.prlimit(it, resource.RLIMIT_NOFILE)[1] for it in director.family()]

    assert limits == [65536] * 3
