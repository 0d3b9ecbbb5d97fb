"""The life of the package where systemd is the first process, told in this order."""

import pytest

from lvs_nat import __version__
from tests.boot.conftest import (
    NET_ADMIN,
    NOTHING,
    RPM,
    RULE_FILE,
    RULES,
    TWO_SERVE,
    WRITTEN,
    Systemd,
)

pytestmark = [pytest.mark.boot, pytest.mark.limit(400)]
KIND = Systemd


def property_of(machine, name):
    return machine(f"systemctl show lvs-nat -P {name}").strip()


def test_what_the_package_needs_is_asked_for(machine):
    said = machine(f"{RPM} -i /host/build/rpm/{machine.packages}", status=1)

    assert "python3 >= 3.9 is needed by lvs-nat" in said


def test_an_install_starts_and_enables_nothing(installed):
    assert installed("systemctl is-enabled lvs-nat", status=1) == "disabled\n"
    assert installed("systemctl is-active lvs-nat", status=3) == "inactive\n"
    assert installed.kernel_settings() == installed.settings
    installed(f"test ! -e {RULE_FILE}")
    installed("getent passwd lvs-nat-check")
    installed(f"{RPM} -V lvs-nat")


def test_systemd_has_nothing_to_remark(installed):
    for unit in ("lvs-nat", "ipvsadm"):
        assert installed(f"systemd-analyze verify /usr/lib/systemd/system/{unit}.service") == ""


def test_the_sandbox_is_tight(installed):
    last = installed("systemd-analyze security --no-pager lvs-nat.service").splitlines()[-1]

    print(last)
    assert float(last.partition("lvs-nat.service: ")[2].split()[0]) <= 2.5


def test_without_a_rule_file_it_is_said_once_what_to_write(installed):
    installed("systemctl start lvs-nat", status=1)

    assert property_of(installed, "ExecMainStatus") == "6"
    assert property_of(installed, "NRestarts") == "0"
    assert "lvs-nat is not configured; write rules" in installed(
        "systemctl status --no-pager lvs-nat", status=3
    )


def test_ipvsadms_own_service_saves_when_it_stops_and_clears_the_table(installed):
    installed.write(RULE_FILE, WRITTEN)
    installed("systemctl enable --now ipvsadm")
    assert installed.table() == RULES

    installed("systemctl stop ipvsadm")

    assert installed.rule_file() == RULES
    assert installed.table() == ""


def test_its_place_is_taken_and_neither_file_nor_table_notice(installed):
    installed.write(RULE_FILE, RULES.replace("-w 5", "-w 7"))
    installed("systemctl start ipvsadm")
    installed.write(RULE_FILE, WRITTEN)
    installed.connect(patience=1)  # the answers are not forwarded yet

    installed.start()
    installed.within(10, TWO_SERVE)

    assert installed("systemctl is-active ipvsadm", status=3) == "inactive\n"
    assert installed.rule_file() == WRITTEN
    assert installed.table() == RULES
    assert installed(installed.COUNTED) == "2\n"


def test_enabled_it_serves_and_tells_how_many(serving):
    said = serving("systemctl status --no-pager lvs-nat")

    assert 'Status: "1 virtual service, 2 of 2 real servers serving"' in said
    assert serving("sysctl -n net.ipv4.ip_forward") == "1\n"
    assert serving.errors() == []
    assert serving.rule_file() == WRITTEN


def test_its_last_change_is_told_with_the_reason(serving):
    serving("ip -n lvs02 route add unreachable 192.168.122.100")
    serving.within(10, "lvs-nat status | grep '1 of 2 real servers serving'")
    said = serving("systemctl status --no-pager lvs-nat")
    serving("ip -n lvs02 route del unreachable 192.168.122.100")

    assert 'Status: "1 virtual service, 1 of 2 real servers serving"' in said
    assert "real server 192.168.122.20:80 is down: " in said


