"""What a command sees of its lab kernel, and this machine of the command."""

import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lvs_nat.errors import NotInstalled, UsageError
from lvs_nat.lab import kernel, packages
from lvs_nat.lab.topology import until

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
LAB = (sys.executable, "-m", "lvs_nat.lab")

# On this machine: a kernel is booted.  In the lab's kernel: namespaces of it are made.
outside = [pytest.mark.lab, pytest.mark.outside]
everywhere = pytest.mark.parametrize(
    "place",
    [pytest.param("this machine", marks=outside), pytest.param("lab", marks=pytest.mark.kernel)],
)
no_uml = pytest.mark.skipif(
    kernel.choose(os.environ) is kernel.Kind.NATIVE and not shutil.which("apt-get"),
    reason="there is no user-mode Linux for this machine",
)


def lab(*words, env=None, **options):
    """Return what `python -m lvs_nat.lab` came to."""
    return subprocess.run(
        [*LAB, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


def leftovers(folder):
    """Return the processes and files of guests whose orders lie in *folder*."""
    return [line for line in command_lines().values() if f"LAB={folder}/" in line] + os.listdir(
        folder
    )


def command_lines():
    """Return the words of every process by its pid; ps is not on every machine."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found[int(path.parent.name)] = path.read_text(errors="replace").replace("\0", " ")
    return found


@everywhere
def test_the_command_is_root_has_ipvs_and_its_status_and_output_are_passed_on(place):
    script = 'id -u; pwd; echo "$WORD"; modprobe ip_vs && ls /proc/net/ip_vs; echo err >&2; exit 7'

    done = lab("-t", 60, "--", "sh", "-c", script, env={"WORD": 'it\'s "quoted" $HOME'})

    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (
        7,
        ["0", str(ROOT), 'it\'s "quoted" $HOME', "/proc/net/ip_vs"],
        "err\n",
    )


@everywhere
def test_the_command_has_a_network_of_its_own_with_lo_up(place):
    done = lab("-t", 60, "--", "ip", "-brief", "link")

    assert [line.split()[0] for line in done.stdout.splitlines()] == ["lo"]
    assert "LOOPBACK,UP" in done.stdout


@everywhere
def test_files_are_safe_but_for_the_writable_folders(place, tmp_path):
    for name in ("kept", "lent"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("old")
    script = f"rm -r {tmp_path}/kept; echo new >{tmp_path}/lent/file; touch /etc/lvs-nat.test"

    done = lab("-t", 60, "-w", tmp_path / "lent", "--", "sh", "-c", script)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "kept" / "file").read_text() == "old"
    assert (tmp_path / "lent" / "file").read_text() == "new\n"
    assert not Path("/etc/lvs-nat.test").exists()


@everywhere
def test_a_command_past_its_time_is_ended_with_what_it_started(place, tmp_path):
    env = {"TMPDIR": str(tmp_path)}

    done = lab("-t", 12, "--", "sh", "-c", "echo begun; sleep 60 & sleep 61", env=env)

    assert (done.returncode, done.stdout) == (124, "begun\n")
    assert done.stderr == "lab: no end within 12 s\n"
    assert leftovers(tmp_path) == []


@pytest.mark.kernel
def test_nothing_is_left_of_a_lab():
    stand = (
        "from lvs_nat.lab.topology import Lab\n"
        "with Lab() as lab: print(lab.curl('director', 'http://192.168.122.10/'), end='')"
    )
    script = '"$0" -c "$1"; ip netns; ip -br link; cat /proc/mounts'

    done = lab("-t", 60, "--", "sh", "-c", script, sys.executable, stand)

    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()[:2]] == ["lvs01", "lo"]
    assert "/etc/sysconfig" not in done.stdout


@pytest.mark.lab
@pytest.mark.outside
@no_uml
def test_a_guest_that_dies_shows_its_console(tmp_path):
    env = {"TMPDIR": str(tmp_path), "LVS_NAT_LAB_KERNEL": "uml"}

    done = lab("-t", 60, "--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60", env=env)

    assert done.returncode == 125
    assert "lab: the guest ended without an exit status; its console:" in done.stderr
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.lab
@pytest.mark.outside
@no_uml
def test_a_guest_stays_on_one_processor(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path), "LVS_NAT_LAB_KERNEL": "uml"}
    command = [*LAB, "-t", "60", "--", "sh", "-c", "echo up; sleep 60"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout.readline().rstrip() == "up"
        guests = [pid for pid, line in command_lines().items() if f"LAB={tmp_path}/" in line]
        found = [os.sched_getaffinity(pid) for pid in guests]
        runner.terminate()

    assert {len(processors) for processors in found} == {1}


@pytest.mark.lab
@pytest.mark.outside
@pytest.mark.parametrize(
    "name, options",
    [("SIGINT", []), ("SIGTERM", []), ("SIGHUP", []), ("SIGKILL", []), ("SIGKILL", ["-i"])],
)
def test_nothing_outlives_the_runner_however_it_ends(name, options, tmp_path):
    # What runs in the background of a script has SIGINT ignored from birth.
    command = ["env", "--default-signal=INT", *LAB, *options, "-t", "60"]
    command += ["--", "sh", "-c", "echo up; sleep 60"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout.readline().rstrip() == "up"
        assert leftovers(tmp_path) != []
        runner.send_signal(getattr(signal, name))

    assert runner.returncode == (-9 if name == "SIGKILL" else 128 + getattr(signal, name))
    until(lambda: leftovers(tmp_path) == [], 5, "all has gone")


@pytest.mark.lab
@pytest.mark.outside
def test_a_terminal_reaches_into_the_lab(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    ours, guests = pty.openpty()
    command = [*LAB, "-i", "-t", "60", "--", "sh", "-c", "test -t 0; echo $?; read x; echo got $x"]
    with (
        open(ours, "rb") as screen,
        subprocess.Popen(command, cwd=ROOT, env=env, stdin=guests, stdout=guests) as runner,
    ):
        os.close(guests)
        assert screen.readline() == b"0\r\n"
        os.write(ours, b"keys\r")
        assert [screen.readline(), screen.readline()] == [b"keys\r\n", b"got keys\r\n"]

    assert (runner.returncode, leftovers(tmp_path)) == (0, [])


@pytest.mark.lab
@pytest.mark.outside
@pytest.mark.limit(300)
@no_uml
def test_an_ordinary_user_needs_nothing_installed(tmp_path_factory):
    """Everything is downloaded, as on a bare machine, into a copy of the tree, by nobody."""
    tree = tmp_path_factory.mktemp("tree", numbered=True) / "tree"
    for folder in (tree.parent, *tree.parent.parents[:2]):
        folder.chmod(0o755)
    shutil.copytree(ROOT / "lvs_nat", tree / "lvs_nat")
    shutil.copy(ROOT / "setup.cfg", tree)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", str(NOBODY), tree], check=True)
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i"]
    else:
        user = ["env", "-i"]
    script = "modprobe ip_vs_wrr; ipvsadm -A -t 1.2.3.4:80 -s wrr; ipvsadm -Sn; curl --version;" + (
        "ip netns add x; ip netns exec x iptables-legacy -S; tc qdisc show dev lo"
    )
    ask = [*user, "LVS_NAT_LAB_PACKAGES=download", "/usr/bin/python3", "-m", "lvs_nat.lab"]
    runs = [
        subprocess.Popen([*ask, "--", "sh", "-ec", script], cwd=tree, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    outcomes = [(*run.communicate(timeout=280), run.returncode) for run in runs]

    for stdout, stderr, status in outcomes:
        assert (status, stdout.splitlines()[:1]) == (0, ["-A -t 1.2.3.4:80 -s wrr"]), stderr
        assert "-P INPUT ACCEPT" in stdout
    assert sum("downloading" in stderr for _, stderr, _ in outcomes) == 1
    assert [path.name for path in (tree / ".cache" / "lab").glob("*/*")] == ["tree"]


def test_a_machine_without_apt_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        NotInstalled, match="dnf install curl iproute iproute-tc ipset iptables-nft"
    ):
        packages.gather(packages.GUEST_PROGRAMS, {"LVS_NAT_LAB_PACKAGES": "download"})


@pytest.mark.parametrize(
    "environ, folder",
    [
        ({"LVS_NAT_LAB_CACHE": "/some/where"}, "/some/where"),
        ({"LVS_NAT_LAB_CACHE": "", "HOME": "/home/joe"}, str(ROOT / ".cache" / "lab")),
    ],
)
def test_downloads_lie_in_the_tree_or_where_asked(environ, folder):
    assert packages.cache(environ) == Path(folder)


def test_what_shall_be_writable_must_be_there():
    with pytest.raises(UsageError, match="/no/such is not a directory"):
        kernel.run(["true"], timeout=1, writable=[Path("/no/such")])


@pytest.mark.lab
@pytest.mark.outside
@no_uml
def test_a_guest_may_look_at_more_files_than_its_starter_may_keep_open():
    files = "find /usr/lib /usr/share -type f | head -n 3000 | tr '\\n' '\\0' | xargs -0 cat"
    limited = ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *LAB, "-t", "60", "--"]

    done = subprocess.run(
        [*limited, "sh", "-c", f"{files} >/dev/null; cat /etc/hosts >/dev/null && echo read"],
        cwd=ROOT,
        env={**os.environ, "LVS_NAT_LAB_KERNEL": "uml"},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")
