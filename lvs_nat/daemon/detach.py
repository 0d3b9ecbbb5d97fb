"""The daemon is detached from its terminal, which waits until it serves or says why not."""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress
from dataclasses import dataclass

from daemon import DaemonContext

from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.serve import serve
from lvs_nat.system import logs
from lvs_nat.system.pidfile import PidFile

# The first round of probes and a table of 10,000 rows on a slow machine fit in well.
PATIENCE = 120.0


@dataclass(frozen=True)
class Outcome:
    """How a start ended: an LSB exit code, what to show, and warnings."""

    code: int
    text: str
    warnings: tuple[str, ...] = ()


def start(paths: Paths) -> Outcome:
    """Start a director in the background; return once it serves, or has refused to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            code = _background(paths, writing)
        finally:
            os._exit(code)
    os.close(writing)
    try:
        return _listen(reading)
    finally:
        os.close(reading)
        os.waitpid(child, 0)  # python-daemon's first parent; the director is init's child


def _background(paths: Paths, announcing: int) -> int:
    waiting = [announcing]

    def announce(code: int, text: str, warnings: tuple[str, ...]) -> None:
        if waiting:  # whatever comes after the first word is for the log
            _tell(waiting.pop(), json.dumps([code, text, warnings]).encode())

    logs.to_syslog()
    context = DaemonContext(
        files_preserve=[announcing], umask=0o022, working_directory="/", signal_map={}
    )
    context.open()
    return serve(paths, PidFile(paths.pid_file), announce)


def _tell(announcing: int, words: bytes) -> None:
    # Nobody may be waiting any more; that is no reason to end.
    with suppress(BrokenPipeError), open(announcing, "wb") as terminal:
        terminal.write(words)


def _listen(reading: int) -> Outcome:
    heard = b""
    while select.select([reading], [], [], PATIENCE)[0]:
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        heard += piece
    try:
        code, text, warnings = json.loads(heard)
    except ValueError:
        return Outcome(1, "the director ended, or hangs, before it served; see the system log")
    return Outcome(code, text, tuple(warnings))
