"""Where the lab is shown: what is typed, what it prints, which promises were kept."""

from __future__ import annotations

import shlex
from typing import TextIO

from lvs_nat.lab.topology import Lab

BOLD, GREEN, RED, BLUE = "1", "32", "31", "1;34"


class Stage:
    """One showing of *lab* on *out*; *broken* gathers the promises that were not kept."""

    def __init__(self, lab: Lab, out: TextIO, colour: bool) -> None:
        self.lab = lab
        self.broken: list[str] = []
        self._out = out
        self._colour = colour

    def scene(self, words: str) -> None:
        """Say what comes next."""
        self._line(f"\n{self._painted(BLUE, words)}")

    def type(self, command: str, host: str = "director") -> str:
        """Type *command* on *host*; return what it prints, complaints included.

        Raises LvsNatError if it fails.
        """
        prompt = self._painted(GREEN, f"[root@{host} ~]#")
        self._line(f"{prompt} {self._painted(BOLD, command)}")
        done = self.lab.run(host, shlex.split(command), timeout=60)
        text = done.stdout + done.stderr
        self._out.write(text)
        self._out.flush()
        return text

    def tell(self, words: str) -> None:
        """Say what was seen."""
        self._line(f"    {words}")

    def promise(self, kept: bool, words: str) -> None:
        """Show whether what *words* promise happened."""
        mark = self._painted(GREEN, "kept  ") if kept else self._painted(RED, "BROKEN")
        self._line(f"    {mark}  {words}")
        if not kept:
            self.broken.append(words)

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _painted(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour else text
