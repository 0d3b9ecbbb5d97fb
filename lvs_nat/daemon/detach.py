"""The daemon is detached from its terminal, which waits until it serves or says why not."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import resource
import select
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import LvsNatError

# A wait for the resolver, the first round of probes and a table of 10,000 rows on a slow machine
# fit in well.
PATIENCE = 180.0
SILENT = "the director ended, or hangs, before it served; see the system log"
F_SETPIPE_SZ = 1031  # linux/fcntl.h; fcntl has it since Python 3.10
ROOM = 1 << 20  # what any user may have (fs.pipe-max-size): a table of 15,000 rows
# As many as the unit gives.
DESCRIPTORS = 65536


@dataclass(frozen=True)
class Outcome:
    """How a start ended: an LSB exit code, warnings, and in pieces what to show."""

    code: int
    warnings: tuple[str, ...]
    text: Iterator[str]


def start(paths: Paths) -> Outcome:
    """Start a director in the background; return once it serves, or has refused to."""
    reading, writing = os.pipe()
    with suppress(OSError):  # a director never waits for a terminal that has stopped
        fcntl.fcntl(writing, F_SETPIPE_SZ, ROOM)
    child = os.fork()
    if child == 0:
        os.close(reading)
        _leave(paths, writing)
    os.close(writing)
    os.waitpid(child, 0)  # the director is init's child
    return listen(reading)


def _leave(paths: Paths, announcing: int) -> None:
    """Become the director, away from every terminal; never return."""
    code = 1
    try:
        os.setsid()
        # Not a session's leader, it gets no terminal by opening one.
        code = _background(paths, announcing) if os.fork() == 0 else 0
    finally:
        os._exit(code)


def _background(paths: Paths, announcing: int) -> int:
    bound_descriptors()
    # Imported by this process alone, as what two processes have used is copied in the end.
    from daemon import DaemonContext

    from lvs_nat.daemon.serve import serve
    from lvs_nat.system import logs
    from lvs_nat.system.pidfile import PidFile
    from lvs_nat.system.program import Program

    waiting = [announcing]

    def announce(code: int, text: str, warnings: tuple[str, ...]) -> None:
        if waiting:  # whatever comes after the first word is for the log
            tell(waiting.pop(), code, text, warnings)

    program = Program.of_this_process()
    logs.to_syslog()
    context = DaemonContext(
        detach_process=False,  # that is done, in two forks where it would need three
        files_preserve=[announcing],
        umask=0o022,
        working_directory="/",
        signal_map={},
    )
    context.open()
    for stream in range(3):  # python-daemon opens them so that no other program would have them
        os.set_inheritable(stream, True)
    return serve(paths, PidFile(paths.pid_file), announce, program)


def bound_descriptors(most: int = DESCRIPTORS) -> None:
    """Have no more than *most* descriptors, with no way back: not everywhere may root raise limits.

    Whether open or not, python-daemon closes every one that we could have, and before Python 3.10
    one by one.  In a container that may be a thousand million.
    """
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (most if it == resource.RLIM_INFINITY else min(it, most) for it in found)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def tell(announcing: int, code: int, text: str, warnings: tuple[str, ...]) -> None:
    """Say to whoever reads the pipe *announcing* how the start ended, and close it."""
    head = json.dumps([code, warnings, len(text)])
    # Nobody may be waiting any more; that is no reason to end.
    with suppress(BrokenPipeError), open(announcing, "wb") as terminal:
        terminal.write(f"{head}\n{text}".encode())


def listen(reading: int) -> Outcome:
    """Return what `tell` says into the pipe *reading*, which the end of the text closes."""
    pieces = _pieces(reading)
    head = ""
    for piece in pieces:
        head += piece
        if "\n" in head:
            break
    head, _, begun = head.partition("\n")
    try:
        code, warnings, length = json.loads(head)
    except ValueError:
        return Outcome(1, (), iter((SILENT,)))
    return Outcome(code, tuple(warnings), _whole(begun, pieces, length))


def _whole(begun: str, pieces: Iterator[str], length: int) -> Iterator[str]:
    yield begun
    length -= len(begun)
    for piece in pieces:
        yield piece
        length -= len(piece)
    if length:
        raise LvsNatError(SILENT)


def _pieces(reading: int) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        while select.select([reading], [], [], PATIENCE)[0]:
            piece = os.read(reading, 1 << 16)
            if not piece:
                break
            yield decode(piece)
    finally:
        os.close(reading)
