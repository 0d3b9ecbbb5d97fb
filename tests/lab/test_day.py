"""The tutorial's day, by the init script alone, on a real kernel."""

import os
import signal
import time
from pathlib import Path

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, RULES, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab

LISTING = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  172.25.0.10:80 rr
  -> 192.168.122.10:80            Masq    5      0          0         
  -> 192.168.122.20:80            Masq    10     0          0         
"""  # noqa: W291
SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/eth0/send_redirects": "0",
    "net/ipv4/conf/eth1/send_redirects": "0",
}


@pytest.fixture
def director():
    with Director() as director:
        yield director


@pytest.fixture
def running(director):
    director.service("start")
    return director


def answers(director, count, host="client"):
    return [director.lab.curl(host) for _ in range(count)]


def test_start_shows_the_tutorials_table_to_the_byte(director):
    shown = director.service("start").stdout

    assert LISTING in shown
    assert director.ipvsadm("-L", "-n") == LISTING


@pytest.mark.parametrize("host", ["client", "director"])
def test_clients_and_the_director_itself_are_answered_in_turn(running, host):
    seen = answers(running, 8, host)

    assert sorted(set(seen)) == ["lvs01 host!\n", "lvs02 host!\n"]
    assert all(before != after for before, after in zip(seen, seen[1:]))


def test_an_edit_to_wrr_by_hand_is_kept_and_two_of_three_answers_come_from_lvs02(running):
    running.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    until(lambda: running.status()["unsaved"], 3, "the edit in the status")
    seen = answers(running, 9)

    assert seen.count("lvs02 host!\n") == 6
    assert running.table() == TUTORIAL.replace("-s rr", "-s wrr")


def test_a_killed_server_takes_no_client_after_a_second_and_a_half_and_comes_back(running):
    load = running.lab.load(50, 9)
    time.sleep(1)
    killed = time.monotonic()
    running.lab.kill_server("lvs01")
    gone = running.until_table(LVS01, 3.5, present=False)
    time.sleep(max(0.0, killed + 4 - time.monotonic()))
    running.lab.start_server("lvs01")
    back = running.until_table(LVS01, 3)
    records = load.finished()
    failed = [record.start - killed for record in records if not record.ok]

    print(f"out of the table after {gone:.2f} s, back after {back:.2f} s; {len(failed)} failed")
    assert len(records) == 450
    assert max(failed, default=0.0) <= 1.5
    assert {record.body for record in records[-40:]} == {"lvs01 host!\n", "lvs02 host!\n"}


def test_save_writes_the_server_that_is_down_as_well(running):
    running.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    running.lab.kill_server("lvs01")
    running.until_table(LVS01, 3.5, present=False)
    until(lambda: running.status()["unsaved"], 3, "the edit in the status")
    said = running.service("save").stdout

    assert "Saving IPVS table to /etc/sysconfig/ipvsadm" in said
    assert RULES.read_text() == TUTORIAL.replace("-s rr", "-s wrr")


@pytest.mark.parametrize("value", ["0", "1"])
def test_stop_empties_the_table_and_restores_every_sysctl(director, value):
    for name in SETTINGS:
        director.sysctl(name, value)
    director.ipvsadm("-L")  # loads the module, whose own settings appear then
    ours = [*SETTINGS, *(f"net/ipv4/vs/{name}" for name in VS)]
    before = {name: director.sysctl(name) for name in ours}
    director.service("start")
    during = {name: director.sysctl(name) for name in SETTINGS}
    director.service("stop")

    assert during == SETTINGS
    assert {name: director.sysctl(name) for name in ours} == before
    assert director.table() == ""
    assert director.service("status", check=False).returncode == 3


VS = ("expire_nodest_conn", "expire_quiescent_template", "conn_reuse_mode")


def test_start_after_kill_9_adopts_the_table_and_breaks_no_transfer(running):
    stream = running.lab.load(20, 1, url=f"http://{VIP}/stream?seconds=6", timeout=20)
    until(lambda: " 10 " in running.ipvsadm("-L", "-n"), 5, "20 open transfers")
    running.service("status")
    os.kill(running.pid(), signal.SIGKILL)
    until(lambda: running.service("status", check=False).returncode == 1, 3, "a dead director")
    before = running.ipvsadm("-S", "-n")
    running.service("start")
    records = stream.finished()

    assert running.ipvsadm("-S", "-n") == before == TUTORIAL
    assert [record.error for record in records] == [""] * 20


def test_a_restart_and_a_reload_break_no_transfer_and_refuse_no_request(running):
    stream = running.lab.load(20, 1, url=f"http://{VIP}/stream?seconds=6", timeout=20)
    short = running.lab.load(30, 7)
    running.service("restart")
    running.service("reload")
    records = stream.finished() + short.finished()

    assert [record.error for record in records if record.error] == []


def test_a_second_start_says_so_and_changes_nothing(running):
    again = running.service("start")

    assert f"already running as pid {running.pid()}" in again.stdout
    assert running.table() == TUTORIAL


def test_a_lost_table_is_put_back_within_a_second(running):
    running.ipvsadm("-C")

    assert running.until_table(LVS02, 1.0) <= 1.0
    assert running.table() == TUTORIAL


def test_a_silent_server_is_quiesced_first_and_removed_later_where_its_packets_are_not_seen():
    with Director(config="watch = no\n") as director:
        director.service("start")
        director.lab.drop_packets("lvs01")
        director.until_table(f"-r {LVS01} -m -w 0", 3)
        director.until_table(LVS01, 6, present=False)
        director.lab.mend("lvs01")
        director.until_table(f"-r {LVS01} -m -w 5", 3)


def test_a_silent_server_is_removed_as_soon_as_it_is_seen_to_send_nothing(running):
    running.lab.drop_packets("lvs01")

    assert running.until_table(LVS01, 3, present=False) <= 2.5
    running.lab.mend("lvs01")
    running.until_table(f"-r {LVS01} -m -w 5", 3)


def test_a_start_whose_terminal_goes_away_goes_on(director):
    director.lab.drop_packets("lvs01")  # the first round waits for it
    starting = director.lab.popen("director", [director.program, "start"])
    until(lambda: Path("/run/lvs-nat/control").exists(), 5, "a director")
    starting.kill()
    starting.wait()
    director.until_table(LVS02, 3)
    until(lambda: Path("/run/lvs-nat/state.json").exists(), 5, "the end of the first round")
    director.lab.mend("lvs01")

    director.until_table(LVS01, 3)
    assert director.service("status").returncode == 0
