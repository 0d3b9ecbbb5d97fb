"""Machines that are booted for the tests of this folder, asked for by name: pytest -m boot."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from lvs_nat.lab.boot import machine as boot
from lvs_nat.lab.image import Init, image

ROOT = Path(__file__).parent.parent.parent
BUILT = ROOT / "build/rpm"
RPM = "rpm --force-debian --dbpath /var/lib/rpm"
RULES = """\
-A -t 172.25.0.10:80 -s rr
-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5
-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10
"""
RULE_FILE = "/etc/sysconfig/ipvsadm"
# As an administrator writes it, and no program does: it can be told whether one has.
WRITTEN = f"# Written by hand.\n{RULES}"
TWO_SERVE = "lvs-nat status | grep '2 of 2 real servers serving'"
URL = "http://172.25.0.10"
LOAD = "/usr/local/sbin/network load"
NET_ADMIN = "0000000000001000"  # bit 12, which is CAP_NET_ADMIN
NOTHING = "0000000000000000"
# As Red Hat's package has it.
IPVSADM_SERVICE = """\
[Unit]
Description=Initialise the Linux Virtual Server
After=syslog.target network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c "exec /usr/sbin/ipvsadm-restore < /etc/sysconfig/ipvsadm"
ExecStop=/bin/bash -c "exec /usr/sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm"
ExecStop=/usr/sbin/ipvsadm -C

[Install]
WantedBy=multi-user.target
"""


def pytest_ignore_collect(config):
    return True if "boot" not in config.option.markexpr else None


def no_rpms(folder):
    """Fail: there is nothing to try."""
    pytest.fail(f"no RPMs are in {folder}: make boot builds them")


class Booted:
    """A machine between a client and two real servers, with the RPMs at hand, not installed.

    Its kinds know how a service is switched on, and which packages that takes.
    """

    packages = ""

    def __init__(self, machine):
        self._machine = machine
        # What Red Hat's first packages bring is not ours to remove.
        self("mkdir -p /host /usr/share/licenses /usr/lib/sysusers.d /usr/local/lib/lab")
        self.mount()
        self("install /host/tests/boot/chkconfig /usr/sbin/chkconfig")
        self("install /host/tests/boot/network /usr/local/sbin/network")
        self("install /host/lvs_nat/lab/web.py /host/lvs_nat/lab/load.py /usr/local/lib/lab")
        self("modprobe ip_vs")
        self.have_services()
        for n in (1, 2):
            self.within(30, f"timeout 1 bash -c ': </dev/tcp/192.168.122.{n}0/80'")
        self.settings = self.kernel_settings()
        build = "--define '_topdir /tmp/rpm' --define '_dbpath /tmp/rpm/db'"
        self(f"rpmbuild --quiet -bb {build} /host/tests/boot/debian.spec")
        self.before = self.files()

    def have_services(self):
        """Have tests/boot/network run now, and after each boot before our service."""
        raise NotImplementedError

    def start(self):
        """Have the service run, now and after each boot."""
        raise NotImplementedError

    def pid(self):
        return int(self("cat /run/lvs-nat/lvs-nat.pid"))

    def mount(self):
        """Have this working copy at /host."""
        self(f"mount -t hostfs -o {ROOT},ro none /host")

    def reboot(self):
        self._machine.reboot()
        self.mount()

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

    def rule_file(self):
        return self(f"cat {RULE_FILE}")

    @contextmanager
    def table_stands(self):
        """Look at the kernel's table some ten times a second; it must be RULES each time."""
        self("rm -f /run/seen*")
        look = "while [ ! -e /run/seen-enough ]; do ipvsadm -Sn; sleep 0.05; done"
        self(f"setsid sh -c '{look}; touch /run/seen-all' >/run/seen 2>&1 &")
        yield
        self("touch /run/seen-enough")
        self.within(10, "test -e /run/seen-all")
        seen = self("cat /run/seen")
        assert seen.replace(RULES, "") == ""
        assert seen.count(RULES) > 5

    def rights(self, *pids):
        """Return users, capabilities and no_new_privs of each process."""
        lines = self(
            f"cd /proc; for pid in {' '.join(map(str, pids))}; do awk '/^Uid|^Cap|^NoNewPrivs/"
            ' { $1 = ""; said = said $0 } END { print said }\' $pid/status; done'
        )
        return [line.split() for line in lines.splitlines()]

    def family(self):
        """Return the pids of director, spawner and prober."""
        found = [self.pid()]
        for _ in range(2):
            found.append(int(self(f"cat /proc/{found[-1]}/task/{found[-1]}/children")))
        return found

    def status(self):
        return json.loads(self("lvs-nat status --json"))

    def kernel_settings(self):
        """Return every kernel setting that has to do with routing and with IPVS."""
        # The length of the sync daemon's queue follows the memory that is free.
        names = r"ip_forward|conf\.[^.]*\.(forwarding|.*_redirects)|vs\.[^q]*"
        return self(rf"sysctl -a 2>/dev/null | grep -E '^net\.ipv[46]\.({names}) ='")

    def files(self):
        """Return every file of the machine's disk but what logs, databases and this test keep."""
        left = ("/var/log", "/var/lib/rpm", "/var/lib/systemd", "/var/tmp", "/tmp", "/root")
        prune = " -o ".join(f"-path {folder}" for folder in left)
        found = set(self(f"find / -xdev '(' {prune} ')' -prune -o -print").splitlines())
        # useradd's copies: the account stays, so that its number is never another's.
        return found - {f"/etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow")}

    def connect(self, patience=5):
        """Open connections to the virtual service, so that every real server has counted some."""
        self(f"{LOAD} {URL}/ 10 4 {patience} >/run/requests")
        self.within(10, f"test $({self.COUNTED}) -gt 1")

    def errors(self):
        """Return what clients complain of that ask now."""
        self(f"{LOAD} {URL}/ 10 6 10 >/run/requests")
        records = [json.loads(it) for it in self("cat /run/requests").splitlines()]
        assert len(records) == 6
        return [it["error"] for it in records if it["error"]]

    # A destination that is removed, and added again, has counted nothing.
    COUNTED = "ipvsadm -Ln --stats | awk '/->.*:80/ && $3 > 0' | wc -l"
    OPEN = "ipvsadm -Ln | awk '/->.*:80/ { sum += $5 } END { print sum }'"

    def busy(self, transfers, rate=30):
        """Have clients download *transfers* files at once, others ask anew all the while.

        For longer than an upgrade takes on this machine.  Returns how many clients that makes.
        """
        seconds = round(10 + 3 * self.installing)
        stream = f"'{URL}/stream?seconds={seconds}'"
        self(
            f"setsid {LOAD} {stream} {transfers} {transfers} {seconds + 60} >/run/transfers 2>&1 &"
        )
        self.within(20, f"test $({self.OPEN}) -ge {transfers}")
        self(f"setsid {LOAD} {URL}/ {rate} {rate * seconds} 10 >/run/requests 2>&1 &")
        return transfers + rate * seconds

    def served(self, seconds=150):
        """Return how many clients of `busy` were served, once all have ended, and their errors."""
        self.within(seconds, "! pgrep -f '[l]oad.py'")
        records = [json.loads(it) for it in self("cat /run/transfers /run/requests").splitlines()]
        return len(records), [it["error"] for it in records if it["error"]]


