"""systemd is told how the director fares (sd_notify(3)); elsewhere all of it does nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# systemd answers nothing; this long its queue may be full before a message is given up.
PATIENCE = 1.0


def ready(status: str = "") -> None:
    """Say that clients are served: after a start and after a reload."""
    _send("READY=1", *([_status(status)] if status else []))


def status(text: str) -> None:
    """Give `systemctl status` its line."""
    _send(_status(text), patience=0.0)


def reloading() -> None:
    """Say that files are read again; `ready` ends it."""
    _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Say that the end is being prepared."""
    _send("STOPPING=1")


def watchdog() -> None:
    """Say that the loop still turns."""
    _send("WATCHDOG=1", patience=0.0)


def longer(seconds: float) -> None:
    """Say that the loop may stand still for so long; the next `watchdog` ends it."""
    _send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Have the loop stand still for so long, and no longer, before it is taken for hung."""
    watched = watchdog_interval() is not None
    if watched:
        longer(seconds)
    try:
        yield
    finally:
        if watched:
            watchdog()  # whoever hangs from now on is to be found as soon as ever


def watchdog_interval() -> float | None:
    """Return how often, in seconds, to call `watchdog`: half of what systemd waits.

    None where no watchdog is set, or it is another process that is watched.
    """
    waits, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not waits.isdigit() or int(waits) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(waits) / 2_000_000


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _send(*words: str, patience: float = PATIENCE) -> None:
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place[:1] not in ("/", "@"):
        return
    address = "\0" + place[1:] if place[0] == "@" else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as hand:
        hand.settimeout(patience)
        # A service must not fail because nobody listens to how it fares.
        with suppress(OSError):
            hand.sendto("\n".join(words).encode("utf-8", "replace"), address)
