"""Bad input, on a real kernel: one clear sentence, the right exit code, and nothing touched."""

from pathlib import Path

import pytest

from tests.lab.director import RULES, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab

FORWARD = "net/ipv4/ip_forward"
OTHERS = "-A -t 10.9.9.9:25 -s wlc\n-a -t 10.9.9.9:25 -r 192.168.122.10:25 -m -w 3\n"


@pytest.fixture(scope="module")
def director():
    with Director() as director:
        yield director


@pytest.fixture
def untouched(director):
    """Somebody else's table and settings, which a refused start must leave as they are."""
    director.lab.run("director", ["ipvsadm-restore"], input=OTHERS)
    director.sysctl(FORWARD, "0")
    yield director
    assert director.table() == OTHERS
    assert director.sysctl(FORWARD) == "0"
    assert not Path("/run/lvs-nat/sysctl.json").exists()
    RULES.unlink(missing_ok=True)


def write(text):
    RULES.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "does not exist: lvs-nat is not configured"),
        ("", "has no virtual service: lvs-nat is not configured"),
        ("# nothing yet\n\n", "has no virtual service: lvs-nat is not configured"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "ipvsadm:1: there is a NUL byte"),
        (b"-A -t 10.0.0.1:80\xff\n", "ipvsadm:1: there is a byte that is not UTF-8"),
        (b"#" * (16 * 1024 * 1024 + 1), "16 MiB"),
        ("-A -t 172.25.0.10:80 -s nosuch\n", "nosuch"),
        (TUTORIAL[:-4], "ipvsadm:3: "),
        (TUTORIAL.replace("-s rr", "--shceduler rr"), "ipvsadm:1: "),
        (TUTORIAL.replace("-w 10", "-w ten"), "ipvsadm:3: "),
        ("-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m\n", "ipvsadm:1: "),
    ],
    ids=lambda value: None if value is None else str(value)[:24],
)
def test_a_rule_file_that_cannot_be_used_is_refused_with_6(untouched, text, words):
    RULES.unlink(missing_ok=True)
    if text is not None:
        write(text)
    done = untouched.command("start", check=False)

    assert (done.returncode, done.stdout) == (6, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_in_place_of_the_rule_file_is_refused_with_6(untouched):
    RULES.unlink(missing_ok=True)
    RULES.mkdir()
    done = untouched.command("start", check=False)
    RULES.rmdir()

    assert done.returncode == 6
    assert str(RULES) in done.stderr


def test_a_wrong_setting_is_refused_with_its_line_and_the_nearest_name(untouched):
    write(TUTORIAL)
    config = Path("/etc/lvs-nat/lvs-nat.conf")
    config.write_text("interval = 1\nintervall = 2\n")
    done = untouched.command("start", check=False)
    config.write_text("")

    assert done.returncode == 6
    assert "lvs-nat.conf:2: " in done.stderr
    assert "interval" in done.stderr


def test_a_scheduler_that_this_kernel_cannot_load_leaves_everything_as_it_was(untouched):
    write(TUTORIAL.replace("-s rr", "-s twos"))
    done = untouched.command("start", check=False)

    assert done.returncode in (1, 6)
    assert "twos" in done.stderr


@pytest.mark.parametrize("action, code", [("reload", 7), ("save", 7), ("stop", 0), ("status", 3)])
def test_a_director_that_does_not_run_is_said_so(untouched, action, code):
    write(TUTORIAL)

    assert untouched.command(action, check=False).returncode == code


def test_a_reload_of_a_bad_file_is_refused_and_the_old_one_goes_on(director):
    director.ipvsadm("-C")
    write(TUTORIAL)
    director.service("start")
    write(TUTORIAL.replace("-w 5", "-w five"))
    done = director.service("reload", check=False)
    after = director.table()
    again = director.service("restart", check=False)
    running = director.command("status", check=False).returncode
    write(TUTORIAL)
    director.service("stop")

    assert (done.returncode, again.returncode, running) == (6, 6, 0)
    assert "ipvsadm:2: " in done.stderr
    assert after == TUTORIAL


def test_a_reload_of_a_scheduler_that_cannot_be_loaded_says_so_and_serves_on(director):
    write(TUTORIAL)
    director.service("start")
    write(TUTORIAL.replace("-s rr", "-s twos"))
    done = director.service("reload", check=False)
    after = director.table()
    write(TUTORIAL)
    director.service("stop")

    assert done.returncode != 0
    assert "twos" in done.stderr
    assert after == TUTORIAL


def test_what_runs_without_a_file_can_still_be_stopped(director):
    write(TUTORIAL)
    director.service("start")
    RULES.unlink()
    director.service("stop")

    assert director.table() == ""
    assert VIP not in director.ipvsadm("-L", "-n")
