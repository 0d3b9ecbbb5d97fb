"""A new version takes over from the running one, in its process, under its clients' traffic."""

import os
import shutil
import signal
import sys
import sysconfig
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, RULES, TREE, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab
CONFIG = Path("/etc/lvs-nat/lvs-nat.conf")
PLACE = Path("/opt/lvs-nat-test")
PROGRAM = Path("/run/lvs-nat-test")
NEW = '"""Newer."""\n__version__ = "9.9.9"\n'
NET_ADMIN = 1 << 12
LOOKS = 5


@pytest.fixture(scope="module")
def stage():
    # The prober's user has to be let in where this Python lies; in the lab this changes nothing.
    for python in (sys.executable, os.path.realpath(sys.executable)):
        for folder in Path(python).parents:
            folder.chmod(folder.stat().st_mode | 0o055)
    with Director() as director:
        # As the package installs it, which starts in half the time that a development tree takes.
        places = [str(PLACE), sysconfig.get_path("purelib")]
        PROGRAM.write_text(
            f"import sys\nsys.path[:0] = {places}\n"
            "from lvs_nat.cli.main import command\n\ncommand()\n"
        )
        director.program.write_text(
            f'#!/bin/sh\nexec {quote(sys.executable)} -ISB {PROGRAM} "$@"\n'
        )
        yield director


@contextmanager
def running(stage):
    """A director that runs from a copy of the program, which a test may change."""
    RULES.write_text(TUTORIAL)
    CONFIG.write_text("")
    for server in stage.lab.servers:
        stage.lab.mend(server)
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(TREE / "lvs_nat", PLACE / "lvs_nat", ignore=shutil.ignore_patterns("lab"))
    stage.service("start")
    yield stage
    stage.service("stop")


@pytest.fixture
def director(stage):
    with running(stage) as started:
        yield started


def install(text=NEW, name="__init__"):
    """Replace a module of the program, as a package manager does."""
    path = PLACE / "lvs_nat" / f"{name}.py"
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def version(director):
    return director.status()["version"]


def child(pid):
    """Return the pid of the one child of *pid*, once it is the only one."""

    def children():
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    until(lambda: len(children()) == 1, 5, f"one child of {pid}")
    return int(children()[0])


def opened(pid):
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            found.append(os.readlink(entry))
    return found


def descriptors(director):
    """Return what director and spawner have open, by kinds, once both have all they will have."""
    pid = director.pid()
    spawner = child(pid)

    def settled():
        rows = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
        links = {f"socket:[{row.split()[-1]}]" for row in rows if row.split()[1] == "0"}
        return child(spawner) and links & set(opened(pid))

    until(settled, 10, "events of links, and one prober")
    return [sorted(link.partition(":")[0] for link in lasting(it)) for it in (pid, spawner)]


def lasting(pid):
    """Return what *pid* has open over several looks: not what it is just asking or answering."""
    looks = [opened(pid)]

    def agreed():
        looks.append(opened(pid))
        return len(looks) >= LOOKS and all(look == looks[-1] for look in looks[-LOOKS:])

    until(agreed, 10, f"the same descriptors in {LOOKS} looks at {pid}")
    return looks[-1]


def test_the_same_process_goes_on_as_the_new_version_and_nothing_is_written(director):
    files = ("/run/lvs-nat/lvs-nat.lock", "/run/lvs-nat/control")
    before = director.status()
    inodes = [os.stat(path).st_ino for path in files]
    spawner = child(before["pid"])
    prober = child(spawner)
    install()
    said = director.command("reexec").stdout
    after = director.status()

    assert said == f"lvs-nat (pid {before['pid']}) goes on as version 9.9.9\n"
    assert (after["pid"], after["version"], after["writes"]) == (before["pid"], "9.9.9", 0)
    assert after["uptime"] > before["uptime"]
    assert after["since"] == pytest.approx(before["since"], abs=0.5)
    assert [os.stat(path).st_ino for path in files] == inodes
    assert child(after["pid"]) == spawner
    assert child(spawner) != prober
    assert director.table() == TUTORIAL
    # Privileges are no more than before.
    assert rights(after["pid"]) == (True, "1", [0, NET_ADMIN, NET_ADMIN, NET_ADMIN, 0])
    assert rights(spawner) == (False, "1", [0] * 5)
    assert rights(child(spawner)) == (False, "1", [0] * 5)


