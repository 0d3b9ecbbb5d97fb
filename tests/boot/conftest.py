"""Machines that are booted for the tests of this folder, asked for by name: pytest -m boot."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lvs_nat.lab.boot import machine
from lvs_nat.lab.image import image

ROOT = Path(__file__).parent.parent.parent
RPM = "rpm --force-debian --dbpath /var/lib/rpm"
RULES = """\
-A -t 172.25.0.10:80 -s rr
-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5
-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10
"""
SETTINGS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.send_redirects",
    "net.ipv4.conf.lo.send_redirects",
    "net.ipv4.vs.expire_nodest_conn",
)


def pytest_ignore_collect(config):
    return True if "boot" not in config.option.markexpr else None


class Booted:
    """A machine with two real servers, and the RPMs at hand, not installed."""

    def __init__(self, machine):
        self._machine = machine
        self.reboot = machine.reboot
        # What Red Hat's first packages bring is not ours to remove.
        self("mkdir -p /host /usr/share/licenses /usr/lib/sysusers.d; ip link set lo up")
        self.mount()
        self("install /host/tests/boot/chkconfig /usr/sbin/chkconfig")
        self("install /host/tests/boot/real-servers /usr/local/sbin/real-servers")
        self("modprobe ip_vs")
        self.settings = self.kernel_settings()
        build = "--define '_topdir /tmp/rpm' --define '_dbpath /tmp/rpm/db'"
        self(f"rpmbuild --quiet -bb {build} /host/tests/boot/debian.spec")

    def mount(self):
        """Have this working copy at /host."""
        self(f"mount -t hostfs -o {ROOT},ro none /host")

    def __call__(self, command, status=0, seconds=60):
        """Return the output of *command*, which must end with *status*."""
        found, output = self._machine.run(command, seconds)
        assert found == status, f"{command}: status {found}:\n{output}"
        return output

    def within(self, seconds, command):
        """Return how long it took until *command* succeeded."""
        began = time.monotonic()
        while True:
            status, output = self._machine.run(command)
            took = time.monotonic() - began
            if status == 0:
                return took
            assert took < seconds, f"not within {seconds} s: {command}:\n{output}"

    def write(self, path, text):
        self(f"mkdir -p {Path(path).parent}; cat >{path} <<'END'\n{text}END")

    def table(self):
        return self("ipvsadm -Sn")

    def kernel_settings(self):
        return self(f"sysctl {' '.join(SETTINGS)}")

    def files(self):
        """Return every file of the machine's disk but what logs, databases and this test keep."""
        left = ("/var/log", "/var/lib/rpm", "/var/lib/systemd", "/var/tmp", "/tmp", "/root")
        prune = " -o ".join(f"-path {folder}" for folder in left)
        found = set(self(f"find / -xdev '(' {prune} ')' -prune -o -print").splitlines())
        # useradd's copies: the account stays, so that its number is never another's.
        return found - {f"/etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow")}

    def connect(self):
        """Open connections to the virtual service, so that every real server has counted some."""
        call = "socket.create_connection(('172.25.0.10', 80), 5).close()"
        self(f"python3 -Ic \"import socket; [{call} for _ in 'abcd']\"")
        self.within(10, f"test $({self.COUNTED}) -gt 1")

    # A destination that is removed, and added again, has counted nothing.
    COUNTED = "ipvsadm -Ln --stats | awk '/->.*:80/ && $3 > 0' | wc -l"


@contextmanager
def booted(init):
    if not list((ROOT / "build/rpm").glob("*.noarch.rpm")):
        pytest.fail("no RPMs are built: make rpm")
    with machine(image(init, os.environ), os.environ) as started:
        yield Booted(started)