def test_its_processes_may_do_what_they_must(serving):
    processes = serving("cat /sys/fs/cgroup/system.slice/lvs-nat.service/cgroup.procs")
    found = serving.family()

    assert sorted(map(int, processes.split())) == sorted(found)
    assert property_of(serving, "MainPID") == str(found[0])
    director, *others = serving.rights(*found)
    checker = serving("id -u lvs-nat-check").split() * 4
    assert director == ["0"] * 4 + [NOTHING, NET_ADMIN, NET_ADMIN, NET_ADMIN, NOTHING, "1"]
    assert others == [[*checker, *[NOTHING] * 5, "1"]] * 2


def test_save_is_an_action_of_the_service_command(serving):
    serving("ipvsadm -E -t 172.25.0.10:80 -s wrr")

    # As Red Hat's service command finds it, and calls it.
    serving(
        "cd /; env -i PATH=$PATH TERM=dumb /usr/libexec/initscripts/legacy-actions/lvs-nat/save"
    )

    assert serving.rule_file() == RULES.replace("-s rr", "-s wrr")
    assert serving("cat /var/lib/lvs-nat/ipvsadm.before-save") == WRITTEN
    serving.write(RULE_FILE, WRITTEN)
    serving("systemctl reload lvs-nat")
    assert serving.table() == RULES


def test_a_broken_file_is_refused_and_the_old_one_goes_on(serving):
    serving.write(RULE_FILE, WRITTEN + "-a -t nonsense\n")

    serving("systemctl reload lvs-nat", status=1)

    said = serving("systemctl status --no-pager --lines=20 lvs-nat")
    assert "Active: active (running)" in said
    assert "/etc/sysconfig/ipvsadm:5: " in said
    assert serving.table() == RULES


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_a_director_that_is_killed_or_hangs_is_back_and_nothing_was_touched(serving, signal):
    serving.connect()

    with serving.table_stands():
        back = seconds_out(serving, signal)

    print(f"back {back:.1f} s after SIG{signal}")
    assert back < 5
    assert serving.status()["writes"] == 0
    assert serving(serving.COUNTED) == "2\n"


def seconds_out(machine, signal):
    """Send *signal* to the director; return how long it took systemd to have one serve again."""
    main = property_of(machine, "MainPID")
    sent = float(machine(f"cut -d' ' -f1 /proc/uptime; kill -{signal} {main}"))
    machine.within(30, f"test $(systemctl show lvs-nat -P MainPID) -ne {main} && {TWO_SERVE}")
    return active_since(machine) - sent


def active_since(machine):
    return int(property_of(machine, "ActiveEnterTimestampMonotonic")) / 1_000_000


def test_a_director_that_waits_for_a_slow_disk_is_not_taken_for_one_that_hangs(serving):
    main = property_of(serving, "MainPID")

    # Whoever writes to the machine's only disk waits, for longer than the watchdog.
    serving(
        "fsfreeze -f /; { lvs-nat drain 192.168.122.10:80 >/run/drained 2>&1 & }; sleep 5; "
        "kill -0 $!; waits=$?; fsfreeze -u /; exit $waits"
    )

    serving.within(5, "grep 'weight 0 in the table' /run/drained")
    serving("lvs-nat enable 192.168.122.10:80")
    assert property_of(serving, "MainPID") == main


def test_starts_that_fail_for_a_while_leave_no_machine_without_a_director(serving):
    main, before = property_of(serving, "MainPID"), int(property_of(serving, "NRestarts"))
    serving("mount -t tmpfs -o size=4k none /run/lvs-nat")
    serving("head -c 9999 /dev/zero >/run/lvs-nat/full", status=1)
    with serving.table_stands():
        serving(f"kill -KILL {main}")
        # Of systemd's own limit, five starts in ten seconds, nothing would be left.
        took = serving.within(60, f"test $(systemctl show lvs-nat -P NRestarts) -ge {before + 8}")
        made = float(serving("cut -d' ' -f1 /proc/uptime; umount -l /run/lvs-nat"))
        serving.within(20, TWO_SERVE)

    back = active_since(serving) - made
    print(f"8 starts that failed took {took:.1f} s; serving {back:.1f} s after there was room")
    assert serving.status()["writes"] == 0


