"""What is typed where systemd runs the service, with a systemctl that the test plays."""

import argparse
import io
import os

import pytest

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main
from lvs_nat.cli.systemd import Systemd, stopping
from lvs_nat.daemon.paths import defaults
from lvs_nat.errors import LvsNatError
from lvs_nat.system.ipvs import Ipvs
from lvs_nat.system.pidfile import PidFile, holder

PROGRAM = """\
#!/bin/sh
echo "${{0##*/}} $*" >>{folder}/calls
case $1 in
    show) cat {folder}/show ;;
    list-jobs) cat {folder}/jobs ;;
    --sync) ;;
    --quiet) cat {folder}/journal ;;
    *) echo "Job for lvs-nat.service failed." >&2; exit "$(cat {folder}/code)" ;;
esac
"""
OF_THE_SHELL = "0::/user.slice/user-0.slice/session-1.scope\n"
OF_THE_UNIT = "0::/system.slice/lvs-nat.service\n"
SHOWN = "LoadState=loaded\nActiveState={}\nExecMainStatus={}\n"


class Host:
    """A machine that systemd runs; what its programs are to answer lies in files."""

    def __init__(self, folder):
        self.folder = folder
        self.out, self.err = io.StringIO(), io.StringIO()
        (folder / "bin").mkdir()
        (folder / "booted").mkdir()
        for name in ("systemctl", "journalctl"):
            (folder / "bin" / name).write_text(PROGRAM.format(folder=folder))
            (folder / "bin" / name).chmod(0o755)
        self.answer(cgroup=OF_THE_SHELL, show=SHOWN.format("inactive", 0))
        self.answer(jobs="", journal="", code="0", calls="")

    def answer(self, **texts):
        for name, text in texts.items():
            (self.folder / name).write_text(text)

    @property
    def systemd(self):
        return Systemd(self.folder / "booted", self.folder / "cgroup")

    @property
    def orders(self):
        """What systemctl was told to do to the unit."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line.split()[1] for line in lines if line.endswith(" lvs-nat.service")
                and line.split()[:2] != ["systemctl", "show"]
                and line.startswith("systemctl")]  # fmt: skip

    def type(self, *words):
        """Run a command as root; return its exit code."""
        return main(words, Machine(self.out, self.err, 0, self.systemd))


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Host(tmp_path)


def typed(**given):
    names = ("rules", "config", "run_dir", "state_dir")
    return argparse.Namespace(**{name: given.get(name) for name in names})


@pytest.mark.parametrize("state", ["active", "inactive", "failed", "activating"])
def test_the_state_of_the_unit_is_systemds(host, state):
    host.answer(show=SHOWN.format(state, 0))

    assert host.systemd.state(typed()) == state


@pytest.mark.parametrize(
    "answers, given",
    [
        ({"show": "LoadState=not-found\nActiveState=inactive\n"}, {}),
        ({"show": ""}, {}),  # a chroot: systemctl ignores what is asked
        ({"cgroup": OF_THE_UNIT}, {}),
        ({"cgroup": f"12:pids:/x\n1:name=systemd:{OF_THE_UNIT[3:]}"}, {}),
        ({}, {"rules": "./ipvsadm"}),
        ({}, {"run_dir": "/tmp/mine"}),
    ],
)
def test_without_the_unit_within_it_or_with_files_of_ones_own_systemd_is_not_asked(
    host, answers, given
):
    host.answer(**answers)

    assert host.systemd.state(typed(**given)) == ""


def test_a_machine_that_systemd_does_not_run_is_not_asked(host):
    (host.folder / "booted").rmdir()

    assert host.systemd.state(typed()) == ""
    assert (host.folder / "calls").read_text() == ""


def test_a_machine_without_systemctl_is_no_systemds(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert Systemd(tmp_path, tmp_path / "cgroup").state(typed()) == ""
    assert not stopping()


@pytest.mark.parametrize(
    "verb, status, code",
    [("start", 6, 6), ("restart", 5, 5), ("start", 1, 1), ("start", 0, 1), ("reload", 6, 1)],
)
def test_a_failed_order_is_told_in_the_units_words_with_its_exit_code(host, verb, status, code):
    host.answer(code="1", show=SHOWN.format("failed", status), journal="one\ntwo\n")
    with pytest.raises(LvsNatError) as caught:
        host.systemd.order(verb)

    assert (str(caught.value), caught.value.exit_code) == ("one\ntwo", code)


def test_a_unit_that_said_nothing_leaves_it_to_systemctl(host):
    host.answer(code="1")

    with pytest.raises(LvsNatError, match=r"^Job for lvs-nat\.service failed\.$"):
        host.systemd.order("stop")


@pytest.mark.parametrize(
    "jobs, answer",
    [
        ("", False),  # the director crashed, or was told to end: no job at all
        (" 812 lvs-nat.service stop    running\n", True),
        (" 812 lvs-nat.service restart running\n", False),
        (" 812 lvs-nat.service start   waiting\n", False),
        (" 812 other.service   stop    running\n", False),
        (" 811 ipvsadm.service start   waiting\n 812 lvs-nat.service stop    running\n", True),
    ],
)
def test_only_a_stop_job_takes_the_service_down(host, jobs, answer):
    host.answer(jobs=jobs)

    assert stopping() is answer


@pytest.mark.kernel
@pytest.mark.parametrize("word", ["start", "restart"])
def test_a_start_is_ordered_and_then_shows_the_table_as_ever(host, word):
    with Ipvs() as kernel:
        kernel.flush()
        code = host.type(word)

    assert (code, host.orders, host.err.getvalue()) == (0, [word], "")
    assert host.out.getvalue().startswith("IP Virtual Server version ")


@pytest.mark.kernel
def test_a_start_that_the_unit_refuses_ends_with_its_words_and_its_code(host):
    host.answer(code="1", show=SHOWN.format("failed", 6), journal="ipvsadm:1: wrong\n")

    assert host.type("start") == 6
    assert (host.out.getvalue(), host.err.getvalue()) == ("", "lvs-nat: ipvsadm:1: wrong\n")


MASKED = "LoadState=masked\nActiveState={}\n"


@pytest.mark.parametrize("load", ["masked", "bad-setting", "error"])
@pytest.mark.parametrize("state", ["inactive", "active"])
def test_a_unit_that_systemd_may_not_start_is_still_its_unit(host, load, state):
    host.answer(show=f"LoadState={load}\nActiveState={state}\n")

    assert host.systemd.state(typed()) == state


@pytest.mark.kernel
@pytest.mark.parametrize("word", ["start", "restart"])
def test_a_masked_unit_is_not_started_past_systemd(host, word):
    host.answer(show=MASKED.format("inactive"), code="1")

    assert host.type(word) == 1
    assert (host.orders, host.out.getvalue(), host.err.getvalue()) == ([], "", f"{REFUSAL}\n")
    assert holder(defaults().pid_file) is None


REFUSAL = (
    "lvs-nat: lvs-nat.service is masked, so that nobody starts it: "
    "`systemctl unmask lvs-nat.service` allows it"
)


@pytest.mark.kernel
@pytest.mark.parametrize("word, code", [("stop", 0), ("try-restart", 0)])
def test_a_masked_unit_at_rest_may_be_stopped_and_is_not_restarted(host, word, code):
    host.answer(show=MASKED.format("inactive"), code="1")

    assert (host.type(word), host.orders) == (code, [])


@pytest.mark.kernel
def test_a_masked_unit_that_runs_still_is_stopped_by_systemd(host):
    host.answer(show=MASKED.format("active"))

    assert (host.type("stop"), host.orders) == (0, ["stop"])


@pytest.mark.kernel
@pytest.mark.parametrize("word", ["restart", "try-restart"])
def test_the_director_of_a_masked_unit_is_not_ended_for_a_restart(host, director, word):
    host.answer(show=MASKED.format("active"))

    assert (host.type(word), host.orders, host.err.getvalue()) == (1, [], f"{REFUSAL}\n")


@pytest.mark.kernel
@pytest.mark.parametrize(
    "state, ordered, said",
    [
        ("active", ["stop"], ""),
        ("activating", ["stop"], ""),  # it has crashed, and is about to be started again
        ("inactive", [], "lvs-nat is not running\n"),
        ("failed", [], "lvs-nat is not running\n"),
    ],
)
def test_a_stop_is_ordered_where_the_unit_is_not_at_rest(host, state, ordered, said):
    host.answer(show=SHOWN.format(state, 0))

    assert host.type("stop") == 0
    assert (host.orders, host.out.getvalue()) == (ordered, said)


@pytest.fixture
def director():
    """Hold the lock as a director of this machine would, at its usual place."""
    pid_file = defaults().pid_file
    pid_file.parent.mkdir(exist_ok=True)
    with PidFile(pid_file):
        yield


@pytest.mark.kernel
@pytest.mark.parametrize(
    "word, code",
    [
        ("restart", 6),  # there are no rules
        ("reload", 7),  # it does not answer
    ],
)
def test_a_director_that_is_not_the_units_is_not_ordered_about(host, director, word, code):
    assert host.type(word) == code  # so far the command itself has come

    assert host.orders == []


@pytest.mark.kernel
@pytest.mark.parametrize("word", ["restart", "reload", "try-restart"])
def test_nothing_is_ordered_of_the_units_director_before_it_has_judged_its_files(
    host, director, word
):
    host.answer(show=SHOWN.format("active", 0))

    assert host.type(word) == 7  # it does not answer
    assert host.orders == []


@pytest.mark.kernel
def test_try_restart_starts_nothing(host):
    assert host.type("try-restart") == 0
    assert host.orders == []
