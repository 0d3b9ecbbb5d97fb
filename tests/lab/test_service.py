"""What surrounds the table: settings of the machine, systemd, crashes of parts, odd services."""

import os
import signal
import socket
from pathlib import Path

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, RULES, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab

REDIRECTS = "net/ipv4/conf/{}/send_redirects"
FORWARD = "net/ipv4/ip_forward"


@pytest.fixture(scope="module")
def stage():
    with Director() as director:
        yield director


@pytest.fixture
def director(stage):
    """The director, stopped again after each test, on a network that is whole."""
    RULES.write_text(TUTORIAL)
    Path("/etc/lvs-nat/lvs-nat.conf").write_text("")
    yield stage
    stage.service("stop")
    for name in stage.lab.servers:
        stage.lab.mend(name)
    assert stage.table() == ""


def test_an_interface_that_appears_later_sends_no_redirects_either(director):
    director.service("start")
    director.lab.run("director", ["ip", "link", "add", "late0", "type", "dummy"])
    name = REDIRECTS.format("late0")
    director.sysctl(REDIRECTS.format("eth0"), "1")
    until(lambda: director.sysctl(name) == "0", 12, "redirects off on late0")
    director.lab.run("director", ["ip", "link", "delete", "late0"])


def test_forwarding_switched_off_by_somebody_is_on_again_at_once(director):
    director.sysctl(FORWARD, "0")
    director.service("start")
    until(lambda: hears_of_links(director), 20, "a director that hears of links")
    director.sysctl(FORWARD, "0")
    until(lambda: director.sysctl(FORWARD) == "1", 3, "forwarding on again")


def hears_of_links(director):
    """Say whether a socket of NETLINK_ROUTE on the director's network has joined a group."""
    _, *rows = director.lab.run("director", ["cat", "/proc/net/netlink"]).stdout.splitlines()
    return any(
        protocol == "0" and int(groups, 16) for _, protocol, _, groups, *_ in map(str.split, rows)
    )


def test_settings_are_restored_after_a_crash_in_between_too(director):
    director.sysctl(FORWARD, "0")
    director.sysctl(REDIRECTS.format("eth0"), "1")
    director.service("start")
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")
    director.service("start")
    director.service("stop")

    assert director.sysctl(FORWARD) == "0"
    assert director.sysctl(REDIRECTS.format("eth0")) == "1"


def test_a_stop_after_a_crash_cleans_up_all_the_same(director):
    director.sysctl(FORWARD, "0")
    director.service("start")
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")
    director.service("stop")

    assert director.table() == ""
    assert director.sysctl(FORWARD) == "0"
    assert director.service("status", check=False).returncode == 3


def test_a_director_that_hangs_is_stopped_all_the_same(director):
    director.service("start")
    os.kill(director.pid(), signal.SIGSTOP)
    director.service("stop")

    assert director.table() == ""
    assert director.service("status", check=False).returncode == 3


@pytest.fixture
def elsewhere(director):
    """Serve another rule file than the default, as /etc/sysconfig/lvs-nat says; give its path."""
    web, options = Path("/etc/lvs-nat/web"), Path("/etc/sysconfig/lvs-nat")
    RULES.write_text(UNRELATED)
    web.write_text(TUTORIAL)
    options.write_text(f'OPTIONS="--rules {web}"\n')
    director.service("start")
    yield web
    director.service("stop")
    options.unlink()
    web.unlink()


UNRELATED = "-A -t 172.25.0.10:81 -s rr\n"


def test_what_is_typed_is_about_the_files_that_the_service_runs_on(director, elsewhere):
    director.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    until(lambda: director.status()["unsaved"], 5, "the edit in the status")
    director.command("save")
    director.command("restart")

    edited = TUTORIAL.replace("-s rr", "-s wrr")
    assert (elsewhere.read_text(), director.table()) == (edited, edited)
    assert RULES.read_text() == UNRELATED
    assert director.command("diff").stdout == ""


def test_the_init_script_restarts_by_options_that_were_edited_and_reloads_nothing_else(
    director, elsewhere
):
    Path("/etc/sysconfig/lvs-nat").write_text('OPTIONS=""\n')
    reload = director.service("reload", check=False)

    words = f"the director reads {elsewhere}; a restart goes over to {RULES}"
    assert (reload.returncode, words in reload.stderr) == (1, True)
    assert director.status()["rules"] == str(elsewhere)

    director.service("restart")

    assert director.status()["rules"] == str(RULES)


