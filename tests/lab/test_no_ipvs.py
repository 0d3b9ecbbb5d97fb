"""A kernel that has no IPVS, or will not load it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat.lab import kernel

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
mount --bind /bin/false /sbin/modprobe
mkdir -p /etc/sysconfig
echo '-A -t 10.0.0.1:80 -s rr' >/etc/sysconfig/ipvsadm
echo '-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1' >>/etc/sysconfig/ipvsadm
echo 0 >/proc/sys/net/ipv4/ip_forward
"$0" -m lvs_nat.cli.main start
echo "exit $?, ip_forward $(cat /proc/sys/net/ipv4/ip_forward), left: $(ls /run/lvs-nat)"
"""


@pytest.mark.lab
@pytest.mark.outside
@pytest.mark.skipif(
    kernel.choose(os.environ) is kernel.Kind.NATIVE and not shutil.which("apt-get"),
    reason="this machine's own kernel has IPVS, and there is no user-mode Linux for it",
)
def test_a_start_without_ipvs_ends_with_5_and_one_clear_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "lvs_nat.lab", "-t", "60", "--", "sh", "-c", SCRIPT, sys.executable],
        cwd=ROOT,
        env={**os.environ, "LVS_NAT_LAB_KERNEL": "uml"},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stdout == "exit 5, ip_forward 0, left: \n"
    assert done.stderr == (
        "lvs-nat: this kernel has no IPVS: modprobe ip_vs failed,"
        " boot a kernel that has CONFIG_IP_VS\n"
    )
