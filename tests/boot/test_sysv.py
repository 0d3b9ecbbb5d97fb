"""The life of the packages where sysvinit is the first process, told in this order."""

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
    Sysv,
)

pytestmark = [pytest.mark.boot, pytest.mark.limit(400)]
KIND = Sysv
# Run after lvs-nat's, at shutdown: what it leaves.
WITNESS = """\
#!/bin/sh
{ ipvsadm -Sn; sysctl -n net.ipv4.ip_forward; } >/root/left 2>&1
"""


def test_an_install_starts_and_enables_nothing(installed):
    links = installed("ls /etc/rc?.d/*lvs-nat").split()

    assert links == [
        f"/etc/rc{level}.d/{'K00' if level in (0, 6) else 'K72'}lvs-nat" for level in range(7)
    ]
    assert installed("service lvs-nat status", status=3) == "lvs-nat is stopped\n"
    assert installed.kernel_settings() == installed.settings
    installed(f"test ! -e {RULE_FILE}")
    installed(f"{RPM} -V lvs-nat lvs-nat-sysvinit")


def test_without_a_rule_file_it_is_said_what_to_write(installed):
    said = installed("service lvs-nat start", status=6)

    assert "lvs-nat is not configured; write rules" in said
    installed("service lvs-nat status", status=3)


def test_started_it_serves(serving):
    assert "2 of 2 real servers serving" in serving("service lvs-nat status")
    assert serving("sysctl -n net.ipv4.ip_forward") == "1\n"
    serving("test -e /var/lock/subsys/lvs-nat")
    assert "already running" in serving("service lvs-nat start")
    assert serving.errors() == []
    assert serving.rule_file() == WRITTEN


def test_its_processes_may_do_what_they_must(serving):
    director, *others = serving.rights(*serving.family())

    checker = serving("id -u lvs-nat-check").split() * 4
    assert director == ["0"] * 4 + [NOTHING, NET_ADMIN, NET_ADMIN, NET_ADMIN, NOTHING, "1"]
    assert others == [[*checker, *[NOTHING] * 5, "1"]] * 2


def test_save_keeps_an_edit(serving):
    serving("ipvsadm -E -t 172.25.0.10:80 -s wrr")

    serving("service lvs-nat save")

    assert serving.rule_file() == RULES.replace("-s rr", "-s wrr")
    serving.write(RULE_FILE, WRITTEN)
    serving("service lvs-nat reload")
    assert serving.table() == RULES


def test_a_broken_file_is_refused_and_the_old_one_goes_on(serving):
    serving.write(RULE_FILE, WRITTEN + "-a -t nonsense\n")

    assert "/etc/sysconfig/ipvsadm:5: " in serving("service lvs-nat reload", status=6)
    assert "/etc/sysconfig/ipvsadm:5: " in serving("service lvs-nat restart", status=6)
    assert serving.table() == RULES


def test_a_restart_keeps_the_table(serving):
    serving.connect()
    before = serving.pid()

    serving("service lvs-nat restart")

    assert serving.pid() != before
    assert serving.table() == RULES
    assert serving(serving.COUNTED) == "2\n"
    assert serving.rule_file() == WRITTEN


def test_a_killed_director_leaves_the_table_and_a_start_adopts_it(serving):
    serving.connect()
    before = serving.pid()

    with serving.table_stands():
        serving(f"kill -KILL {before}")
        assert "dead but its pid file exists" in serving("service lvs-nat status", status=1)
        assert serving.errors() == []
        serving("service lvs-nat start")

    assert serving.pid() != before
    assert serving.status()["writes"] == 0
    assert serving(serving.COUNTED) == "2\n"


def test_a_killed_director_without_a_pid_file_has_left_a_lock(serving):
    serving("kill -KILL $(cat /run/lvs-nat/lvs-nat.pid); rm /run/lvs-nat/lvs-nat.pid")

    serving("service lvs-nat status", status=2)


def test_a_director_that_does_not_answer_has_an_unknown_status(serving):
    serving("kill -STOP $(cat /run/lvs-nat/lvs-nat.pid)")

    serving("service lvs-nat status", status=4)
    serving("kill -CONT $(cat /run/lvs-nat/lvs-nat.pid)")
    serving("service lvs-nat status")


def test_an_upgrade_goes_on_in_the_same_process_and_no_client_notices(serving):
    before = serving.status()
    asked = serving.busy(transfers=100)

    serving(f"{RPM} -U /host/build/rpm/next/{serving.packages}", seconds=120)
    assert serving("cat /run/transfers") == ""  # none of the hundred has ended yet
    after = serving.status()
    count, errors = serving.served()

    print(f"version {before['version']} to {after['version']} under {count} clients")
    assert before["version"] == __version__ != after["version"]
    assert (after["pid"], after["writes"]) == (before["pid"], 0)
    assert errors == []
    assert count == asked
    assert "2 of 2 real servers serving" in serving("service lvs-nat status")
    serving("test -e /var/lock/subsys/lvs-nat")


def test_after_a_reboot_it_serves_without_a_hand(serving):
    serving.write("/etc/init.d/witness", WITNESS)
    serving("chmod 755 /etc/init.d/witness; ln -s ../init.d/witness /etc/rc6.d/K00witness")

    serving.reboot()

    serving("rm /etc/init.d/witness /etc/rc6.d/K00witness")
    # The shutdown had stopped it.
    assert serving("cat /root/left") == "0\n"
    serving.within(30, TWO_SERVE)
    assert serving.table() == RULES
    assert serving.errors() == []
    assert serving.rule_file() == WRITTEN


def test_a_stop_clears_the_table_and_puts_the_settings_back(serving):
    serving("service lvs-nat stop")

    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    serving("service lvs-nat status", status=3)
    assert "is not running" in serving("service lvs-nat stop")
    assert serving.rule_file() == WRITTEN


def test_erased_it_leaves_what_the_administrator_wrote(serving):
    serving("echo '#' >>/etc/sysconfig/lvs-nat")

    said = serving(f"{RPM} -e lvs-nat-sysvinit lvs-nat")

    assert "/etc/sysconfig/lvs-nat saved as /etc/sysconfig/lvs-nat.rpmsave" in said
    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    serving("pgrep -f lvs-nat", status=1)
    serving("test ! -e /run/lvs-nat")
    assert serving.rule_file() == WRITTEN
    assert serving.files() - serving.before == {
        "/etc/sysconfig",
        RULE_FILE,
        "/etc/sysconfig/lvs-nat.rpmsave",
    }


ALONE = "/host/build/rpm/lvs-nat-[0-9]*.noarch.rpm"


def test_a_director_without_an_init_script_is_stopped_by_the_removal(installed):
    installed(f"{RPM} -i {ALONE}", seconds=120)
    installed.write(RULE_FILE, WRITTEN)
    installed("lvs-nat start")
    assert installed.table() == RULES

    installed(f"{RPM} -e lvs-nat")

    assert installed.table() == ""
    installed("pgrep -f lvs-nat", status=1)
    installed("test ! -e /usr/share/lvs-nat")


def test_a_package_whose_files_are_gone_can_be_removed(installed):
    installed(f"{RPM} -i {ALONE}", seconds=120)
    installed("rm -r /usr/share/lvs-nat")

    installed(f"{RPM} -e lvs-nat")

    installed("rpm -q lvs-nat", status=1)