def test_on_stop_keep_leaves_a_table_that_still_serves_until_a_stop_clears_it(director):
    config = Path("/etc/lvs-nat/lvs-nat.conf")
    config.write_text("on_stop = keep\n")
    director.sysctl(FORWARD, "0")
    director.service("start")
    said = director.service("stop").stdout

    assert "net.ipv4.ip_forward stays at 1 for the table that is kept; it was 0\n" in said
    assert director.table() == TUTORIAL
    assert {director.lab.curl() for _ in range(4)} == {"lvs01 host!\n", "lvs02 host!\n"}

    config.write_text("")
    assert "net.ipv4.ip_forward is restored to 0\n" in director.service("stop").stdout
    assert (director.table(), director.sysctl(FORWARD)) == ("", "0")


def test_a_start_after_a_stop_that_kept_the_table_still_knows_what_was_there_before(director):
    config = Path("/etc/lvs-nat/lvs-nat.conf")
    config.write_text("on_stop = keep\n")
    director.sysctl(FORWARD, "0")
    director.service("start")
    director.service("stop")
    config.write_text("")
    director.service("start")
    director.service("stop")

    assert director.sysctl(FORWARD) == "0"


def test_idle_timeouts_of_the_rules_end_with_the_service_a_crash_in_between_too(director):
    def timeouts():
        return director.ipvsadm("-L", "--timeout")

    before = timeouts()
    RULES.write_text("--set 100 20 0\n" + TUTORIAL)
    director.service("start")
    assert timeouts() == "Timeout (tcp tcpfin udp): 100 20 300\n"
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")
    director.service("start")
    said = director.service("stop").stdout

    assert "the idle timeout tcp is restored to 900 s\n" in said
    assert timeouts() == before == "Timeout (tcp tcpfin udp): 900 120 300\n"


def test_a_killed_prober_is_replaced_and_the_table_untouched(director):
    director.service("start")
    pid, _, prober = director.family()
    os.kill(prober, signal.SIGKILL)
    director.lab.kill_server("lvs01")
    director.until_table(LVS01, 5, present=False)

    assert LVS02 in director.table()
    assert director.pid() == pid


def test_director_and_prober_hold_no_more_privilege_than_they_need(director):
    director.service("start")
    pid, spawner, prober = director.family()

    def rights(process):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return int(fields["CapEff"], 16), fields["NoNewPrivs"], fields["Uid"].split()[0] == "0"

    assert rights(pid) == (1 << 12, "1", True)  # CAP_NET_ADMIN alone
    assert rights(spawner) == (0, "1", False)
    assert rights(prober) == (0, "1", False)


def test_systemd_is_told_of_every_step(director):
    place = "/run/lvs-nat-notify"
    Path(place).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place)
        systemd.settimeout(10)
        environ = {**os.environ, "NOTIFY_SOCKET": place, "WATCHDOG_USEC": "400000"}
        daemon = director.lab.popen("director", [director.program, "run"], env=environ)
        told = []

        def hear(word):
            while not any(line.startswith(word) for line in told):
                told.extend(systemd.recv(4096).decode().splitlines())
            told.clear()

        hear("READY=1")
        hear("WATCHDOG=1")
        director.lab.kill_server("lvs01")
        hear("STATUS=1 virtual service, 1 of 2 real servers serving")
        # The queue holds ten messages: they are heard while the command runs.
        reload = director.lab.popen("director", [director.program, "reload"])
        hear("RELOADING=1")
        hear("READY=1")
        stop = director.lab.popen("director", [director.program, "stop"])
        hear("STOPPING=1")

        assert [process.wait(20) for process in (reload, stop, daemon)] == [0, 0, 0]


def test_services_that_nothing_checks_serve_at_once_and_status_says_so(director):
    RULES.write_text(
        "-A -u 172.25.0.10:53 -s rr\n"
        "-a -u 172.25.0.10:53 -r 192.168.122.10:53 -m -w 1\n"
        "-A -f 7 -s rr\n"
        "-a -f 7 -r 192.168.122.20:0 -m -w 1\n"
    )
    director.service("start")
    servers = [row for service in director.status()["services"] for row in service["servers"]]

    assert [row["state"] for row in servers] == ["unchecked", "unchecked"]
    assert "-u 172.25.0.10:53 -r 192.168.122.10:53" in director.table()
    assert "-f 7 -r 192.168.122.20:0" in director.table()


def test_a_server_that_is_down_at_start_enters_when_it_comes(director):
    director.lab.kill_server("lvs01")
    director.service("start")
    before = director.table()
    director.lab.start_server("lvs01")
    director.until_table(LVS01, 3)

    assert LVS01 not in before
    assert LVS02 in before


OTHERS = "-A -t 10.9.9.9:25 -s rr\n-a -t 10.9.9.9:25 -r 192.168.122.10:25 -m -w 1\n"