def test_a_restart_keeps_the_table(serving):
    serving.connect()
    main = property_of(serving, "MainPID")

    serving("systemctl restart lvs-nat")

    assert property_of(serving, "MainPID") != main
    assert serving.table() == RULES
    assert serving(serving.COUNTED) == "2\n"
    assert serving.rule_file() == WRITTEN


def test_what_is_typed_systemd_does_and_knows(serving):
    assert serving("lvs-nat stop") == ""
    assert property_of(serving, "ActiveState") == "inactive"
    assert serving.table() == ""

    assert serving("lvs-nat start") == serving("ipvsadm -Ln")
    main = property_of(serving, "MainPID")
    assert serving("cat /run/lvs-nat/lvs-nat.pid").strip() == main
    assert property_of(serving, "ActiveState") == "active"

    serving("lvs-nat reload")
    assert property_of(serving, "MainPID") == main
    serving("lvs-nat restart")
    assert property_of(serving, "MainPID") not in (main, "0")
    assert serving.table() == RULES


def test_what_is_typed_and_fails_says_why_with_its_own_exit_code(serving):
    main = property_of(serving, "MainPID")
    serving.write(RULE_FILE, WRITTEN + "nonsense\n")
    for word in ("reload", "restart"):
        assert "/etc/sysconfig/ipvsadm:5: " in serving(f"lvs-nat {word}", status=6)
    assert property_of(serving, "MainPID") == main

    serving("lvs-nat stop")
    said = serving("lvs-nat start", status=6)

    assert said.startswith("lvs-nat: /etc/sysconfig/ipvsadm:5: ")
    assert said.count("\n") == 1
    assert property_of(serving, "ActiveState") == "failed"


def test_an_upgrade_goes_on_in_the_same_process_and_no_client_notices(serving):
    before = serving.status()
    asked = serving.busy(transfers=100)

    serving(f"{RPM} -U /host/build/rpm/next/{serving.packages}", seconds=120)
    assert serving("cat /run/transfers") == ""  # none of the hundred has ended yet
    after = serving.status()
    count, errors = serving.served()

    print(f"version {before['version']} to {after['version']} under {count} clients")
    assert before["version"] == __version__ != after["version"]
    assert serving("lvs-nat --version") == f"lvs-nat {after['version']}\n"
    assert (after["pid"], after["writes"]) == (before["pid"], 0)
    assert property_of(serving, "MainPID") == str(before["pid"])
    assert property_of(serving, "NRestarts") == "0"
    assert property_of(serving, "ActiveState") == "active"
    assert errors == []
    assert count == asked
    assert serving.rule_file() == WRITTEN


def test_after_a_reboot_it_serves_without_a_hand(serving):
    assert serving("systemctl is-enabled ipvsadm") == "enabled\n"  # that, too, does no harm
    serving.reboot()
    serving("systemctl disable ipvsadm")

    serving.within(30, TWO_SERVE)
    assert serving.table() == RULES
    assert serving.errors() == []
    assert serving("systemctl is-system-running --wait") == "running\n"
    ended = serving("journalctl -b -1 -u lvs-nat -n 3 --no-pager -o cat")
    assert "lvs-nat.service: Deactivated successfully." in ended
    assert serving.rule_file() == WRITTEN


def test_a_stop_clears_the_table_and_puts_the_settings_back(serving):
    serving("systemctl stop lvs-nat")

    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    assert property_of(serving, "Result") == "success"
    assert serving.rule_file() == WRITTEN


def test_erased_it_leaves_what_the_administrator_wrote(serving):
    serving("echo '#' >>/etc/lvs-nat/lvs-nat.conf")

    said = serving(f"{RPM} -e lvs-nat")

    assert "/etc/lvs-nat/lvs-nat.conf saved as /etc/lvs-nat/lvs-nat.conf.rpmsave" in said
    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    serving("systemctl status lvs-nat", status=4)
    serving("test ! -e /run/lvs-nat")
    assert serving.rule_file() == WRITTEN
    assert serving.files() - serving.before == {
        "/etc/lvs-nat",
        "/etc/lvs-nat/lvs-nat.conf.rpmsave",
        "/etc/sysconfig",
        RULE_FILE,
    }