def rights(process):
    """Return whether *process* is root's, its no_new_privs, and its sets of capabilities."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    capabilities = [int(fields[name], 16) for name in sets]
    return fields["Uid"].split()[0] == "0", fields["NoNewPrivs"], capabilities


def test_it_can_be_done_again_and_again_no_client_notices_and_nothing_is_left_open(director):
    stream = director.lab.load(20, 1, url=f"http://{VIP}/stream?seconds=12", timeout=40)
    until(lambda: " 10 " in director.ipvsadm("-L", "-n"), 5, "twenty open transfers")
    requests = director.lab.load(30, 60)
    install()
    director.command("reexec")
    pid, open_before = director.pid(), descriptors(director)
    for _ in range(2):
        director.command("reexec")
    records = requests.stop() + stream.finished()

    assert version(director) == "9.9.9"
    assert len(records) > 50
    assert [record.error for record in records if not record.ok] == []
    assert descriptors(director) == open_before
    assert director.pid() == pid


def test_servers_are_watched_all_the_time(director):
    install()
    reexec = director.lab.popen("director", [director.program, "reexec"])
    director.lab.kill_server("lvs01")
    took = director.until_table(LVS01, 15, present=False)
    reexec.wait(60)

    print(f"out of the table {took:.2f} s after it was killed")
    assert version(director) == "9.9.9"
    assert director.server(LVS01)["state"] == "down"


def test_what_was_known_is_known_and_no_file_is_read(director):
    director.lab.kill_server("lvs01")
    director.until_table(LVS01, 3.5, present=False)
    director.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    until(lambda: director.status()["unsaved"], 3, "the edit in the status")
    table, down = director.table(), director.server(LVS01)
    RULES.write_text("nonsense\n")
    CONFIG.write_text("nonsense = 1\n")
    install()
    director.command("reexec")
    after = director.server(LVS01)

    assert director.table() == table
    assert director.status()["unsaved"] == [f"-E -t {VIP} -s wrr"]
    assert (after["state"], after["words"]) == ("down", down["words"])
    assert after["for"] >= down["for"]


def test_that_the_files_cannot_be_used_is_still_said(director):
    RULES.write_text("nonsense\n")
    os.kill(director.pid(), signal.SIGHUP)
    until(lambda: director.status()["problems"], 5, "the problem in the status")
    before = director.status()["problems"]
    director.command("reexec")

    assert director.status()["problems"] == before
    RULES.write_text(TUTORIAL)
    director.service("reload")
    assert director.status()["problems"] == []


def test_settings_go_on_that_the_file_has_no_more(director):
    CONFIG.write_text("drift = repair\n")
    director.service("reload")
    CONFIG.write_text("")
    director.command("reexec")
    director.ipvsadm("-E", "-t", VIP, "-s", "wrr")

    until(lambda: director.table() == TUTORIAL, 5, "the edit undone")


def test_versions_that_cannot_start_are_refused_and_the_old_one_goes_on(director):
    before = director.status()
    pid = director.pid()
    prober = child(child(pid))
    open_before = descriptors(director)
    for name, text, words in [
        ("__init__", "this is no Python\n", "SyntaxError"),
        ("daemon/engine", "import no_such_module\n", "No module named 'no_such_module'"),
        ("daemon/service", "this is no Python\n", "SyntaxError"),
        ("core/memory", "FORMAT = 99\n", "what runs is not known"),
        ("cli/main", "import sys; sys.exit(3)\n", "exit status 3"),
    ]:
        more = (PLACE / f"lvs_nat/{name}.py").read_text() if name == "core/memory" else ""
        install(more + text, name)
        # Asked by the version that runs: the one that is installed may not even do that.
        script = "from pathlib import Path; from lvs_nat.system.control import ask; "
        script += "ask(Path('/run/lvs-nat/control'), 'reexec', timeout=60)"
        ask = [sys.executable, "-c", script]
        done = director.lab.run("director", ask, check=False, timeout=90)
        shutil.copy2(TREE / f"lvs_nat/{name}.py", PLACE / f"lvs_nat/{name}.py")

        assert done.returncode == 1
        assert words in done.stderr
        assert "version 0.1.0 goes on, the one that is installed fails: " in done.stderr
    after = director.status()
    assert (after["pid"], after["loaded"]) == (before["pid"], before["loaded"])
    assert child(child(pid)) == prober
    assert descriptors(director) == open_before
    director.lab.kill_server("lvs01")
    director.until_table(LVS01, 3.5, present=False)


def test_a_version_that_only_the_probers_user_cannot_start_is_refused(director):
    pid = director.pid()
    prober = child(child(pid))
    secret = PLACE / "lvs_nat/daemon/engine.py"
    secret.chmod(0o600)
    shutil.rmtree(secret.with_name("__pycache__"))
    install()
    done = director.command("reexec", check=False)

    assert done.returncode == 1
    assert "fails: for its prober: " in done.stderr
    assert version(director) == "0.1.0"
    assert child(child(pid)) == prober
    secret.chmod(0o644)
    director.command("reexec")
    assert version(director) == "9.9.9"


def test_afterwards_it_lives_and_dies_like_any_other(director):
    director.command("reexec")
    pid = director.pid()
    spawner = child(pid)
    os.kill(child(spawner), signal.SIGKILL)
    director.lab.kill_server("lvs01")
    director.until_table(LVS01, 5, present=False)
    director.lab.start_server("lvs01")
    director.until_table(LVS01, 5)
    director.service("reload")
    director.service("restart")
    restarted = director.pid()
    os.kill(restarted, signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")

    assert restarted != pid
    assert director.table() == TUTORIAL
    director.service("start")
    assert director.server(LVS02)["state"] == "up"


def test_a_signal_in_the_midst_of_it_is_not_lost(director):
    pid = director.pid()
    log = Path(f"/proc/{pid}/environ")
    reexec = director.lab.popen("director", [director.program, "reexec"])
    until(lambda: b"LVS_NAT_HANDOVER" in log.read_bytes(), 60, "another image of the director")
    os.kill(pid, signal.SIGTERM)  # long before the new image can have made a handler
    reexec.wait(60)
    until(lambda: director.service("status", check=False).returncode == 2, 10, "its end in order")

    assert director.table() == TUTORIAL


def test_where_none_runs_there_is_nothing_to_go_on(director):
    director.service("stop")

    assert director.command("reexec", check=False).returncode == 7


def test_after_a_crash_with_broken_files_what_ran_goes_on_and_this_is_said(director):
    director.ipvsadm("-E", "-t", VIP, "-s", "wrr")
    memory = Path("/run/lvs-nat/state.json")
    until(lambda: "-s wrr" in memory.read_text(), 3, "the edit in the state file")
    RULES.write_text("nonsense\n")
    CONFIG.write_text("fal = 3\n")
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 3, "a dead director")
    said = director.command("start").stderr
    shown = director.command("status").stdout

    for words in (said, shown):
        assert "/etc/lvs-nat/lvs-nat.conf:1: there is no setting fal" in words
        assert "/etc/sysconfig/ipvsadm:1: " in words
    assert director.table() == TUTORIAL.replace("-s rr", "-s wrr")
    assert director.service("restart", check=False).returncode == 6
    assert director.table() == TUTORIAL.replace("-s rr", "-s wrr")
    RULES.write_text(TUTORIAL)
    CONFIG.write_text("")
    director.service("reload")
    assert "cannot be used" not in director.command("status").stdout
    assert director.table() == TUTORIAL


def test_after_an_end_in_order_broken_files_are_refused(director):
    os.kill(director.pid(), signal.SIGTERM)
    until(lambda: director.service("status", check=False).returncode == 2, 5, "its end")
    RULES.write_text("nonsense\n")
    done = director.service("start", check=False)

    assert done.returncode == 6
    assert director.table() == TUTORIAL


def test_a_director_that_was_called_by_a_relative_path_finds_its_program_again(director):
    place = Path("/run/lvs-nat-place")
    (place / "bin").mkdir(parents=True)
    script = place / "bin" / "lvs-nat"
    script.write_text(f"#!{sys.executable}\n{PROGRAM.read_text()}")
    script.chmod(0o755)
    director.service("stop")
    director.lab.run("director", ["sh", "-c", f"cd {place} && bin/lvs-nat start"])
    said = director.lab.run("director", [str(script), "reexec"]).stdout

    assert said.startswith(f"lvs-nat (pid {director.pid()}) goes on as version ")
