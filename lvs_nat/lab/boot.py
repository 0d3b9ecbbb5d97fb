"""A whole machine in user-mode Linux: booted from a disk, asked to run commands, rebooted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvs_nat.errors import LvsNatError
from lvs_nat.lab import packages
from lvs_nat.lab.image import PROGRAMS
from lvs_nat.lab.uml import kept, memory_folder

BOOT = 120.0  # seconds until a machine answers; a busy one needs 30
MEMORY = "512M"


class Machine:
    """One booted machine; what it writes outlives its reboots, and is lost with it."""

    def __init__(self, place: Path, line: socket.socket) -> None:
        self._place = place
        self._line = line
        self._heard = b""
        self._number = 0
        self._boot = ""

    def run(self, command: str, seconds: float = 60.0) -> tuple[int, str]:
        """Run *command* by bash, as root; return its exit status (124: late) and its output."""
        self._number += 1
        order = json.dumps([self._number, command, seconds]) + "\n"
        self._line.settimeout(seconds + BOOT)
        self._line.sendall(order.encode())
        answer = self._hear(seconds + BOOT, "number", self._number)
        return int(answer["status"]), str(answer["output"])

    def wait_up(self) -> None:
        """Return once the machine has booted, anew if it was up; LvsNatError if it does not."""
        before = self._boot
        while self._boot == before:
            self._boot = str(self._hear(BOOT, "up")["up"])

    def reboot(self) -> None:
        """Shut down in order; return once the machine has booted again."""
        self.run("(sleep 0.2; reboot) >/dev/null 2>&1 &")
        self.wait_up()

    def console(self) -> str:
        """Return what the machine wrote to its console."""
        return (self._place / "console").read_text(errors="replace")

    def _hear(self, seconds: float, key: str, value: object = None) -> dict[str, Any]:
        """Return the next answer that has *key*, and *value* unless that is None."""
        deadline = time.monotonic() + seconds
        while True:
            text, newline, rest = self._heard.partition(b"\n")
            if newline:
                self._heard = rest
                found = _answer(text)
                if key in found and value in (None, found[key]):
                    return found
            else:
                self._heard += self._receive(deadline)

    def _receive(self, deadline: float) -> bytes:
        try:
            self._line.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._line.recv(1 << 16)
        except (socket.timeout, ConnectionResetError):
            data = b""
        if not data:
            raise LvsNatError(f"the machine does not answer; its console:\n{self.console()}")
        return data


def _answer(text: bytes) -> dict[str, Any]:
    """Return what the agent said; a console says other things before it is the agent's."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def machine(disk: Path, environ: Mapping[str, str]) -> Iterator[Machine]:
    """Give a machine that has booted from *disk*, which stays as it is."""
    tools = packages.gather(PROGRAMS, environ)
    place = Path(tempfile.mkdtemp(prefix="lvs-nat-boot."))
    ours, theirs = socket.socketpair()
    with kept(place) as keep, ours, (place / "console").open("wb") as console:
        with theirs:
            process = subprocess.Popen(
                [
                    *(str(tools.path("linux.uml")), f"ubd0={place / 'changes'},{disk}"),
                    *("root=/dev/ubda", "rw", f"mem={MEMORY}", "umid=guest", f"uml_dir={place}"),
                    *("panic=-1", "quiet", "selinux=0", "apparmor=0", "audit=0"),
                    *("con=null", "ssl=null", "con0=null,fd:1", f"con1=fd:{theirs.fileno()}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": os.defpath, "TMPDIR": str(memory_folder(MEMORY, place))},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        keep(process)
        booted = Machine(place, ours)
        booted.wait_up()
        yield booted
