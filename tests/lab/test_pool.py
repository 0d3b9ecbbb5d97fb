"""Who takes clients, by the operator's wish, the panic guard, a sorry server, a slow return."""

import os
import signal
import time
from pathlib import Path

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab
SORRY = "192.168.122.30:80"
STATE = Path("/run/lvs-nat/state.json")


def answers(director, seconds=1.0):
    """Return who answers 20 requests/s, and how many of them are not answered."""
    records = director.lab.requests(20, seconds, timeout=2)
    return {one.body.split()[0] for one in records if one.ok}, sum(not one.ok for one in records)


def test_a_drained_server_finishes_its_transfers_and_takes_no_new_client_even_after_restarts():
    with Director() as director:
        director.service("start")
        load = director.lab.load(8, 1, url=f"http://{VIP}/stream?seconds=9", timeout=20)
        until(lambda: director.server(LVS01)["active_connections"] > 2, 5, "open transfers")
        director.command("drain", LVS01)

        assert answers(director) == ({"lvs02"}, 0)
        director.service("reload")
        director.service("restart")
        assert answers(director) == ({"lvs02"}, 0)
        assert "drained by the operator" in director.command("status").stdout
        waited = director.command("drain", LVS01, "--wait", "--timeout", "30")
        assert waited.stdout.endswith("weight 0 in the table, 0 connections\n")
        assert [one.error for one in load.finished()] == [""] * 8
        director.command("enable", LVS01)
        assert answers(director) == ({"lvs01", "lvs02"}, 0)


def test_what_a_drain_leaves_after_its_time_is_cut_and_disable_cuts_at_once():
    with Director() as director:
        director.service("start")
        load = director.lab.load(8, 1, url=f"http://{VIP}/stream?seconds=20", timeout=30)
        until(lambda: director.server(LVS01)["active_connections"] > 2, 5, "open transfers")
        late = director.command("drain", LVS01, "--wait", "--timeout", "1", check=False)
        director.until_table(LVS01, 3, present=False)
        director.command("disable", LVS02, "--force")
        director.until_table(LVS02, 3, present=False)

        assert late.returncode == 1
        assert {bool(one.error) for one in load.finished()} == {True}
        director.command("enable", LVS01)
        director.command("enable", LVS02)
        assert answers(director) == ({"lvs01", "lvs02"}, 0)


