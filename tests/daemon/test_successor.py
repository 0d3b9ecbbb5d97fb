"""What is installed is tried before anybody gives way to it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lvs_nat
from lvs_nat.core import memory
from lvs_nat.daemon import handover
from lvs_nat.daemon.handover import Part
from lvs_nat.daemon.paths import Paths
from lvs_nat.system.files import boot_id

TREE = Path(lvs_nat.__file__).parent
RULES = "-A -t 10.0.0.1:80 -s rr\n"
# Those of the floors that somebody may load who has taken over.
MODULES = sorted(
    f"lvs_nat.{floor}.{path.stem}"
    for floor in ("core", "system", "checks", "daemon")
    for path in (TREE / floor).glob("*.py")
    if path.stem != "__init__"
)
TRIAL = """
import os, sys
from lvs_nat.daemon.successor import succeed
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # as if these were not installed
code = succeed(os.environ.pop("LVS_NAT_HANDOVER"))
print(*sorted(name for name, it in sys.modules.items() if it))
sys.exit(code)
"""


@pytest.fixture
def known(tmp_path):
    """The paths of a director that has written down what it knows."""
    paths = Paths(tmp_path / "rules", run_dir=tmp_path)
    found = memory.Memory(boot_id(), False, 1.0, "", RULES, RULES, "")
    paths.memory.write_text(memory.spell(found))
    return handover.spell_paths(paths)


def tried(told, place, *absent):
    """Try what is installed in *place*, as its director is told; return how that ended."""
    environ = {**handover.environ(Part.TRIAL, **told), "PYTHONPATH": str(place)}
    command = [sys.executable, "-c", TRIAL, *absent]
    return subprocess.run(command, env=environ, cwd=place, capture_output=True, text=True)


@pytest.mark.parametrize("part", ["director", "spawner"])
def test_all_that_may_ever_be_loaded_is_loaded_in_the_trial(known, part):
    done = tried({"paths": known} if part == "director" else {}, TREE.parent)

    assert done.stderr == ""
    assert sorted(set(MODULES) & set(done.stdout.split())) == MODULES


def test_a_library_that_nobody_must_have_may_be_absent_from_a_trial(known):
    done = tried({"paths": known}, TREE.parent, "pyroute2", "dns", "h2")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "module, text, words",
    [
        ("daemon/service", "this is no Python\n", "SyntaxError"),
        ("daemon/desk", "from lvs_nat.model import Nothing\n", "cannot import name 'Nothing'"),
        ("system/ipvs", "import no_such_module\n", "No module named 'no_such_module'"),
        ("system/links", "from lvs_nat import nothing\n", "cannot import name 'nothing'"),
        ("checks/dns", "import no_such_module\n", "No module named 'no_such_module'"),
        ("core/report", "this is no Python\n", "SyntaxError"),
    ],
)
def test_a_version_that_lacks_what_is_needed_later_fails_its_trial(
    known, tmp_path, module, text, words
):
    shutil.copytree(TREE, tmp_path / "lvs_nat", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lvs_nat" / f"{module}.py").write_text(text)
    done = tried({"paths": known}, tmp_path)

    assert done.returncode == 1
    assert words in done.stderr
