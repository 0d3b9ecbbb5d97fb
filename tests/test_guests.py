"""Tests that are sent to a guest end as they would at home, whatever becomes of the guest."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.lab, pytest.mark.outside, pytest.mark.limit(300)]

SUITE = """
import os, signal, time
from pathlib import Path
import pytest

def test_at_home(): assert "LVS_NAT_LAB" not in os.environ

kernel = pytest.mark.kernel

@kernel
def test_passes(): assert "LVS_NAT_LAB" in os.environ
@kernel
def test_fails(): assert "this" == "that"
@kernel
def test_is_skipped(): pytest.skip("the reason")
@kernel
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
@pytest.fixture
def broken(): raise OSError("no fixture")
@kernel
def test_has_no_fixture(broken): pass
@kernel
@pytest.mark.limit(2)
def test_hangs(): time.sleep(60)
@kernel
@pytest.mark.limit(2)
def test_hangs_deaf():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    time.sleep(60)
@kernel
def test_kills_the_kernel():
    Path("/proc/sysrq-trigger").write_text("c")
    time.sleep(60)
@kernel
@pytest.mark.parametrize("word", ["a", "b"])
def test_goes_on(word): assert word == "a"
"""


@pytest.fixture
def suite(tmp_path):
    """Give a function that runs the suite above in a tree of its own: (status, lines)."""
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "conftest.py", "guests.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    for name in ("lvs_nat", "setup.cfg"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "tests" / "test_it.py").write_text(SUITE)

    def run(*arguments, **environ):
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "LVS_NAT_LAB_KERNEL": "uml", **environ},
            capture_output=True,
            text=True,
            timeout=280,
        )
        return done.returncode, done.stdout

    return run


def outcomes(text):
    """Return what the verbose listing says of each test."""
    lines = (line.split() for line in text.splitlines() if line.startswith("tests/test_it.py::"))
    return {words[0].partition("::test_")[2]: words[1] for words in lines if len(words) > 1}


def test_each_ends_as_it_would_at_home_and_only_the_guilty_suffers(suite):
    status, text = suite()

    assert status == 1
    assert outcomes(text) == {
        "at_home": "PASSED",
        "passes": "PASSED",
        "fails": "FAILED",
        "is_skipped": "SKIPPED",
        "is_expected_to_fail": "XFAIL",
        "has_no_fixture": "ERROR",
        "hangs": "FAILED",
        "hangs_deaf": "FAILED",
        "kills_the_kernel": "FAILED",
        "goes_on[a]": "PASSED",
        "goes_on[b]": "FAILED",
    }
    for words in (
        "AssertionError: assert 'this' == 'that'",
        "SKIPPED [1] tests/test_it.py:15: the reason",
        "OSError: no fixture",
        "no end within 2 s",
        "Timeout (0:00:12)!",
        "Kernel panic - not syncing: sysrq triggered crash",
    ):
        assert words in text


@pytest.mark.parametrize(
    "arguments, ran",
    [
        (["-k", "passes or goes_on"], {"passes": 1, "goes_on[a]": 1, "goes_on[b]": 0}),
        (["tests/test_it.py::test_goes_on[a]"], {"goes_on[a]": 1}),
        (["-x"], {"at_home": 1, "passes": 1, "fails": 0}),
    ],
)
def test_choosing_tests_works_as_ever(suite, arguments, ran):
    _, text = suite(*arguments)

    assert outcomes(text) == {name: "PASSED" if good else "FAILED" for name, good in ran.items()}


def test_without_a_kernel_they_are_errors_never_skipped(suite, tmp_path):
    (tmp_path / "bin").mkdir()
    for program in ("setpriv", "taskset"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    status, text = suite("-k", "passes", LVS_NAT_LAB_PACKAGES="download", PATH=f"{tmp_path}/bin")

    assert (status, outcomes(text)) == (1, {"passes": "ERROR"})
    assert "there is no apt to fetch user-mode Linux with" in text


def test_a_required_kernel_or_boot_that_tested_nothing_fails_the_run(suite):
    for option in ("--require-kernel", "--require-boot"):
        assert suite(option, "-k", "passes")[0] == 1
    assert suite("-k", "passes")[0] == 0
