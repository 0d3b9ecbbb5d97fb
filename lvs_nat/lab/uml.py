"""User-mode Linux: a kernel that is an ordinary process of an ordinary user."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import socket
import subprocess
import tempfile
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lvs_nat.lab.orders import DIED, TIMED_OUT, Orders
from lvs_nat.lab.packages import Tools

MODULES = "/usr/lib/uml/modules"
# All that a guest leaves behind goes with the pipe that only its starter holds, however that
# one ends: helper processes outlive the guest's first, but they stay in its process group.
KEEPER = 'read -r _; kill -s KILL -- "-$1"; rm -rf "$2"'
LOOK = 0.02  # seconds between two looks at the output; hostfs knows neither pipe nor inotify


class Output(Protocol):
    """Carries what the guest says to whom it is for."""

    def pump(self, seconds: float) -> None:
        """Pass on what there is, having waited for it *seconds* at most."""


@dataclass(frozen=True)
class Linux:
    """A kernel for guests: its *program*, the folder of its *modules* unless they are built in.

    *words* of its own are for its command line.
    """

    program: Path
    modules: Path | None = None
    words: tuple[str, ...] = ()


def packaged(tools: Tools) -> Linux:
    """Return the kernel of the package user-mode-linux."""
    return Linux(tools.path("linux.uml"), tools.folder(MODULES))


def run(orders: Orders, tools: Tools, linux: Linux) -> int:
    """Boot a guest with *linux* for *orders*; return as kernel.run does."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="lvs-nat-lab.", dir=_temporary()))
        keeper = stack.enter_context(kept(place))
        _write(orders, tools, linux, place)
        output: Output
        if orders.terminal:
            terminal = stack.enter_context(Terminal.opened())
            guest = _boot(orders, linux, place, (terminal.guest,))
            output = terminal
        else:
            guest = _boot(orders, linux, place, ())
            output = Files(place, orders)
        keeper(guest)
        late = not _watch(guest, output, time.monotonic() + orders.timeout)
        return _status(orders, place, late)


def _watch(guest: subprocess.Popen[bytes], output: Output, deadline: float) -> bool:
    """Pass output on until the guest is gone; return False if the deadline came first."""
    while not _ended(guest):
        if time.monotonic() >= deadline:
            output.pump(0)
            return False
        output.pump(LOOK)
    output.pump(0)
    return True


def _ended(guest: subprocess.Popen[bytes]) -> bool:
    """Return whether the guest is gone; it is not reaped, so its pid stays its own."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, guest.pid, look) is not None


def _status(orders: Orders, place: Path, late: bool) -> int:
    if late:
        _complain(orders, f"no end within {orders.timeout:g} s")
        return TIMED_OUT
    status = place / "status"
    if status.exists() and status.read_text().strip():
        return int(status.read_text())
    console = (place / "console").read_text(errors="replace")
    _complain(orders, f"the guest ended without an exit status; its console:\n{console}")
    return DIED


def _complain(orders: Orders, text: str) -> None:
    _write_all(orders.stderr, f"lab: {text}\n".encode())


def _write(orders: Orders, tools: Tools, linux: Linux, place: Path) -> None:
    settings = {
        "BUSYBOX": tools.path("busybox"),
        "MODULES": linux.modules or "",
        "PACKAGES": tools.tree or "",
        "TERMINAL": "yes" if orders.terminal else "",
    }
    lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
    (place / "settings").write_text("".join(lines))
    (place / "writable").write_text("".join(f"{folder}\n" for folder in orders.writable))
    (place / "command").write_text(orders.script)
    shutil.copy(Path(__file__).with_name("guest-init"), place / "init")
    (place / "init").chmod(0o755)
    (place / "space").mkdir()
    for name in ("out", "err", "console"):
        (place / name).touch()


# Each file of this machine that a guest has looked at lately keeps a descriptor open in it.
LIMITS = 'ulimit -c 0; ulimit -S -n "$(ulimit -H -n)"; exec "$@"'


def _boot(
    orders: Orders, linux: Linux, place: Path, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    arguments = [
        f"mem={orders.memory}",
        f"uml_dir={place} umid=guest",
        # A panic ends the process, and nothing but real trouble is written to the console.
        "noreboot panic=-1 quiet loglevel=1 selinux=0 apparmor=0 audit=0",
        f"rootfstype=hostfs rootflags=/ ro init={place}/init LAB={place}",
        "con=null ssl=null con0=null,fd:1",
        *(f"con1=fd:{descriptor}" for descriptor in descriptors),
        *linux.words,
    ]
    with (place / "console").open("wb") as console:
        return subprocess.Popen(
            ["sh", "-c", LIMITS, "sh", str(linux.program), *" ".join(arguments).split()],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={"PATH": os.defpath, "TMPDIR": str(memory_folder(orders.memory, place))},
            pass_fds=descriptors,
            start_new_session=True,
        )


def _temporary() -> str | None:
    """Return where orders may lie: a blank in the path would end a word for the kernel."""
    return "/tmp" if " " in tempfile.gettempdir() else None  # noqa: S108


def memory_folder(memory: str, place: Path) -> Path:
    """Return where a guest's *memory* is kept: /dev/shm, or where containers have it tiny, disk."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    size = int(memory[:-1]) * units[memory[-1]]
    shared = Path("/dev/shm")  # noqa: S108
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free >= size
    return shared if roomy else place


