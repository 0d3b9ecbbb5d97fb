"""The init script, run by two shells on three kinds of system with a program that only answers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPT = HERE.parent.parent / "packaging" / "lvs-nat.init"
TABLE = "IP Virtual Server version 1.2.1 (size=4096)\nTCP  172.25.0.10:80 rr\n"
SAVING = "lvs-nat: Saving IPVS table to /etc/sysconfig/ipvsadm: "
ACTIONS = [
    "start",
    "stop",
    "restart",
    "try-restart",
    "condrestart",
    "reload",
    "force-reload",
    "status",
    "save",
    "configtest",
    "reexec",
]
GREEN = "GREEN='0;32' RED='0;31'\n"  # as EL6's /etc/sysconfig/init sets them


class Machine:
    """A root folder with one kind of init functions, the script and a program that answers."""

    def __init__(self, root, shell, kind):
        self.root, self.shell = root, shell
        self.lock = root / "var/lock/subsys/lvs-nat"
        for folder in ("etc/rc.d/init.d", "etc/sysconfig", "lib/lsb", "var/lock/subsys"):
            (root / folder).mkdir(parents=True)
        if kind == "redhat":
            text = (HERE / "functions").read_text()
            self.write("etc/rc.d/init.d/functions", text.replace("/etc/", f"{root}/etc/"))
        if kind == "lsb":
            self.write("lib/lsb/init-functions", (HERE / "lsb-functions").read_text())
        own = r"(?<=[ =])(/etc/(?!sysconfig/ipvsadm|ipvsadm)|/lib/lsb/|/var/lock/)"
        self.write("lvs-nat.init", re.sub(own, rf"{root}\1", SCRIPT.read_text()))
        self.answer()

    def write(self, name, text, mode=0o644):
        (self.root / name).write_text(text)
        (self.root / name).chmod(mode)

    def answer(self, code=0, says="", complains="", status=None):
        """Let the program end with *code*; for the action status, with *status* if given."""
        status = code if status is None else status
        self.write("says", says)
        self.write("complains", complains)
        self.write(
            "lvs-nat",
            f"""#!/bin/sh
            echo "$@" >>{self.root}/asked; env >{self.root}/env
            cat {self.root}/says; cat {self.root}/complains >&2
            [ "$1" != status ] || exit {status}
            exit {code}
            """,
            0o755,
        )

    def service(self, *words, **environment):
        """Return exit code, standard output and standard error of the script."""
        done = subprocess.run(
            [self.shell, f"{self.root}/lvs-nat.init", *words],
            capture_output=True,
            env={"LVS_NAT": f"{self.root}/lvs-nat", "PATH": "/nowhere", **environment},
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def asked(self):
        """Return what the program was called with, one line a call."""
        path = self.root / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(params=["dash", "bash"])
def shell(request):
    return shutil.which(request.param)


@pytest.fixture(params=["redhat", "lsb", "plain"])
def machine(request, tmp_path, shell):
    return Machine(tmp_path, shell, request.param)


@pytest.fixture
def redhat(tmp_path, shell):
    return Machine(tmp_path, shell, "redhat")


@pytest.fixture
def plain(tmp_path, shell):
    return Machine(tmp_path, shell, "plain")


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_asks_the_program_and_succeeds_with_it(machine, action):
    code, _, complaint = machine.service(action)

    assert (code, complaint) == (0, "")
    assert machine.asked()[-1].strip() == {"condrestart": "try-restart"}.get(action, action)


@pytest.mark.parametrize("code", range(1, 8))
@pytest.mark.parametrize("action", ["start", "try-restart", "configtest"])
def test_the_programs_exit_code_is_the_scripts(plain, action, code):
    plain.answer(code, complains="lvs-nat: why\n")

    assert plain.service(action)[0] == code


@pytest.mark.parametrize("code", [8, 99, 137, 255])
def test_an_exit_code_that_lsb_does_not_know_becomes_a_general_failure(plain, code):
    plain.answer(code)

    assert plain.service("reload")[0] == 1


@pytest.mark.parametrize("code", range(5))
def test_status_is_what_the_program_says(machine, code):
    machine.answer(status=code, says="the state\n")

    assert machine.service("status") == (code, "the state\n", "")


@pytest.mark.parametrize("words", [(), ("bogus",), ("Start",), ("",)])
def test_any_other_word_gets_the_usage(plain, words):
    assert plain.service(*words) == (
        2,
        "",
        f"Usage: {plain.root}/lvs-nat.init {{{'|'.join(USAGE)}}}\n",
    )
    assert plain.asked() == []


LAST = ("status", "save", "configtest", "reexec")
USAGE = [*(action for action in ACTIONS if action not in LAST), *LAST]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_removed_program_is_named(plain, action):
    (plain.root / "lvs-nat").unlink()

    code, _, complaint = plain.service(action)

    assert code == (4 if action == "status" else 5)
    assert complaint == f"lvs-nat: {plain.root}/lvs-nat is not installed\n"


def test_a_program_whose_python_was_removed_is_not_installed_either(machine):
    machine.write("lvs-nat", "#!/nowhere/python3\n", 0o755)

    code, _, complaint = machine.service("start")

    assert code == 5
    assert f"{machine.root}/lvs-nat" in complaint


def test_start_tells_how_it_went_then_shows_the_table(tmp_path, shell):
    shown = {}
    for kind in ("redhat", "lsb", "plain"):
        (tmp_path / kind).mkdir()
        machine = Machine(tmp_path / kind, shell, kind)
        machine.answer(says=TABLE)
        shown[kind] = machine.service("start")

    assert shown == {
        "redhat": (0, "Starting lvs-nat: \033[60G[\033[1;32m  OK  \033[0;39m]\r\n" + TABLE, ""),
        "lsb": (0, "Starting lvs-nat.\n" + TABLE, ""),
        "plain": (0, "Starting lvs-nat: ".ljust(59) + "[  OK  ]\n" + TABLE, ""),
    }


def test_a_failed_start_tells_why_on_standard_error(tmp_path, shell):
    shown = {}
    for kind in ("redhat", "lsb", "plain"):
        (tmp_path / kind).mkdir()
        machine = Machine(tmp_path / kind, shell, kind)
        machine.answer(6, complains="ipvsadm:2: -w five is not a number\n")
        shown[kind] = machine.service("start")

    why = "ipvsadm:2: -w five is not a number\n"
    assert shown == {
        "redhat": (6, "Starting lvs-nat: \033[60G[\033[1;31mFAILED\033[0;39m]\r\n", why),
        "lsb": (6, "Starting lvs-nat ... failed!\n", why),
        "plain": (6, "Starting lvs-nat: ".ljust(59) + "[FAILED]\n", why),
    }


@pytest.mark.parametrize(
    "colours, code, line",
    [
        (GREEN, 0, "\033[60G[\033[0;32m  OK  \033[0;39m]\r\n"),
        ("", 0, "\033[60G[\033[1;32m  OK  \033[0;39m]\r\n"),
        (GREEN, 1, "\033[60G[\033[0;31mFAILED\033[0;39m]\r\n"),
        ("CONSOLETYPE=serial\n", 0, "[  OK  ]\r\n"),
    ],
)
def test_save_prints_the_bytes_that_el6_prints(redhat, colours, code, line):
    redhat.write("etc/sysconfig/init", colours)
    redhat.answer(code)

    assert redhat.service("save") == (code, SAVING + line, "")


def test_save_keeps_the_column_without_colour(plain):
    code, said, _ = plain.service("save")

    assert (code, said) == (0, SAVING.ljust(59) + "[  OK  ]\n")
    assert said.index("[") == 59  # the sixtieth column


@pytest.mark.parametrize(
    "options, path",
    [
        ("--rules /srv/rules", "/srv/rules"),
        ("--config /c --rules=/srv/rules --run-dir /r", "/srv/rules"),
        ("--config /c", "/etc/sysconfig/ipvsadm"),
    ],
)
def test_options_of_the_sysconfig_file_reach_the_program(plain, options, path):
    plain.write("etc/sysconfig/lvs-nat", f'OPTIONS="{options}"\n')

    _, said, _ = plain.service("save", OPTIONS="--rules /from/the/environment")

    assert plain.asked() == [f"save {options}"]
    assert said == f"lvs-nat: Saving IPVS table to {path}: ".ljust(59) + "[  OK  ]\n"


def test_save_names_the_rule_file_of_debian_where_there_is_no_sysconfig(plain):
    plain.write("etc/debian_version", "12\n")
    (plain.root / "etc/sysconfig").rmdir()

    assert plain.service("save")[1].startswith("lvs-nat: Saving IPVS table to /etc/ipvsadm.rules: ")


def test_the_program_sees_nothing_of_the_callers_environment(plain):
    plain.service("start", PYTHONPATH="/tmp/evil", LD_PRELOAD="", HOME="/root", LANG="zh_CN.UTF-8")

    lines = (plain.root / "env").read_text().splitlines()
    shell_adds = ("PWD=", "OLDPWD=", "SHLVL=", "_=")
    assert sorted(line for line in lines if not line.startswith(shell_adds)) == [
        "LANG=zh_CN.UTF-8",
        "LVS_NAT_OPTIONS=all",
        "PATH=/sbin:/usr/sbin:/bin:/usr/bin",
        "TERM=dumb",
    ]


@pytest.mark.parametrize(
    "action, code, before, after",
    [
        ("start", 0, False, True),
        ("start", 6, False, False),
        ("restart", 0, False, True),
        ("restart", 1, True, True),
        ("reload", 0, True, True),
        ("stop", 0, True, False),
        ("stop", 0, False, False),
        ("stop", 4, True, True),
    ],
)
def test_the_subsys_lock_stands_while_shutdown_has_something_to_stop(
    plain, action, code, before, after
):
    if before:
        plain.lock.touch()
    plain.answer(code)
    plain.service(action)

    assert plain.lock.exists() is after


@pytest.mark.parametrize("action", ["start", "restart", "stop"])
def test_systems_without_subsys_locks_are_left_without(plain, action):
    plain.lock.parent.rmdir()

    assert plain.service(action)[0] == 0
    assert not plain.lock.parent.exists()


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_link_in_the_place_of_the_locks_is_not_followed(plain, action):
    """On Debian whoever comes first makes that folder."""
    other = plain.root / "other"
    plain.lock.parent.rename(other)
    (other / plain.lock.name).write_text("precious")
    plain.lock.parent.symlink_to(other)

    assert plain.service(action)[0] == 0
    assert (other / plain.lock.name).read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("action", ["start", "restart"])
def test_locks_in_a_folder_of_somebody_else_are_not_written(plain, action):
    precious = plain.root / "precious"
    precious.write_text("precious")
    plain.lock.symlink_to(precious)
    os.chown(plain.lock.parent, 65534, 65534)

    assert plain.service(action)[0] == 0
    assert precious.read_text() == "precious"


def test_a_conditional_restart_of_a_stopped_service_is_not_announced(machine):
    machine.answer(status=3)

    assert machine.service("condrestart") == (0, "", "")
    assert machine.asked() == ["status", "try-restart"]


def test_chkconfig_leaves_the_service_off_and_reads_it_whole():
    text = SCRIPT.read_text()
    header = re.search(r"^### BEGIN INIT INFO *\n(.*?)^### END INIT INFO *\n", text, re.M | re.S)

    assert re.search(r"^# chkconfig: - 28 72$", text, re.M)
    assert re.search(r"^# description: \S", text, re.M)
    assert re.search(r"^# pidfile: /run/lvs-nat/lvs-nat.pid$", text, re.M)
    assert header
    assert all(re.match(r"# (\S+: \S|  +\S)", line) for line in header[1].splitlines())
    assert "Default-Start" not in text


def test_the_script_stays_small_and_every_shell_can_read_it(shell):
    assert len(SCRIPT.read_text().splitlines()) < 80
    assert SCRIPT.stat().st_mode & 0o777 == 0o755
    subprocess.run([shell, "-n", SCRIPT], check=True)


@pytest.mark.parametrize("action", ["save", "configtest"])
def test_legacy_actions_keep_the_service_command_working(plain, action):
    packaged = SCRIPT.parent / "legacy-actions" / action
    text = packaged.read_text().replace("/usr/share/lvs-nat", str(plain.root))
    plain.write("action", text)

    done = subprocess.run(
        [plain.shell, plain.root / "action"], env={"LVS_NAT": f"{plain.root}/lvs-nat"}
    )

    assert (done.returncode, plain.asked()) == (0, [action])
    assert packaged.stat().st_mode & 0o777 == 0o755
