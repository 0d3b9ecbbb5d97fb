"""Processes on this machine: pinned to a core, and what they have used of it."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from lvs_nat.errors import NotInstalled

BENCH = Path(__file__).parent
MADE = BENCH.parent / "build" / "bench"
TICK = 1 / os.sysconf("SC_CLK_TCK")
# The checker has the first core that we may use for itself; everything else has the last.
CORES = sorted(os.sched_getaffinity(0))
CHECKER, REST = CORES[0], CORES[-1]


def start(
    command: Sequence[str | Path], core: int, urgent: bool = False, **options: Any
) -> subprocess.Popen[str]:
    """Start *command* on one core; it ends with us.  *options* are those of subprocess.Popen.

    As far as we may, and root may, it comes before what else runs on this machine: a daemon
    that waits for its core is late, has fewer and longer turns, and seems cheaper than it is.
    What is urgent never waits; its processes then wait for one another.
    """
    # Not preexec_fn: forks would have all our memory.
    bound = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core)]
    bound += ["chrt", "--rr", "1"] if urgent and may_be_urgent() else []
    process = subprocess.Popen(
        [*bound, *map(str, command)], text=True, start_new_session=True, **options
    )
    with suppress(OSError):  # it is a session of its own, and the kernel weighs those (sched(7))
        Path(f"/proc/{process.pid}/autogroup").write_text("-20")
    return process


@lru_cache
def may_be_urgent() -> bool:
    """Say whether we may have real-time processes."""
    return not subprocess.run(["chrt", "--rr", "1", "true"], capture_output=True).returncode


def family(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # it has just ended
            found += family(int(child))
    return found


def used(pids: Sequence[int]) -> float:
    """Return the processor's seconds that *pids* have used, with children that have ended."""
    return sum(map(_used, pids))


def _used(pid: int) -> float:
    place = Path(f"/proc/{pid}")
    tasks = [(task / "schedstat").read_text() for task in (place / "task").iterdir()]
    # Behind the name in brackets these are cutime and cstime (proc(5)).
    children = (place / "stat").read_text().rpartition(")")[2].split()[13:15]
    return sum(int(task.split()[0]) for task in tasks) / 1e9 + sum(map(int, children)) * TICK


def memory(pid: int) -> tuple[float, float]:
    """Return the resident and the proportional memory of *pid* in kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = dict(line.split(":") for line in lines[1:])
    return int(found["Rss"].split()[0]), int(found["Pss"].split()[0])


def end(process: subprocess.Popen[str], pids: Sequence[int] = ()) -> None:
    """End *process* and what is left of *pids*, which are its family."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(3)
    for pid in (process.pid, *pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def compiled(source: str, *options: str) -> Path:
    """Return what the C program *source* of this folder compiles to, made if need be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotInstalled("this bench needs a C compiler; on Debian: apt install gcc libc6-dev")
    made = MADE / source.replace(".c", "")
    if not made.exists() or made.stat().st_mtime < (BENCH / source).stat().st_mtime:
        made.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-O2", "-Wall", "-Wextra", *options]
        subprocess.run([compiler, *flags, "-o", made, BENCH / source, "-ldl"], check=True)
    return made


def described() -> str:
    """Return a line about this machine, in neutral words."""
    return (
        f"{os.cpu_count()} cores of {platform.machine()}, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}"
    )
