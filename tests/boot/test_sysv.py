"""The life of the packages where sysvinit is the first process, told in this order."""

import pytest

from lvs_nat.lab.image import Init
from tests.boot.conftest import RPM, RULES, booted

pytestmark = [pytest.mark.boot, pytest.mark.limit(400)]
PACKAGES = "/host/build/rpm/lvs-nat-*.noarch.rpm"
HOST = "/tmp/rpm/RPMS/noarch/debian-1-1.noarch.rpm"
REAL_SERVERS = """\
#!/bin/sh
[ "$1" != start ] || setsid /usr/local/sbin/real-servers </dev/null >/dev/null 2>&1 &
"""
# Run after lvs-nat's, at shutdown: what it leaves.
WITNESS = """\
#!/bin/sh
{ ipvsadm -Sn; sysctl -n net.ipv4.ip_forward; } >/root/left 2>&1
"""


@pytest.fixture(scope="module")
def machine():
    with booted(Init.SYSV) as machine:
        machine.write("/etc/init.d/real-servers", REAL_SERVERS)
        machine.write("/etc/init.d/witness", WITNESS)
        machine("chmod 755 /etc/init.d/real-servers /etc/init.d/witness")
        machine(
            "for n in 2 3 4 5; do ln -s ../init.d/real-servers /etc/rc$n.d/S20real-servers; done"
        )
        machine("ln -s ../init.d/witness /etc/rc6.d/K00witness")
        machine("service real-servers start")
        machine.before = machine.files()
        yield machine


@pytest.fixture(scope="module")
def installed(machine):
    machine(f"{RPM} -i {HOST}")
    machine(f"{RPM} -i {PACKAGES}", seconds=120)
    return machine


@pytest.fixture
def serving(installed):
    """The machine with the service that RULES describe, and nothing else."""
    installed("mkdir -p /var/lock/subsys")  # as Red Hat's systems have it
    installed.write("/etc/sysconfig/ipvsadm", RULES)
    installed("service lvs-nat start")
    installed.within(10, "lvs-nat status | grep '2 of 2 real servers serving'")
    assert installed.table() == RULES
    return installed


def pid(machine):
    return machine("cat /run/lvs-nat/lvs-nat.pid").strip()


def test_an_install_starts_and_enables_nothing(installed):
    links = installed("ls /etc/rc?.d/*lvs-nat").split()

    assert links == [
        f"/etc/rc{level}.d/{'K00' if level in (0, 6) else 'K72'}lvs-nat" for level in range(7)
    ]
    assert installed("service lvs-nat status", status=3) == "lvs-nat is stopped\n"
    assert installed.kernel_settings() == installed.settings
    installed("test ! -e /etc/sysconfig/ipvsadm")
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


def test_save_keeps_an_edit(serving):
    serving("ipvsadm -E -t 172.25.0.10:80 -s wrr")

    serving("service lvs-nat save")

    assert serving("cat /etc/sysconfig/ipvsadm") == RULES.replace("-s rr", "-s wrr")
    serving.write("/etc/sysconfig/ipvsadm", RULES)
    serving("service lvs-nat reload")
    assert serving.table() == RULES


def test_a_broken_file_is_refused_and_the_old_one_goes_on(serving):
    serving.write("/etc/sysconfig/ipvsadm", RULES + "-a -t nonsense\n")

    assert "/etc/sysconfig/ipvsadm:4: " in serving("service lvs-nat reload", status=6)
    assert "/etc/sysconfig/ipvsadm:4: " in serving("service lvs-nat restart", status=6)
    assert serving.table() == RULES


def test_a_restart_keeps_the_table(serving):
    serving.connect()
    before = pid(serving)

    serving("service lvs-nat restart")

    assert pid(serving) != before
    assert serving.table() == RULES
    assert serving(serving.COUNTED) == "2\n"


def test_a_killed_director_leaves_the_table_and_a_start_adopts_it(serving):
    serving.connect()
    before = pid(serving)

    serving(f"kill -KILL {before}")

    assert "dead but its pid file exists" in serving("service lvs-nat status", status=1)
    assert serving.table() == RULES
    serving("service lvs-nat start")
    assert pid(serving) != before
    assert serving(serving.COUNTED) == "2\n"


def test_a_killed_director_without_a_pid_file_has_left_a_lock(serving):
    serving("kill -KILL $(cat /run/lvs-nat/lvs-nat.pid); rm /run/lvs-nat/lvs-nat.pid")

    serving("service lvs-nat status", status=2)


def test_a_director_that_does_not_answer_has_an_unknown_status(serving):
    serving("kill -STOP $(cat /run/lvs-nat/lvs-nat.pid)")

    serving("service lvs-nat status", status=4)
    serving("kill -CONT $(cat /run/lvs-nat/lvs-nat.pid)")
    serving("service lvs-nat status")


def test_after_a_reboot_it_serves_without_a_hand(serving):
    serving("chkconfig lvs-nat on")

    serving.reboot()
    serving.mount()

    # The shutdown had stopped it.
    assert serving("cat /root/left") == "0\n"
    serving.within(30, "lvs-nat status | grep '2 of 2 real servers serving'")
    assert serving.table() == RULES


def test_a_stop_clears_the_table_and_puts_the_settings_back(serving):
    serving("service lvs-nat stop")

    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    serving("service lvs-nat status", status=3)
    assert "is not running" in serving("service lvs-nat stop")


def test_erased_it_leaves_what_the_administrator_wrote(serving):
    serving("echo '#' >>/etc/sysconfig/lvs-nat")

    said = serving(f"{RPM} -e lvs-nat-sysvinit lvs-nat")

    assert "/etc/sysconfig/lvs-nat saved as /etc/sysconfig/lvs-nat.rpmsave" in said
    assert serving.table() == ""
    assert serving.kernel_settings() == serving.settings
    serving("pgrep -f lvs-nat", status=1)
    serving("test ! -e /run/lvs-nat")
    assert serving.files() - serving.before == {
        "/etc/sysconfig",
        "/etc/sysconfig/ipvsadm",
        "/etc/sysconfig/lvs-nat.rpmsave",
    }
