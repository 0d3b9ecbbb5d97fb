"""The other end of the checks: a server that takes them all, and an ear on the wire."""

from __future__ import annotations

import subprocess

from bench import machine


class Helper:
    """A C program of this folder, which answers lines; it ends with the block of `with`."""

    def __init__(self, source: str, *arguments: str) -> None:
        self._process = machine.start(
            [machine.compiled(source), *arguments],
            machine.REST,
            urgent=True,  # keepalived waits in close(), for no longer than need be
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=1,
        )

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def say(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def heard(self) -> int:
        """Return the number that it says next."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


class Sink:
    """A server on every address of this machine (bench/sink.c)."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self.port = helper.heard()

    def accepted(self) -> int:
        """Return how many connections it has accepted so far."""
        self._helper.say("count")
        return self._helper.heard()

    def silence(self) -> None:
        """Let it answer no SYN any more."""
        self._helper.say("silence")

    def servers(self, count: int) -> tuple[str, ...]:
        """Return *count* places at which it is found, each another address."""
        return tuple(f"127.1.{n // 250}.{n % 250 + 1}:{self.port}" for n in range(count))


class Tap:
    """An ear for SYNs to one port (bench/tap.c)."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper

    def gaps(self) -> list[float]:
        """Return the seconds from SYN to SYN of each server, heard since the last call."""
        self._helper.say("gaps")
        return [self._helper.heard() / 1e6 for _ in range(self._helper.heard())]
