"""Refusals kept from clients, on the lab's network: who is refused, and who only waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat.lab.topology import Lab, until

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent.parent
RECORD = Path("/run/lvs-nat/rescue")
# Sets up as root, or adopts without, then switches as a director does, told line by line.
SWITCH = """
import select, sys
from pathlib import Path
from lvs_nat.model import Endpoint
from lvs_nat.system import privileges
from lvs_nat.system.rescue import Rescue
rescue = Rescue(Path("/run/lvs-nat/rescue"))
if sys.argv[1:]:
    privileges.keep_only(["CAP_NET_ADMIN"])
    print(rescue.adopt(), flush=True)
else:
    print(rescue.set_up(), flush=True)
    privileges.keep_only(["CAP_NET_ADMIN"])
for line in sys.stdin:
    if rescue.begin(map(Endpoint.parse, line.split())):
        while not rescue.ended():
            select.select([rescue], [], [], 5)
    print("switched", flush=True)
"""
REMOVE = """
from pathlib import Path
from lvs_nat.system.rescue import Rescue
print(Rescue(Path("/run/lvs-nat/rescue")).remove())
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)
except ConnectionRefusedError:
    print("refused")
except socket.timeout:
    print("waited")
"""
CLOSED = 81
SERVERS = {"lvs01": ("192.168.122.10", "fd00:122::10"), "lvs02": ("192.168.122.20", "fd00:122::20")}


class Switch:
    """The rules in the director, made and switched by a process there."""

    def __init__(self, lab, *words):
        self._lab = lab
        self._process = lab.popen(
            "director",
            [sys.executable, "-c", SWITCH, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self.means = self._process.stdout.readline().strip()

    def to(self, *endpoints):
        self._process.stdin.write(" ".join(endpoints) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "switched\n"

    def crash(self):
        self._process.kill()
        self._process.wait()


def seen(lab, host="client"):
    """Return what *host* meets at lvs01 and at lvs02, by IPv4 and by IPv6."""
    program = [sys.executable, "-c", CONNECT]
    return [
        lab.run(host, [*program, address, str(CLOSED)]).stdout.strip()
        for addresses in SERVERS.values()
        for address in addresses
    ]


def rules(lab):
    """Return all of ours that stands in the packet filters of the director."""
    commands = ("iptables-legacy-save -t raw", "ip6tables-legacy-save -t raw", "ipset list")
    if lab.run("director", ["nft", "add", "table", "inet", "try"], check=False).returncode == 0:
        commands = ("nft list ruleset",)  # user-mode Linux has none
    shown = "".join(lab.run("director", it.split()).stdout for it in commands)
    return [line for line in shown.splitlines() if "lvs-nat" in line]


def remove(lab):
    return lab.run("director", [sys.executable, "-c", REMOVE], cwd=ROOT).stdout.strip()


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        for version, setting in (("ipv4", "ip_forward"), ("ipv6", "conf/all/forwarding")):
            lab.run("director", ["sh", "-c", f"echo 1 >/proc/sys/net/{version}/{setting}"])
        lab.run("client", ["ip", "route", "add", "192.168.122.0/24", "via", "172.25.0.10"])
        lab.run("client", ["ip", "route", "add", "fd00:122::/64", "via", "fd00:25::10"])
        # IPv6 needs a moment before it finds its neighbours.
        until(lambda: seen(lab) == ["refused"] * 4, 20, "every server reached")
        yield lab


@pytest.fixture
def switch(lab):
    switch = Switch(lab)
    yield switch
    switch.crash()
    remove(lab)
    assert rules(lab) == []
    assert not RECORD.exists()


def test_refusals_of_those_in_the_set_are_kept_and_of_nobody_else(lab, switch):
    assert seen(lab) == ["refused"] * 4

    switch.to(f"192.168.122.10:{CLOSED}", f"[fd00:122::10]:{CLOSED}", "192.168.122.20:80")
    assert seen(lab) == ["waited", "waited", "refused", "refused"]

    switch.to(f"192.168.122.20:{CLOSED}")
    assert seen(lab) == ["refused", "refused", "waited", "refused"]

    switch.to()
    assert seen(lab) == ["refused"] * 4


def test_the_director_itself_is_told_of_every_refusal(lab, switch):
    switch.to(*(f"{four}:{CLOSED}" for four, _ in SERVERS.values()), f"[fd00:122::10]:{CLOSED}")

    assert seen(lab, "director") == ["refused"] * 4


def test_ten_thousand_servers_are_switched_at_once(lab, switch):
    many = [f"10.0.{n >> 8}.{n & 255}:80" for n in range(10_000)]
    switch.to(*many, f"192.168.122.10:{CLOSED}")

    assert seen(lab) == ["waited", "refused", "refused", "refused"]


def test_a_director_that_comes_after_a_crash_finds_the_rules_and_makes_them_anew(lab, switch):
    switch.to(f"192.168.122.10:{CLOSED}")
    before = rules(lab)
    switch.crash()
    assert seen(lab) == ["waited", "refused", "refused", "refused"]

    other = Switch(lab)
    assert other.means == switch.means
    assert seen(lab) == ["refused"] * 4
    other.to(f"192.168.122.10:{CLOSED}")
    assert rules(lab) == before
    other.crash()


def test_an_image_that_goes_on_switches_the_rules_it_finds_without_a_gap_or_root(lab, switch):
    switch.to(f"192.168.122.10:{CLOSED}")
    before = rules(lab)
    switch.crash()

    other = Switch(lab, "adopt")
    assert other.means == "True"
    assert rules(lab) == before
    assert seen(lab) == ["waited", "refused", "refused", "refused"]
    other.to(f"192.168.122.20:{CLOSED}")
    assert seen(lab) == ["refused", "refused", "waited", "refused"]
    other.crash()


def test_rules_are_removed_once_and_only_if_they_are_ours(lab, switch):
    assert rules(lab) != []
    switch.crash()
    assert [remove(lab), remove(lab)] == ["True", "False"]
    assert rules(lab) == []


@pytest.mark.outside
@pytest.mark.limit(300)
def test_nftables_does_the_same_on_this_machines_own_kernel():
    """User-mode Linux has no nftables; this needs root, and no IPVS."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"]).returncode:
        pytest.skip("only root has a packet filter of its own to try")
    done = subprocess.run(
        [sys.executable, "-m", "lvs_nat.lab", "-t", "200", "--", sys.executable, "-m", "pytest",
         "-q", "-p", "no:cacheprovider", "-m", "not outside", __file__],
        env={**os.environ, "LVS_NAT_LAB_KERNEL": "native", "PYTEST_ADDOPTS": ""},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
