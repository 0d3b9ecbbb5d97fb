"""What a start waits for, and what it will not begin beside."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, RULES, TREE, TUTORIAL, Director

pytestmark = pytest.mark.lab

CONF = Path("/etc/lvs-nat/lvs-nat.conf")
RESOLVER = Path("/etc/resolv.conf")
ADDRESSES = Path("/var/lib/lvs-nat/addresses.json")
FORWARD = "net/ipv4/ip_forward"
NAMED = TUTORIAL.replace("192.168.122.10", "lvs01.example.org")
# Answers every question for an IPv4 address (RFC 1035, 4.1), as its last argument says.
ANSWERING = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 53))
    while True:
        said, who = server.recvfrom(512)
        asked = said[12 : said.index(b"\\0", 12) + 5]
        answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + socket.inet_aton(sys.argv[1])
        server.sendto(said[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + asked + answer, who)
"""
# Becomes the program that it is told, which inherits that children leave nothing behind.
DEAF = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def stage():
    RESOLVER.write_text("nameserver 127.0.0.1\n")
    with Director() as director:
        director.lab.run("director", ["ip", "link", "set", "lo", "up"])
        yield director


@pytest.fixture
def director(stage):
    """The director, not yet started, on a machine that has forgotten all names."""
    RULES.write_text(TUTORIAL)
    CONF.write_text("")
    ADDRESSES.unlink(missing_ok=True)
    stage.sysctl(FORWARD, "0")
    yield stage
    stage.service("stop")
    assert stage.table() == ""


@pytest.fixture
def resolver(director):
    """Give names an address, or with none take the resolver away."""
    running = []

    def answer(address=None):
        stop()
        if address is None:
            return
        running.append(director.lab.popen("director", [sys.executable, "-c", ANSWERING, address]))

    def stop():
        for process in running:
            process.kill()
            process.wait()
        running.clear()

    yield answer
    stop()


def test_a_start_waits_for_the_resolver_and_then_serves(director, resolver):
    RULES.write_text(NAMED)
    log = Path("/run/lvs-nat-said")
    with log.open("w") as stderr:
        director.lab.popen("director", [director.program, "run"], stderr=stderr)
    words = "waiting up to 15 s for the resolver: lvs01.example.org: "
    until(lambda: words in log.read_text(), 10, "a word about the wait")
    assert director.table() == ""
    resolver("192.168.122.10")
    until(lambda: "serving: " in log.read_text(), 20, "a director that serves")

    assert director.table() == TUTORIAL
    assert json.loads(ADDRESSES.read_text())["names"]["lvs01.example.org"][0] == "192.168.122.10"


def test_a_name_without_any_address_is_a_problem_with_its_line_once_the_wait_is_over(director):
    RULES.write_text(NAMED)
    CONF.write_text("resolver_wait = 2\n")
    began = time.monotonic()
    refused = director.service("start", check=False)

    assert refused.returncode == 6
    assert f"{RULES}:2: lvs01.example.org has no IPv4 address" in refused.stderr
    assert time.monotonic() - began >= 2
    assert (director.table(), director.sysctl(FORWARD)) == ("", "0")


def test_without_a_resolver_last_good_addresses_serve_and_status_says_so_until_it_is_back(
    director, resolver
):
    RULES.write_text(NAMED)
    resolver("192.168.122.10")
    director.service("start")
    director.service("stop")
    resolver(None)
    began = time.monotonic()
    started = director.service("start")
    took = time.monotonic() - began
    said = director.command("status").stdout

    assert director.table() == TUTORIAL
    assert "! lvs01.example.org cannot be looked up: 192.168.122.10, which it had at " in said
    assert f"{RULES}:2: lvs01.example.org has no IPv4 address" in started.stdout
    assert took < 10
    resolver("192.168.122.10")
    until(lambda: director.status()["names"] == [], 45, "a name that is looked up again")


def ldirectord(director):
    """Start what the kernel takes for ldirectord, in the director's network."""
    program = Path("/run/ldirectord")
    shutil.copy(shutil.which("sleep"), program)
    rival = director.lab.popen("director", [program, "600"])
    until(lambda: Path(f"/proc/{rival.pid}/comm").read_text() == "ldirectord\n", 5, "a rival")
    return rival


def test_whoever_ignores_the_end_of_children_may_start_a_director(director):
    command = [sys.executable, "-m", "lvs_nat.cli.main", "start"]  # a shell would not ignore it
    shown = director.lab.run("director", [sys.executable, "-c", DEAF, *command], cwd=TREE).stdout

    assert "192.168.122.10:80" in shown
    until(lambda: director.server(LVS01)["state"] == "up", 5, "checks")


def test_a_start_beside_a_rival_is_refused_and_touches_nothing(director):
    rival = ldirectord(director)
    refused = director.service("start", check=False)
    rival.kill()
    rival.wait()

    assert refused.returncode == 6
    assert f"ldirectord (pid {rival.pid}) programs the same table: stop it (`" in refused.stderr
    assert "`rivals = warn` in lvs-nat.conf has lvs-nat start all the same" in refused.stderr
    assert (director.table(), director.sysctl(FORWARD)) == ("", "0")
    assert director.service("start").returncode == 0


@pytest.mark.parametrize("policy, told", [("warn", True), ("ignore", False)])
def test_who_says_so_starts_beside_a_rival(director, policy, told):
    CONF.write_text(f"rivals = {policy}\n")
    rival = ldirectord(director)
    started = director.service("start")
    rival.kill()
    rival.wait()

    said = f"warning: ldirectord (pid {rival.pid}) programs the same table"
    assert (said in started.stdout + started.stderr) is told
    assert director.table() == TUTORIAL


def test_a_rival_that_came_later_does_not_keep_a_crashed_director_from_going_on(director):
    director.service("start")
    rival = ldirectord(director)
    os.kill(director.pid(), signal.SIGKILL)
    until(lambda: director.service("status", check=False).returncode == 1, 5, "a dead director")
    director.service("start")
    rival.kill()
    rival.wait()

    assert director.table() == TUTORIAL


def test_a_second_director_on_the_same_network_is_refused_and_the_first_serves_on(director):
    director.service("start")
    places = ["--run-dir", "/run/second", "--state-dir", "/run/second"]
    refused = director.command("start", *places, check=False)
    elsewhere = director.lab.run("client", [director.program, "start", *places])
    director.lab.run("client", [director.program, "stop", *places])

    assert refused.returncode == 6
    assert f"another director, lvs-nat (pid {director.pid()}), programs the table" in refused.stderr
    assert elsewhere.returncode == 0
    assert director.table() == TUTORIAL
    assert director.server("192.168.122.10:80")["state"] == "up"
