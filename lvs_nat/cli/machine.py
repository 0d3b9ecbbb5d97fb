"""The real terminal and user are gathered, so that a test can lend others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from lvs_nat.cli.systemd import Systemd
from lvs_nat.errors import NotPrivileged


# No dataclass, nor is any other class that every command needs: to define one takes longer than
# to ask a director.
class Machine:
    """Where a command prints, who runs it, what runs services there; the real ones by default."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        uid: int | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.uid = os.geteuid() if uid is None else uid
        self.systemd = Systemd() if systemd is None else systemd

    def say(self, text: str) -> None:
        """Print *text*, and the end of its last line if it has none."""
        self.say_all((text,))

    def say_all(self, pieces: Iterable[str]) -> None:
        """Print the text that *pieces* make, each as it comes."""
        end = ""
        for piece in pieces:
            self.out.write(piece)
            end = piece[-1:] or end
        if end != "\n":
            self.out.write("\n")
        self.out.flush()

    def warn(self, text: str) -> None:
        print(f"lvs-nat: {text}", file=self.err, flush=True)

    def must_be_root(self, act: str) -> None:
        """Raise NotPrivileged, which LSB numbers 4, for anybody else."""
        if self.uid != 0:
            raise NotPrivileged(f"only root may {act} lvs-nat")
