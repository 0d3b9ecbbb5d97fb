"""A rule of this machine's packet filter, for as long as a test needs it; in a lab kernel."""

import shutil
import subprocess
from contextlib import contextmanager


@contextmanager
def rule(*words, version=4):
    """Keep the iptables rule *words*, such as "INPUT -p tcp -j DROP"."""
    name = "iptables" if version == 4 else "ip6tables"
    legacy = f"{name}-legacy"  # user-mode Linux has no nftables
    program = legacy if shutil.which(legacy) else name
    subprocess.run([program, "-w", "-I", *words], check=True)
    try:
        yield
    finally:
        subprocess.run([program, "-w", "-D", *words], check=True)
