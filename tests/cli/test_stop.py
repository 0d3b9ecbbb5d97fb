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
    """Stop a director that has crashed, having run WEB; give what is left of the table."""
    text = memory.spell(Memory(boot_id(), False, 0.0, "", spell(WEB), spell(WEB), ""))
    (tmp_path / "state.json").write_text(text)
    places = {"--rules": "ipvsadm", "--config": "conf", "--run-dir": ".", "--state-dir": "."}
    words = [word for option, name in places.items() for word in (option, str(tmp_path / name))]

    def stop(saved, config):
        (tmp_path / "ipvsadm").write_text(saved)
        (tmp_path / "conf").write_text(config)
        with Ipvs() as kernel:
            kernel.flush()
            kernel.apply(plan(rules(*WEB.services.values(), OTHER, SAVED), Ruleset()))
            assert main(["stop", *words], Machine(io.StringIO(), io.StringIO(), 0)) == 0
            left = kernel.read().services
            kernel.flush()
        return left, sorted(path.name for path in tmp_path.iterdir())

    return stop


@pytest.mark.kernel
@pytest.mark.parametrize(
    "saved, config, left",
    [
        (spell(rules(SAVED)), "", ()),
        ("nonsense\n", "", ()),
        (spell(rules(SAVED)), "own = rules\n", (OTHER, SAVED)),
        ("nonsense\n", "own = rules\n", (OTHER, SAVED)),
        (spell(WEB), "nonsense = 1\n", (OTHER, SAVED)),
        (spell(WEB), "on_stop = keep\n", (*WEB.services.values(), OTHER, SAVED)),
        ("nonsense\n", "on_stop = keep\n", (*WEB.services.values(), OTHER, SAVED)),
    ],
)
def test_after_a_crash_what_ran_is_cleared_and_no_more_than_the_settings_allow(
    crashed, saved, config, left
):
    assert crashed(saved, config) == (rules(*left).services, ["conf", "ipvsadm"])
