"""Rivals on machines that are folders; one test looks at this machine, with a real process."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lvs_nat.core.rivals import Rival
from lvs_nat.lab.topology import until
from lvs_nat.system.rivals import rivals

CONF = "etc/keepalived/keepalived.conf"
SERVING = "virtual_server 10.0.0.1 80 {\n}\n"
KEEPALIVED = ("/usr/sbin/keepalived", "-D")


class Box:
    """A machine that is a folder."""

    def __init__(self, root):
        self.root = root
        self.process(999, "python3", ("python3",))
        (root / "proc/self").symlink_to("999")

    def write(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def process(self, pid, comm, words, network="net:[4026531840]"):
        self.write(f"proc/{pid}/comm", f"{comm}\n")
        self.write(f"proc/{pid}/cmdline", "".join(f"{word}\0" for word in words))
        (self.root / f"proc/{pid}/ns").mkdir()
        if network:
            (self.root / f"proc/{pid}/ns/net").symlink_to(network)

    def unit(self, name):
        units = self.root / "run/systemd/units"
        units.mkdir(parents=True, exist_ok=True)
        (self.root / "run/systemd/system").mkdir(exist_ok=True)
        (units / f"invocation:{name}.service").symlink_to("0123456789abcdef")


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_a_machine_of_ones_own_has_no_rivals(box):
    assert rivals(box.root) == []


def test_keepalived_with_virtual_servers_is_named_with_the_file_that_has_them(box):
    box.write(CONF, SERVING)
    box.process(1001, "keepalived", KEEPALIVED)
    box.process(1002, "keepalived", KEEPALIVED)

    assert rivals(box.root) == [Rival("keepalived", 1001, f"/{CONF}")]


def test_virtual_servers_may_stand_in_a_file_that_is_included(box):
    box.write(CONF, "include conf.d/*.conf\ninclude /etc/other.conf\ninclude keepalived.conf\n")
    box.write("etc/keepalived/conf.d/web.conf", SERVING)
    box.process(1001, "keepalived", KEEPALIVED)

    assert rivals(box.root) == [Rival("keepalived", 1001, "/etc/keepalived/conf.d/web.conf")]


@pytest.mark.parametrize(
    "conf, words",
    [
        ("vrrp_instance one {\n}\n", KEEPALIVED),
        (SERVING, ("keepalived", "--vrrp")),
        (SERVING, ("keepalived", "-f", "/etc/vrrp.conf")),
        (None, KEEPALIVED),
    ],
)
def test_keepalived_for_vrrp_alone_is_a_friend(box, conf, words):
    if conf is not None:
        box.write(CONF, conf)
    box.process(1001, "keepalived", words)

    assert rivals(box.root) == []


def test_a_checker_that_is_called_so_needs_no_other_proof(box):
    box.process(1001, "keepalived", KEEPALIVED)
    box.process(1003, "keepalived_vrrp", KEEPALIVED)
    box.process(1004, "keepalived_ipvs", KEEPALIVED)

    assert rivals(box.root) == [Rival("keepalived", 1004, f"/{CONF}")]


@pytest.mark.parametrize("comm", ["ldirectord", "ldirectord tuto"])
def test_ldirectord_is_a_rival_also_where_it_has_renamed_itself(box, comm):
    box.process(1001, comm, ("/usr/bin/perl", "-w", "/usr/sbin/ldirectord", "start"))

    assert rivals(box.root) == [Rival("ldirectord", 1001)]


@pytest.mark.parametrize("network", ["net:[4026532999]", ""])
def test_who_is_in_another_network_or_hidden_from_us_is_no_rival(box, network):
    box.process(1001, "ldirectord", ("ldirectord",), network)

    assert rivals(box.root) == []


def test_where_processes_are_hidden_systemd_tells_what_is_on(box):
    box.write("etc/sysconfig/keepalived", '# options\nKEEPALIVED_OPTIONS="-D -f /etc/k.conf"\n')
    box.write("etc/k.conf", SERVING)
    box.write("sys/fs/cgroup/system.slice/keepalived.service/cgroup.procs", "812\n813\n")
    for name in ("keepalived", "ldirectord", "ipvsadm", "sshd"):
        box.unit(name)

    assert rivals(box.root) == [
        Rival("ipvsadm"),
        Rival("keepalived", 812, "/etc/k.conf"),
        Rival("ldirectord"),
    ]


def test_a_unit_of_keepalived_for_vrrp_alone_is_a_friend(box):
    box.write("etc/default/keepalived", "DAEMON_ARGS='--vrrp -D'\n")
    box.write(CONF, SERVING)
    box.unit("keepalived")

    assert rivals(box.root) == []


def test_ipvsadm_s_init_script_is_on_where_its_lock_is(box):
    box.write("var/lock/subsys/ipvsadm")

    assert rivals(box.root) == [Rival("ipvsadm")]


def test_a_lock_of_old_says_nothing_where_systemd_runs(box):
    box.write("var/lock/subsys/ipvsadm")
    box.unit("sshd")

    assert rivals(box.root) == []


def test_a_process_of_this_machine_is_found(tmp_path):
    program = tmp_path / "ldirectord"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "60"]) as rival:
        comm = Path(f"/proc/{rival.pid}/comm")
        until(lambda: comm.read_text() == "ldirectord\n", 5, "a process of that name")
        found = [one for one in rivals() if one.pid == rival.pid]
        rival.kill()

    assert found == [Rival("ldirectord", rival.pid)]
    assert os.getpid() not in [one.pid for one in found]