def test_what_stands_in_the_table_and_in_no_rule_is_removed_by_plan(director):
    director.lab.run("director", ["ipvsadm-restore"], input=TUTORIAL + OTHERS)
    director.service("start")

    assert director.table() == TUTORIAL


def test_with_own_rules_what_stands_in_no_rule_is_left_alone_even_by_stop(director):
    Path("/etc/lvs-nat/lvs-nat.conf").write_text("own = rules\n")
    director.lab.run("director", ["ipvsadm-restore"], input=OTHERS)
    director.service("start")
    during = director.table()
    director.service("stop")
    after = director.table()
    director.ipvsadm("-C")

    assert OTHERS in during
    assert TUTORIAL in during
    assert after == OTHERS


SYNCED = "--start-daemon master --mcast-interface lo --syncid 7\n"


def test_what_the_rules_named_and_name_no_more_leaves_with_a_restart(director):
    Path("/etc/lvs-nat/lvs-nat.conf").write_text("own = rules\n")
    director.lab.run("director", ["ipvsadm-restore"], input=OTHERS)
    RULES.write_text(TUTORIAL + TUTORIAL.replace(VIP, "172.25.0.10:81") + SYNCED)
    director.service("start")
    before, daemon = director.table(), director.ipvsadm("-l", "--daemon")
    RULES.write_text(TUTORIAL)
    director.service("restart")
    after, left = director.table(), director.ipvsadm("-l", "--daemon")
    director.service("stop")
    director.ipvsadm("-C")

    assert "172.25.0.10:81" in before
    assert "master sync daemon (mcast=lo, syncid=7" in daemon
    assert sorted(after.splitlines()) == sorted((TUTORIAL + OTHERS).splitlines())
    assert left == ""


def test_a_reload_takes_over_new_servers_and_lets_old_ones_go(director):
    director.service("start")
    RULES.write_text(TUTORIAL.replace("-w 10", "-w 3").replace("-s rr", "-s wlc"))
    director.service("reload")

    assert director.table() == TUTORIAL.replace("-w 10", "-w 3").replace("-s rr", "-s wlc")
    assert director.status()["unsaved"] == []


def test_the_listing_for_people_names_every_server_and_its_state(director):
    director.service("start")
    shown = director.command("status").stdout

    assert f"TCP {VIP} rr" in shown
    assert f"  {LVS01}  up " in shown
    assert " ms, next " in shown
    assert "1 virtual service, 2 of 2 real servers serving" in shown


def test_a_server_added_by_hand_serves_at_once_and_is_watched_like_the_others(director):
    RULES.write_text("".join(TUTORIAL.splitlines(keepends=True)[:2]))
    director.service("start")
    director.ipvsadm("-a", "-t", VIP, "-r", LVS02, "-m", "-w", "10")
    until(lambda: len(director.status()["services"][0]["servers"]) == 2, 3, "lvs02 in the status")
    until(lambda: director.server(LVS02)["words"] == "connected", 5, "a verdict on lvs02")
    during = director.table()
    director.lab.kill_server("lvs02")
    director.until_table(LVS02, 3.5, present=False)

    assert during == TUTORIAL


def test_a_crash_goes_on_with_what_ran_and_a_restart_returns_to_what_is_saved(director):
    edited = TUTORIAL.replace("-s rr", "-s wrr")
    director.service("start")
    director.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    until(lambda: director.status()["unsaved"], 3, "the edit in the status")
    memory = Path("/run/lvs-nat/state.json")
    until(
        lambda: memory.exists() and "-s wrr" in memory.read_text(), 3, "the edit in the state file"
    )
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")
    director.service("start")
    crashed, unsaved = director.table(), director.status()["unsaved"]
    director.service("restart")

    assert crashed == edited
    assert unsaved == [f"-E -t {VIP} -s wrr"]
    assert director.table() == TUTORIAL


def test_a_server_known_to_be_down_stays_out_over_a_restart(director):
    director.service("start")
    director.lab.kill_server("lvs01")
    director.until_table(LVS01, 3.5, present=False)
    director.service("restart")

    assert LVS01 not in director.table()


def test_a_table_loaded_by_the_tutorials_own_script_is_taken_over_without_a_break(director):
    director.lab.run("director", ["ipvsadm-restore"], input=TUTORIAL)
    director.sysctl(FORWARD, "1")
    stream = director.lab.load(10, 1, url=f"http://{VIP}/stream?seconds=4", timeout=20)
    until(lambda: " 5 " in director.ipvsadm("-L", "-n"), 5, "ten open transfers")
    director.service("start")
    writes = director.status()["writes"]
    records = stream.finished()

    assert writes == 0
    assert [record.error for record in records] == [""] * 10
