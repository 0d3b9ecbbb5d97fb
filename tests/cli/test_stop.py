"""The end of the service where the director itself can no longer bring it about."""

import io
import signal
import subprocess
import sys

import pytest

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main
from lvs_nat.cli.stop import end
from lvs_nat.core import memory
from lvs_nat.core.memory import Memory
from lvs_nat.core.plan import plan
from lvs_nat.core.spelling import spell
from lvs_nat.daemon.paths import Paths
from lvs_nat.model import Ruleset
from lvs_nat.system.files import boot_id
from lvs_nat.system.ipvs import Ipvs
from tests.builders import RS1, WEB, rules, service

OTHER = service("10.9.9.9:25", RS1)
SAVED = service("172.25.0.11:80", RS1)


STUBBORN = """
import pathlib, signal, sys
from lvs_nat.system.pidfile import PidFile
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "hangs" else signal.SIG_DFL)
with PidFile(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how, number", [("hangs", signal.SIGKILL), ("obeys", signal.SIGTERM)])
def test_a_director_that_hangs_is_killed_where_it_should_end(tmp_path, how, number):
    where = Paths(rules=tmp_path / "ipvsadm", run_dir=tmp_path)
    words = [sys.executable, "-c", STUBBORN, where.pid_file, how]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as director:
        assert director.stdout.readline() == b"locked\n"
        end(where, signal.SIGTERM, patience=0.2)

    assert director.returncode == -number


@pytest.fixture
def crashed(tmp_path):
    """Stop a director that has crashed, and give what is left of the table.

    What ran is what its state file says; saved and config are what the files hold by now.
    """
    places = {"--rules": "ipvsadm", "--config": "conf", "--run-dir": ".", "--state-dir": "."}
    words = [word for option, name in places.items() for word in (option, str(tmp_path / name))]

    def stop(state, saved, config):
        (tmp_path / "state.json").write_text(state)
        (tmp_path / "ipvsadm").write_text(saved)
        (tmp_path / "conf").write_text(config)
        with Ipvs() as kernel:
            kernel.flush()
            kernel.apply(plan(rules(*WEB.services.values(), OTHER, SAVED), Ruleset()))
            assert main(["stop", *words], Machine(io.StringIO(), io.StringIO(), 0)) == 0
            left = kernel.read().services
            kernel.flush()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "ipvsadm"]
        return left

    return stop


def left_by(settings, ran=WEB, **more):
    """Return the state file of a director that ran *ran* by *settings*."""
    text = spell(ran)
    return memory.spell(Memory(boot_id(), False, 0.0, "", text, text, settings, **more))


OURS, THEIRS = spell(WEB), spell(rules(SAVED))
ALL = (*WEB.services.values(), OTHER, SAVED)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "ran, saved, config, left",
    [
        ("", THEIRS, "", ()),
        ("", "nonsense\n", "nonsense = 1\n", ()),
        ("", OURS, "own = rules\n", ()),
        ("", OURS, "on_stop = keep\n", ()),
        ("own = rules\n", THEIRS, "own = rules\n", (OTHER, SAVED)),
        ("own = rules\n", OURS, "", (OTHER, SAVED)),
        ("own = rules\n", "nonsense\n", "nonsense = 1\n", (OTHER, SAVED)),
        ("on_stop = keep\n", OURS, "on_stop = keep\n", ALL),
        ("on_stop = keep\n", OURS, "", ALL),
        ("on_stop = keep\n", "nonsense\n", "nonsense = 1\n", ALL),
    ],
)
def test_a_stop_after_a_crash_does_what_the_settings_that_ran_say_whatever_the_files_hold(
    crashed, ran, saved, config, left
):
    assert crashed(left_by(ran), saved, config) == rules(*left).services


@pytest.mark.kernel
def test_with_own_rules_a_stop_after_a_crash_takes_what_a_reload_had_dropped_too(crashed):
    state = left_by("own = rules\n", rules(SAVED), dropped=OURS)

    assert crashed(state, THEIRS, "") == rules(OTHER).services


UNREADABLE = left_by("intervall = 1\n")


@pytest.mark.kernel
@pytest.mark.parametrize(
    "state, config, left",
    [
        ("torn", "", ()),
        ("torn", "own = rules\n", (OTHER, *WEB.services.values())),
        ("torn", "on_stop = keep\n", ALL),
        ("torn", "nonsense = 1\n", (OTHER, *WEB.services.values())),
        (UNREADABLE, "", ()),
        (UNREADABLE, "own = rules\n", (OTHER, SAVED)),
        (UNREADABLE, "nonsense = 1\n", (OTHER, SAVED)),
    ],
)
def test_where_what_ran_is_not_known_the_files_count_and_in_doubt_no_more_than_our_rules_goes(
    crashed, state, config, left
):
    assert crashed(state, THEIRS, config) == rules(*left).services