@pytest.mark.parametrize("flags, refused", [("", True), (" -b sh-fallback", False)])
def test_who_is_hashed_to_a_drained_server_goes_to_another_if_the_rules_say_fallback(
    flags, refused
):
    with Director(rules=TUTORIAL.replace("-s rr", f"-s sh{flags}")) as director:
        addresses = [f"172.25.0.{number}" for number in range(100, 124)]
        for address in addresses:
            director.lab.run("client", ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        started = director.service("start")
        director.command("drain", LVS01)
        asked = ["curl", "-s", "--interface"]
        found = [
            director.lab.run("client", [*asked, it, f"http://{VIP}/"], check=False).stdout
            for it in addresses
        ]

        assert set(found) == {"lvs02 host!\n", *([""] if refused else [])}
        assert ("write -b sh-fallback" in started.stdout + started.stderr) is refused


def test_the_panic_guard_keeps_half_of_the_weight_against_failures_and_the_operator():
    with Director(config="keep_at_least = 50%\n") as director:
        director.service("start")
        refused = director.command("drain", LVS02, check=False)
        director.lab.kill_server("lvs02")
        until(lambda: director.server(LVS02)["state"] == "down", 3, "lvs02 is down")

        assert refused.returncode == 1
        assert "less than keep_at_least = 50%" in refused.stderr
        assert director.server(LVS02)["remark"] == "down but kept: too few would be left"
        assert f"{LVS02} -m -w 10" in director.table()


def test_a_check_that_is_wrong_everywhere_loses_no_request():
    config = "check = http\npath = /\ncontains = nobody says this\nkeep_at_least = 50%\n"
    with Director(config="on_start = trust\n" + config) as director:
        director.service("start")
        load = director.lab.load(50, 8, timeout=2)
        until(lambda: director.server(LVS01)["state"] == "down", 9, "lvs01 seems down")

        assert [one.error for one in load.finished() if one.error] == []


def test_when_all_fall_silent_at_once_the_director_suspects_itself_and_goes_on_afterwards():
    with Director() as director:
        director.service("start")
        load = director.lab.load(4, 1, url=f"http://{VIP}/stream?seconds=14", timeout=30)
        until(lambda: director.server(LVS01)["active_connections"] > 0, 5, "open transfers")
        before = director.table()
        director.lab.cut_link("lvs01", "lvs02")
        until(lambda: director.server(LVS02)["remark"] is not None, 6, "a suspicion")
        until(lambda: director.server(LVS01)["for"] > 4, 9, "longer than a removal takes")

        assert director.table() == before
        assert "every server fell silent at once" in director.server(LVS01)["remark"]
        for name in ("lvs01", "lvs02"):
            director.lab.mend(name)
        until(lambda: director.server(LVS01)["state"] == "up", 6, "lvs01 is back")
        until(lambda: director.server(LVS02)["state"] == "up", 6, "lvs02 is back")
        assert {one.error for one in load.finished()} == {""}


@pytest.mark.parametrize(
    "more, harm",
    [
        ("", "kill_server"),
        # They take connections all the same, so that is no cut of the director's own link.
        ("check = http\ntimeout = 0.5\n", "hang_server"),
    ],
)
def test_the_sorry_server_stands_in_while_nobody_else_can(more, harm):
    config = f"{more}[services]\n[[tcp {VIP}]]\nsorry = {SORRY}\n"
    with Director(config=config, servers=("lvs01", "lvs02", "lvs03")) as director:
        director.service("start")
        assert answers(director) == ({"lvs01", "lvs02"}, 0)

        for name in ("lvs01", "lvs02"):
            getattr(director.lab, harm)(name)
        director.until_table(SORRY, 5)
        assert answers(director) == ({"lvs03"}, 0)
        assert SORRY not in director.command("save").stdout
        assert director.saved() == TUTORIAL
        director.lab.mend("lvs02")
        director.until_table(SORRY, 5, present=False)
        assert answers(director) == ({"lvs02"}, 0)


def test_a_server_that_returns_slowly_comes_step_by_step_and_save_knows_nothing_of_it():
    config = "slow_start = 4\n"
    with Director(rules=TUTORIAL.replace("rr", "wrr"), config=config) as director:
        director.service("start")
        assert f"{LVS01} -m -w 500" in director.table()
        director.lab.kill_server("lvs01")
        director.until_table(LVS01, 3, present=False)
        director.lab.start_server("lvs01")
        seen = set()

        def whole():
            row = next((it for it in director.table().splitlines() if LVS01 in it), "-w 0")
            seen.add(int(row.split("-w ")[1]))
            return 500 in seen

        until(whole, 9, "the whole weight")
        assert len(seen) > 4
        assert min(seen - {0}) <= 125
        director.service("save")
        assert director.saved() == TUTORIAL.replace("rr", "wrr")


@pytest.mark.parametrize("word", ["restart", "reexec", "kill"])
def test_a_server_that_returns_slowly_goes_on_from_where_it_was(word):
    config = "slow_start = 40\n"
    with Director(rules=TUTORIAL.replace("rr", "wrr"), config=config) as director:

        def weight():
            row = next((it for it in director.table().splitlines() if LVS01 in it), "-w 0")
            return int(row.split("-w ")[1])

        director.service("start")
        director.lab.kill_server("lvs01")
        director.until_table(LVS01, 3, present=False)
        director.lab.start_server("lvs01")
        began = time.monotonic()
        until(lambda: weight() >= 50, 30, "a tenth of its weight")
        until(lambda: '"ramps": [[' in STATE.read_text(), 5, "its return in the state file")
        before = weight()
        if word == "kill":
            os.kill(director.pid(), signal.SIGKILL)
            until(lambda: director.service("status", check=False).returncode == 1, 3, "its end")
            director.service("start")
        elif word == "restart":
            director.service("restart")
        else:
            director.command("reexec")
        after = weight()
        until(lambda: director.status()["uptime"] > 1, 10, "a director that has looked twice")

        # Of forty seconds so many have passed, at most; it returned some time after it began.
        assert before <= after
        assert weight() <= 500 * (time.monotonic() - began) / 40
