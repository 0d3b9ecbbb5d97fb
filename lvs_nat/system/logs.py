"""Log lines find their way: to syslog, to the journal, or to a terminal."""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

IDENT = "lvs-nat"
DAEMON = 3 << 3  # LOG_DAEMON of syslog(3)
PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # LOG_ERR ... LOG_INFO
DEBUG = 7
WORDS = {3: "error: ", 4: "warning: "}
# Whatever could end a line, move a cursor or pass for another line.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}


def to_syslog(path: Path = Path("/dev/log"), level: int = logging.INFO) -> None:
    """Send every line to the system's log, as a daemon without a terminal does."""
    _install(Syslog(path), level)


def to_stderr(level: int = logging.INFO) -> None:
    """Write every line to standard error, with its priority where that is the journal."""
    _install(Stderr(_journal()), level)


def kind() -> str:
    """Return where lines go, as `to` takes it."""
    syslog = any(isinstance(handler, Syslog) for handler in logging.getLogger().handlers)
    return "syslog" if syslog else "stderr"


def to(kind: str) -> None:
    """Send every line where `kind` said they went."""
    if kind == "syslog":
        to_syslog()
    else:
        to_stderr()


def escape(text: str) -> str:
    """Return the text as one line without control bytes."""
    return text.translate(ESCAPES).encode("utf-8", "backslashreplace").decode()


def priority(level: int) -> int:
    """Return syslog's number for a level of `logging`."""
    return next((number for least, number in PRIORITIES if level >= least), DEBUG)


def trace(text: str) -> list[str]:
    """Return the lines of a traceback, each behind "| ", so that none can pass for a message."""
    return [f"| {escape(line)}" for line in text.splitlines()]


class Lines(logging.Formatter):
    """Makes one line of a message, and of each line of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        lines = [escape(record.getMessage())]
        if record.exc_info:
            lines += trace(self.formatException(record.exc_info))
        return "\n".join(lines)


class Unwaiting(logging.Handler):
    """Says each line by itself, and waits for nobody to take it.

    Lines that nobody takes are counted, and the count is said once somebody does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Say each line as a message of its own."""
        for line in self.format(record).split("\n"):
            lost = f"{self._lost} lines could not be logged"
            if self._lost and self._send(priority(logging.WARNING), lost):
                self._lost = 0
            if not self._send(priority(record.levelno), line):
                self._lost += 1

    def _send(self, number: int, line: str) -> bool:
        """Say one line with syslog's priority *number*; return whether somebody takes it."""
        raise NotImplementedError


class Stderr(Unwaiting):
    """Writes to standard error as it is at the moment; where that is closed, nothing."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def _send(self, number: int, line: str) -> bool:
        mark = f"<{number}>" if self._journal else f"{IDENT}: {WORDS.get(number, '')}"
        if not _room(sys.stderr):  # a journal that hangs must not have the director hang with it
            return False
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{mark}{line}\n")
            sys.stderr.flush()
        return True


class Syslog(Unwaiting):
    """Sends datagrams to the system's log.

    The socket is opened by the process that first says something, so that detaching, which
    closes descriptors, cannot leave it pointing at something else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._socket: socket.socket | None = None
        self._owner = 0

    def close(self) -> None:
        """Close the socket."""
        if self._socket and self._owner == os.getpid():
            self._socket.close()
        self._socket = None
        super().close()

    def _send(self, number: int, line: str) -> bool:
        # The form of RFC 3164, as glibc's syslog() writes it.
        now = time.strftime("%b %e %H:%M:%S")
        text = f"<{DAEMON | number}>{now} {IDENT}[{os.getpid()}]: {line}"
        while True:
            known = self._socket
            try:
                self._open().send(text.encode()[:8000])
                return True
            except BlockingIOError:
                return False
            except OSError:
                self._forget()
            if known is None:  # a log daemon that was restarted has a new socket
                return False

    def _open(self) -> socket.socket:
        if self._owner != os.getpid():
            self._forget()
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._owner = os.getpid()
            self._socket.connect(str(self._path))
        return self._socket

    def _forget(self) -> None:
        if self._socket and self._owner == os.getpid():
            self._socket.close()
        elif self._socket:
            self._socket.detach()  # after a fork the number may be another's
        self._socket = None


def _room(stream: TextIO) -> bool:
    """Whether a line can be written without waiting: into what is closed, or no file, it can."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return True


def _install(handler: logging.Handler, level: int) -> None:
    handler.setFormatter(Lines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)


def _journal() -> bool:
    # systemd.exec(5): JOURNAL_STREAM names the device and inode of the stream; systemd before
    # 231 does not set it, but its streams are sockets.
    try:
        found = os.fstat(2)
    except OSError:
        return False
    stream = os.environ.get("JOURNAL_STREAM")
    if stream is not None:
        return stream == f"{found.st_dev}:{found.st_ino}"
    started = os.environ.get("INVOCATION_ID") or os.environ.get("NOTIFY_SOCKET")
    return bool(started) and stat.S_ISSOCK(found.st_mode)