class Systemd(Booted):
    init = Init.SYSTEMD
    packages = "lvs-nat-[0-9]*.noarch.rpm"

    def have_services(self):
        self("rm /etc/init.d/ipvsadm; systemctl unmask ipvsadm")
        self.write("/usr/lib/systemd/system/ipvsadm.service", IPVSADM_SERVICE)
        self.write(
            "/etc/systemd/system/network.service",
            "[Unit]\nBefore=network-online.target\n"
            "[Service]\nExecStart=/usr/local/sbin/network run\n"
            "[Install]\nWantedBy=multi-user.target network-online.target\n",
        )
        self("systemctl enable --now network")

    def start(self):
        self("systemctl reset-failed lvs-nat; systemctl enable --now lvs-nat")


class Sysv(Booted):
    init = Init.SYSV
    packages = "lvs-nat-*.noarch.rpm"

    def have_services(self):
        self.write(
            "/etc/init.d/network",
            '#!/bin/sh\n[ "$1" != start ] || {\n/usr/local/sbin/network up\n'
            "setsid /usr/local/sbin/network run </dev/null >/dev/null 2>&1 &\n}\n",
        )
        self("chmod 755 /etc/init.d/network")
        self("for n in 2 3 4 5; do ln -s ../init.d/network /etc/rc$n.d/S20network; done")
        self("service network start")

    def start(self):
        self("mkdir -p /var/lock/subsys")  # as Red Hat's systems have it
        self("chkconfig lvs-nat on")
        self("service lvs-nat start")


@pytest.fixture(scope="session", autouse=True)
def machines(request):
    """The machines that are to be tried; each gets ready while something else is tried."""
    for folder in (BUILT, BUILT / "next"):
        if not list(folder.glob("*.noarch.rpm")):
            no_rpms(folder)
    modules = {item.module for item in request.session.items}
    kinds = {module.KIND for module in modules if hasattr(module, "KIND")}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:

        def ready(kind, processor):
            os.sched_setaffinity(0, {processor})  # of this thread, and of the guests it begins
            return kind(stack.enter_context(boot(image(kind.init, os.environ), os.environ)))

        processors = cycle(sorted(os.sched_getaffinity(0)))
        yield {kind: pool.submit(ready, kind, next(processors)) for kind in kinds}


@pytest.fixture(scope="module")
def machine(request, machines):
    """The machine of a module's KIND."""
    return machines[request.module.KIND].result()


@pytest.fixture(scope="module")
def installed(machine):
    """The machine with the packages installed, dependency checks on."""
    machine(f"{RPM} -i /tmp/rpm/RPMS/noarch/debian-1-1.noarch.rpm")
    began = time.monotonic()
    machine(f"{RPM} -i /host/build/rpm/{machine.packages}", seconds=120)
    machine.installing = time.monotonic() - began
    return machine


@pytest.fixture
def serving(installed):
    """The machine with the service that RULES describe, and nothing else."""
    installed.write(RULE_FILE, WRITTEN)
    installed.start()
    installed.within(10, TWO_SERVE)
    assert installed.table() == RULES
    return installed
