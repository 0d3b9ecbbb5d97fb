import os
import subprocess
import sys

import pytest

NET_ADMIN = 1 << 12

STATE = """
import os
from lvs_nat.errors import LvsNatError
from lvs_nat.system import privileges
def show():
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    sets = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    print(sets, os.getresuid(), os.getresgid(), os.getgroups(), int(status["NoNewPrivs"]))
"""


def told(script):
    """Return what a process of its own says after giving up privileges."""
    command = [sys.executable, "-c", STATE + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_an_ordinary_process_loses_what_it_can():
    if os.geteuid() == 0:
        pytest.skip("root is tried below, on a kernel of its own")

    assert told("privileges.become('nobody')\nshow()").startswith("[0, 0, 0, ")


def test_what_is_not_there_cannot_be_kept():
    if os.geteuid() == 0:
        pytest.skip("root has everything")

    script = "try: privileges.keep_only(['CAP_NET_ADMIN'])\nexcept LvsNatError as e: print(e)"
    assert told(script) == "CAP_NET_ADMIN is needed: run as root"


@pytest.mark.kernel
def test_a_prober_has_no_capability_no_group_and_no_way_back():
    script = "privileges.become('lvs-nat-no-such-user', 'nobody')\nshow()"
    script += "\nprint(os.stat('/proc/self/status').st_uid)"

    state, owner = told(script).splitlines()
    assert state == "[0, 0, 0, 0, 0] (65534, 65534, 65534) (65534, 65534, 65534) [] 1"
    assert owner == "0"  # not dumpable: what is in /proc belongs to root


@pytest.mark.kernel
def test_a_prober_can_neither_write_settings_nor_become_root():
    script = """
privileges.become("nobody")
for act in (
    lambda: open("/proc/sys/net/ipv4/ip_forward", "w"),
    lambda: os.setuid(0),
    lambda: os.kill(1, 0),
    lambda: os.open("/proc/self/mem", os.O_RDWR),
):
    try:
        print("done", act())
    except PermissionError:
        print("refused")
"""
    assert told(script).split() == ["refused"] * 4


@pytest.mark.kernel
def test_a_director_keeps_one_capability_and_writes_settings_with_it():
    script = """
privileges.keep_only(["CAP_NET_ADMIN"])
show()
open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
try: os.setuid(65534); open("/etc/shadow")
except OSError as e: print(type(e).__name__)
print(os.popen("grep CapEff /proc/self/status").read())
"""
    state, refusal, child = told(script).splitlines()
    caps = f"[0, {NET_ADMIN}, {NET_ADMIN}, {NET_ADMIN}, 0]"
    assert state.startswith(f"{caps} (0, 0, 0) (0, 0, 0) [")
    assert state.endswith("] 1")
    assert refusal == "PermissionError"
    assert int(child.split()[1], 16) == NET_ADMIN


@pytest.mark.kernel
def test_a_capability_once_given_up_cannot_be_kept():
    script = """
privileges.keep_only(["CAP_NET_ADMIN"])
try: privileges.keep_only(["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"])
except LvsNatError as e: print(e, e.exit_code)
privileges.keep_only(["CAP_NET_ADMIN"])
print(privileges.effective())
"""
    assert told(script).splitlines() == [
        "CAP_NET_RAW, CAP_SYS_ADMIN is needed: run as root 4",
        str(NET_ADMIN),
    ]


@pytest.mark.kernel
def test_without_any_of_the_users_nothing_goes_on():
    script = "try: privileges.become('no-such', 'root')\nexcept LvsNatError as e: print(e)"

    assert told(script) == "there is no user no-such or root; make one: useradd -r -M NAME"
