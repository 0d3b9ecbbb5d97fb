"""A real server whose answers do not come back through the director is found by itself."""

import os
import signal
import time

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, Director

pytestmark = pytest.mark.lab
NO_WAY = "no return path: is this director its default gateway?"
# Two publications of the kernel's counters have to tell nothing of a way back; with a margin (s).
LONGEST_DOUBT = 9.0


def failed(director, seconds=2.0):
    """Return how many of 25 requests/s are not answered."""
    records = director.lab.requests(25, seconds, timeout=4)
    return sum(not one.ok for one in records)


def way(director):
    """Return how lvs01's return path is believed to be."""
    return next(it for it in director.server(LVS01)["checks"] if it["check"] == "return path")


def test_a_server_with_the_wrong_gateway_is_out_within_two_and_a_half_seconds_and_says_why():
    with Director() as director:
        director.service("start")
        began = time.monotonic()
        director.lab.take_away_default_route("lvs01")
        until(lambda: f"{LVS01} -m -w 5" not in director.table(), 5, "lvs01 takes no client")
        took = time.monotonic() - began

        assert took <= 2.5
        until(lambda: NO_WAY in director.server(LVS01)["words"], 2, "the words in status")
        assert director.server(LVS02)["serving"]
        assert failed(director) == 0

        director.lab.give_default_route("lvs01")
        director.until_table(f"{LVS01} -m -w 5", 3)


def test_a_server_that_has_the_wrong_gateway_from_the_start_never_takes_a_client():
    with Director() as director:
        director.lab.take_away_default_route("lvs01")
        director.service("start")

        assert LVS01 not in director.table()
        assert failed(director) == 0
        assert director.server(LVS01)["words"] == NO_WAY


def test_a_dead_server_is_not_blamed_for_its_gateway():
    with Director() as director:
        director.service("start")
        director.lab.kill_server("lvs01")
        director.until_table(LVS01, 3, present=False)

        assert director.server(LVS01)["words"] == "connection refused"
        assert way(director)["state"] == "up"


def test_without_the_question_a_wrong_gateway_is_not_found():
    with Director(config="from = none\n") as director:
        director.service("start")
        director.lab.take_away_default_route("lvs01")
        asked = director.server(LVS01)
        until(lambda: director.server(LVS01)["for"] > asked["for"] + 3, 9, "three seconds")

        assert [check["check"] for check in asked["checks"]] == ["tcp"]
        assert f"{LVS01} -m -w 5" in director.table()


def eat_questions(director):
    """Have a firewall before both servers that lets no question from the virtual address in."""
    for name in ("lvs01", "lvs02"):
        eaten = ["-A", "INPUT", "-s", "172.25.0.10", "-p", "tcp", "-j", "DROP"]
        director.lab.run(name, ["iptables-legacy", "-w", *eaten])


def test_a_question_that_a_firewall_eats_takes_no_server_out_whose_packets_flow():
    with Director() as director:
        director.service("start")
        load = director.lab.load(50, 30, url="http://172.25.0.10/stream?seconds=20", timeout=25)
        until(lambda: director.server(LVS01)["active_connections"] > 2, 5, "open transfers")
        eat_questions(director)
        until(lambda: way(director)["state"] == "down", 9, "an alarm")
        until(lambda: way(director)["for"] > 8, 12, "longer than any doubt lasts")

        assert way(director)["words"] == NO_WAY
        assert f"{LVS01} -m -w 5" in director.table()
        assert director.server(LVS01)["state"] == "up"
        assert {record.error for record in load.records()} <= {""}


@pytest.mark.parametrize("how", ["kill -9", "reexec"])
def test_the_next_director_leaves_such_servers_in_service_too(how):
    with Director() as director:
        director.service("start")
        director.lab.load(5, 60, url="http://172.25.0.10/stream?seconds=20", timeout=25)
        until(lambda: director.server(LVS01)["active_connections"] > 2, 5, "open transfers")
        eat_questions(director)
        until(lambda: director.log().count("stays in service") == 2, 20, "two alarms")
        before = director.table()
        if how == "reexec":
            director.command("reexec")
        else:
            os.kill(director.pid(), signal.SIGKILL)
            until(lambda: director.service("status", check=False).returncode == 1, 3, "its end")
            director.service("start")
        began = time.monotonic()
        while time.monotonic() - began < LONGEST_DOUBT:
            assert director.table() == before
            time.sleep(0.2)
        states = [director.server(address)["state"] for address in (LVS01, LVS02)]

    assert states == ["up", "up"]
