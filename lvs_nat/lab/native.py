"""This machine's own kernel, seen from network, mount and process namespaces of the command."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lvs_nat.lab.orders import TIMED_OUT, Orders
from lvs_nat.lab.packages import Tools

# Mounts that show the kernel, not files; they are made anew or lent as they are.
KERNELS = frozenset(
    {
        *("autofs", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs"),
        *("efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs"),
        *("rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tmpfs", "tracefs"),
    }
)
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL")


def run(orders: Orders, tools: Tools) -> int:
    """Run the orders in new namespaces; return as kernel.run does."""
    with tempfile.TemporaryDirectory(prefix="lvs-nat-lab.") as name:
        place = Path(name)
        (place / "space").mkdir()
        (place / "command").write_text(orders.script)
        (place / "mounts").write_text("".join(f"{path}\n" for path in mounts()))
        (place / "writable").write_text("".join(f"{path}\n" for path in orders.writable))
        shutil.copy(Path(__file__).with_name("native-init"), place / "init")
        (place / "settings").write_text(f"PACKAGES={shlex.quote(str(tools.tree or ''))}\n")
        return _run(orders, place)


def _run(orders: Orders, place: Path) -> int:
    process = subprocess.Popen(
        # The first process of a process namespace takes all others with it.
        [*UNSHARE, "sh", str(place / "init"), str(place)],
        stdin=None if orders.terminal else subprocess.DEVNULL,
        stdout=orders.stdout,
        stderr=orders.stderr,
        start_new_session=not orders.terminal,
    )
    try:
        status = process.wait(orders.timeout)
    except subprocess.TimeoutExpired:
        os.write(orders.stderr, f"lab: no end within {orders.timeout:g} s\n".encode())
        return TIMED_OUT
    finally:
        process.kill()
        process.wait()
    return status if status >= 0 else 128 - status


def mounts() -> list[str]:
    """Return this machine's mount points that hold files, the outer before the inner."""
    found = ["/"]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        path = before.split()[4].encode().decode("unicode_escape")
        if after.split()[0] not in KERNELS and "\n" not in path:
            found.append(path)
    return sorted(set(found))
