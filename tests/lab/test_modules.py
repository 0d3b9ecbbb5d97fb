"""Kernel modules that go and come under a running director."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat.lab import kernel

ROOT = Path(__file__).parent.parent.parent
TESTS = Path(__file__).with_name("own_kernel.py")


@pytest.mark.lab
@pytest.mark.outside
@pytest.mark.limit(240)
@pytest.mark.skipif(
    kernel.choose(os.environ) is kernel.Kind.NATIVE and not shutil.which("apt-get"),
    reason="this machine's own kernel has IPVS, and there is no user-mode Linux for it",
)
def test_modules_may_go_and_come_under_a_running_director():
    done = subprocess.run(
        [sys.executable, "-m", "lvs_nat.lab", "-t", "220", "--", sys.executable, "-m", "pytest",
         "-q", "-p", "no:cacheprovider", TESTS],
        env={**os.environ, "LVS_NAT_LAB_KERNEL": "uml", "PYTEST_ADDOPTS": ""},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
