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
print(os.popen("grep CapEff /proc/self/status").read())
"""
    state, child = told(script).splitlines()
    caps = f"[0, {NET_ADMIN}, {NET_ADMIN}, {NET_ADMIN}, 0]"
    assert state.startswith(f"{caps} (0, 0, 0) (0, 0, 0) [")
    assert state.endswith("] 1")
    assert int(child.split()[1], 16) == NET_ADMIN


# Of a process of another user, and of a file that it alone may read.
OTHERS = """
import signal, socket, tempfile
strange = tempfile.mkstemp()[1]
os.chown(strange, 65534, 65534)
ours = tempfile.mkstemp()[1]
reading, writing = os.pipe()
def waiting(user):
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.setuid(user)
        os.write(tells, b"!")
        os.read(reading, 1)  # until the one that is tried has ended
        os._exit(0)
    os.read(told, 1)
    return child
other, kin = waiting(65534), waiting(0)
privileges.keep_only(["CAP_NET_ADMIN"])
try:
    {}
    print("done")
except PermissionError:
    print("refused")
"""


@pytest.mark.kernel
@pytest.mark.parametrize(
    "act, outcome",
    [
        ("os.setuid(65534)", "refused"),
        ("os.setgid(65534)", "refused"),
        ("os.setgroups([0, 65534])", "refused"),
        ("open(strange)", "refused"),
        ("os.chown(ours, 65534, 65534)", "refused"),
        ("os.kill(other, signal.SIGKILL)", "refused"),
        ("os.chroot('/tmp')", "refused"),
        ("os.mknod(ours + '.null', 0o20600, os.makedev(1, 3))", "refused"),
        ("socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)", "refused"),
        ("socket.sethostname('another')", "refused"),
        # A user's own files and processes take no capability, and its user is root.
        ("open(ours, 'w')", "done"),
        ("os.kill(kin, signal.SIGKILL)", "done"),
    ],
)
def test_a_director_may_do_what_its_user_may_and_what_takes_no_other_capability(act, outcome):
    assert told(OTHERS.format(act)) == outcome


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
