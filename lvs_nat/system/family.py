"""How processes end with each other: a child with its parent, and what a child leaves behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from lvs_nat.system.privileges import prctl

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Who was killed is waited for this long, in looks of so many seconds; a disk may hold it up.
PATIENCE = 0.5
LOOK = 0.001


def die_with(parent: int) -> None:
    """Have the kernel kill this process when *parent* ends, and end now if it has.

    To be called last: a change of user or capabilities makes the kernel forget it
    (kernel/cred.c, commit_creds).
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def wake_at_parents_end() -> None:
    """Have the kernel continue this process, should it be stopped, when its parent ends.

    This is the one signal that a parent of another user may have sent (kernel/signal.c,
    kill_ok_by_cred).  To be called last, as `die_with`.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def adopt() -> None:
    """Let what our children leave behind when they end be children of ours, not of init."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def bury(kept: Collection[int] = ()) -> list[int]:
    """Wait for those of our children, but *kept*, that have ended; return those that live."""
    living = []
    for pid in _children():
        with suppress(ChildProcessError):  # it has been waited for since
            if pid not in kept and not os.waitpid(pid, os.WNOHANG)[0]:
                living.append(pid)
    return living


def end(kept: Collection[int] = ()) -> None:
    """Kill all our children but *kept*, and whoever becomes a child of ours by that."""
    deadline = time.monotonic() + PATIENCE
    while (living := bury(kept)) and time.monotonic() < deadline:
        for pid in living:
            os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK)


def _children() -> list[int]:
    pid = os.getpid()
    try:
        return list(map(int, Path(f"/proc/self/task/{pid}/children").read_text().split()))
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN, which no distribution has
        return []
