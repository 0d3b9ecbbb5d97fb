"""The real terminal and user are gathered, so that a test can lend others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from lvs_nat.cli.systemd import Systemd
from lvs_nat.errors import NotPrivileged


@dataclass(frozen=True)
class Machine:
    """Where a command prints, who runs it, and what runs services there."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    uid: int = field(default_factory=os.geteuid)
    systemd: Systemd = field(default_factory=Systemd)

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
