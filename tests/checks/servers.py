"""How real servers are run on loopback, from Debian packages unpacked and not installed.

They run as an ordinary user, in a folder of their own that goes when they do.
"""

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from lvs_nat.lab import packages
from tests.builders import at

HOST = "127.0.0.1"
# Program: (Debian package, Red Hat package).
PROGRAMS = {
    "dovecot": ("dovecot-imapd", "dovecot"),
    "dovecot-pop3": ("dovecot-pop3d", "dovecot"),
    "exim4": ("exim4-daemon-light", "exim"),
    "freeradius": ("freeradius", "freeradius"),
    "libnss_wrapper.so": ("libnss-wrapper", "nss_wrapper"),
    "mariadbd": ("mariadb-server-core", "mariadb-server"),
    "memcached": ("memcached", "memcached"),
    "named": ("bind9", "bind"),
    "nginx": ("nginx", "nginx"),
    "postgres": ("postgresql", "postgresql-server"),
    "redis-server": ("redis-server", "redis"),
    "slapd": ("slapd", "openldap-servers"),
    "vsftpd": ("vsftpd", "vsftpd"),
}
BINARIES = ("usr/sbin", "usr/bin", "usr/lib/postgresql/*/bin")
LIBRARIES = ("usr/lib/*-linux-gnu", "usr/lib64")
STARTING = 60.0  # seconds that a server may take on a busy machine
STOPPING = 10.0


@lru_cache
def tree():
    """Return the root of the unpacked packages, None where all is installed.

    Raises NotInstalled where neither is to be had.
    """
    environ = dict(os.environ)
    usual = packages.cache(environ)
    if os.getuid() == 0 and not all(it.stat().st_mode & 1 for it in usual.parents if it.exists()):
        environ["LVS_NAT_LAB_CACHE"] = "/var/cache/lvs-nat-lab"  # where nobody gets to, too
    return packages.gather(PROGRAMS, environ).tree


def found(name, *folders):
    """Return the path of *name* in the first of *folders* (patterns) that has it."""
    for root in filter(None, (tree(), Path("/"))):
        for folder in folders:
            for path in sorted(root.glob(f"{folder}/{name}"), reverse=True):
                return path
    raise FileNotFoundError(f"{name} is in none of {' '.join(folders)}")


def program(name):
    return str(found(name, *BINARIES))


class Place:
    """The folder of one server, whose user may write there; a context manager.

    libraries is the search path for shared libraries; environment is what the server gets
    beside that.
    """

    def __init__(self):
        entry = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self.user = entry.pw_name
        self.group = grp.getgrgid(entry.pw_gid).gr_name
        self._entry = entry
        self.libraries = [*tree().glob(LIBRARIES[0])] if tree() else []
        self.environment = {"LC_ALL": "C"}

    def __enter__(self):
        # A short path: some programs have room for no other.
        self._folder = tempfile.TemporaryDirectory(prefix="s", dir="/tmp")
        self.path = Path(self._folder.name)
        self.path.chmod(0o755)
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def __truediv__(self, name):
        return self.path / name

    def folder(self, name):
        (self.path / name).mkdir()
        return self.path / name

    def file(self, name, text, mode=0o644):
        (self.path / name).write_text(text)
        (self.path / name).chmod(mode)
        return self.path / name

    def own_name(self, *names):
        """Give the server's user and group *names* as well, for programs that look for them."""
        user, group = self._entry.pw_uid, self._entry.pw_gid
        users = [f"{name}:x:{user}:{group}::/:/bin/false\n" for name in names]
        groups = [f"{name}:x:{group}:\n" for name in names]
        self.environment["NSS_WRAPPER_PASSWD"] = str(self.file("passwd", "".join(users)))
        self.environment["NSS_WRAPPER_GROUP"] = str(self.file("group", "".join(groups)))
        self.environment["LD_PRELOAD"] = str(found("libnss_wrapper.so", *LIBRARIES))

    def _popen(self):
        """Return how a program is started here, as the server's user."""
        more = {}
        if os.getuid() == 0:
            for path in (self.path, *self.path.rglob("*")):
                shutil.chown(path, self.user, self.group)
            user = {"user": self._entry.pw_uid, "group": self._entry.pw_gid, "extra_groups": []}
            more.update(user)
        libraries = {"LD_LIBRARY_PATH": ":".join(map(str, self.libraries))}
        environment = {**os.environ, **(libraries if self.libraries else {}), **self.environment}
        return {"cwd": self.path, "env": environment, **more}

    def run(self, *command, said=""):
        """Run a program of the server's to its end; it hears *said*."""
        done = subprocess.run(
            [str(word) for word in command], input=said, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._popen(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    @contextmanager
    def running(self, *command, ports, ready=""):
        """Run a server until it is no more wanted.

        It has started once it listens on *ports*, and has said *ready* in its log.
        """
        words = [str(word) for word in command]
        with (self.path / "output.log").open("w") as output, subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            **self._popen(),
        ) as server:  # fmt: skip
            try:
                self._wait_for(server, lambda: all(map(listening, ports)) and ready in self.log())
                yield server
            finally:
                self.end(server)

    def _wait_for(self, server, started):
        deadline = time.monotonic() + STARTING
        while not started():
            assert server.poll() is None, f"the server has ended: {self.log()}"
            assert time.monotonic() < deadline, f"no server yet: {self.log()}"
            time.sleep(0.02)

    def end(self, server):
        """Have *server* end, if it has not."""
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(STOPPING)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)

    def log(self):
        """Return what the server has written to its logs."""
        return "\n".join(it.read_text(errors="replace") for it in sorted(self.path.glob("*.log")))


def listening(port):
    """Whether somebody listens on *port*, who need not be disturbed to find out (proc(5))."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any((it[1][-4:], it[3]) == (f"{port:04X}", "0A") for it in map(str.split, lines))


def free_ports(number):
    """Return *number* ports of loopback that nobody has."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(number)]
        return [it.getsockname()[1] for it in sockets]


def endpoint(port):
    return at(f"{HOST}:{port}")


def relocated(source, place, name, old):
    """Return the copy of the folder *source* as place/name, whose programs know it.

    Its path *old* stands in them, and no other way leads there; the new one, no longer, is
    filled with slashes.
    """
    copy = place / name
    shutil.copytree(source, copy, symlinks=True)
    new = str(copy)
    assert len(new) <= len(old), new
    filled = (new + "/" * (len(old) - len(new))).encode()
    for path in copy.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if old.encode() in data:
                path.write_bytes(data.replace(old.encode(), filled))
    return copy
