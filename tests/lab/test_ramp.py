"""A rack of servers returns to a busy pool: nobody is flooded, however the kernel schedules."""

import resource
import subprocess
import sys
from collections import Counter

import pytest

from lvs_nat.lab.topology import VIRTUAL, until
from tests.lab.director import Director

pytestmark = [pytest.mark.lab, pytest.mark.limit(240)]

STAYING = range(8000, 8140)
RETURNING = range(9000, 9060)
OPEN = 2000
RATE = 80
RAMP = 60.0
WINDOW = 10.0
RULES = f"-A -t {VIRTUAL}:80 -s wlc\n" + "".join(
    f"-a -t {VIRTUAL}:80 -r 192.168.122.10:{port} -m -w 1\n" for port in (*STAYING, *RETURNING)
)
CONFIG = f"check = connect\ninterval = 1\nrise = 1\nslow_start = {RAMP:g}\n"
# Tells each client the port that it has come to, and keeps it until it goes.
SERVER = """
import select, socket, sys
poll, listening, kept = select.epoll(), {}, {}
for port in range(int(sys.argv[1]), int(sys.argv[2])):
    made = socket.create_server(("", port), backlog=512)
    poll.register(made, select.EPOLLIN)
    listening[made.fileno()] = made
print("ready", flush=True)
while True:
    for fd, _ in poll.poll():
        if fd not in listening:
            kept.pop(fd).close()
            continue
        client = listening[fd].accept()[0]
        try:
            client.sendall(b"%d\\n" % listening[fd].getsockname()[1])
        except OSError:
            client.close()  # a check
        else:
            kept[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
"""
# Opens so many connections at once, then more at a rate; each ends in its turn, so that as many
# stay open.  Says when each of the later ones came, and to which port.
CLIENT = """
import socket, sys, time
from collections import deque
where, (at_once, rate, seconds) = (sys.argv[1], 80), map(float, sys.argv[2:])
kept = deque()
def come():
    made = socket.create_connection(where, 20)
    kept.append(made)
    return made.recv(16).decode().strip()
for _ in range(int(at_once)):
    come()
print("open", flush=True)
sys.stdin.readline()
began = time.monotonic()
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, began + number / rate - time.monotonic()))
    kept.popleft().close()
    print(time.monotonic() - began, come(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def program(director, host, text, *words):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return director.lab.popen(host, [sys.executable, "-IS", "-c", text, *map(str, words)], **pipes)


def listen(director, ports):
    server = program(director, "lvs01", SERVER, ports.start, ports.stop)
    assert server.stdout.readline() == "ready\n"


def worst(arrivals, ports, servers):
    """Return the most that one of *ports* got in any window, in shares that are fair.

    Where the machine is too busy to send all, a share is that of what was to be sent: servers
    return by the clock, whoever comes.
    """
    found = 0.0
    for place in range(0, len(arrivals), 10):
        began = arrivals[place][0]
        window = [port for when, port in arrivals[place:] if when < began + WINDOW]
        if arrivals[-1][0] < began + WINDOW:
            return found
        most = max(Counter(window)[port] for port in ports)
        found = max(found, most * servers / max(len(window), RATE * WINDOW))
    return found


def test_sixty_servers_return_at_once_and_none_gets_twice_its_fair_share(many_descriptors):
    with Director(RULES, CONFIG, servers=("lvs01",)) as director:
        listen(director, STAYING)
        director.service("start")
        until(lambda: director.table().count(" -r ") == len(STAYING), 20, "those that stay")
        clients = program(director, "client", CLIENT, VIRTUAL, OPEN, RATE, RAMP)
        assert clients.stdout.readline() == "open\n"

        listen(director, RETURNING)
        both = len(STAYING) + len(RETURNING)
        until(lambda: director.table().count(" -r ") == both, 20, "those that return")
        clients.stdin.write("\n")
        clients.stdin.flush()
        lines = [clients.stdout.readline() for _ in range(int(RATE * RAMP))]
        arrivals = [(float(when), int(port)) for when, port in map(str.split, lines)]
        share = worst(arrivals, RETURNING, both)

        print(f"{len(arrivals)} connections; at most {share:.2f} of a fair share in {WINDOW:g} s")
        assert {port for _, port in arrivals} >= set(RETURNING)
        assert share <= 2.0