class Keeper:
    """Ends a guest, and removes its folder, when this process closes a pipe or dies."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._guest: subprocess.Popen[bytes] | None = None
        self._pipe: subprocess.Popen[bytes] | None = None

    def __call__(self, guest: subprocess.Popen[bytes]) -> None:
        """Take *guest* into keeping, on one processor."""
        self._guest = guest
        settle(guest.pid)
        self._pipe = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", str(guest.pid), self._place],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self) -> None:
        """End the guest; its pid is not given away before, because it is not reaped before."""
        if self._pipe is None or self._guest is None:
            shutil.rmtree(self._place)
            return
        self._pipe.communicate()
        self._guest.wait()


@contextmanager
def kept(place: Path) -> Iterator[Keeper]:
    """Give a Keeper of *place* and of the guest that it will be told."""
    keeper = Keeper(place)
    try:
        yield keeper
    finally:
        keeper.close()


def settle(guest: int) -> None:
    """Keep the *guest* of that pid on one processor.

    It is several processes that wait for one another at every system call and page fault, and
    wait up to five times as long where they have to wake each other on another processor.
    """
    processors = sorted(os.sched_getaffinity(0))
    with suppress(ProcessLookupError):  # what it died of is told by who waits for it
        os.sched_setaffinity(guest, {processors[guest % len(processors)]})


class Files:
    """The files in which the guest writes its output, read while they grow."""

    def __init__(self, place: Path, orders: Orders) -> None:
        self._streams = (
            ((place / "out").open("rb", buffering=0), orders.stdout),
            ((place / "err").open("rb", buffering=0), orders.stderr),
        )

    def pump(self, seconds: float) -> None:
        """Pass on what there is, having waited *seconds*."""
        time.sleep(seconds)
        for file, descriptor in self._streams:
            while data := file.read(1 << 16):
                _write_all(descriptor, data)


class Terminal:
    """Our terminal, joined to the guest's by a socket; all keys go to the guest.

    Not by a pseudo terminal: for one, user-mode Linux starts a process to watch its size, which
    is in no group that we could kill.
    """

    def __init__(self, ours: int, guest: int) -> None:
        self.guest = guest
        self._ours = ours
        self._sources = [ours, *([0] if os.isatty(0) else [])]

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Terminal]:
        """Give a Terminal; afterwards ours is as it was."""
        saved = termios.tcgetattr(0) if os.isatty(0) else None
        ours, guest = socket.socketpair()
        with ours, guest:
            try:
                if saved:
                    tty.setraw(0, termios.TCSADRAIN)  # what was typed already is for the guest
                yield cls(ours.fileno(), guest.fileno())
            finally:
                if saved:
                    termios.tcsetattr(0, termios.TCSADRAIN, saved)

    def pump(self, seconds: float) -> None:
        """Pass on what there is in both directions, having waited for it *seconds* at most."""
        while ready := select.select(self._sources, [], [], seconds)[0]:
            for source in ready:
                data = os.read(source, 1 << 16)
                _write_all(1 if source == self._ours else self._ours, data)
            seconds = 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
