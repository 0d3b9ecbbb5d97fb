"""What clients' packets tell of real servers, heard on a kernel of the test's own."""

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

from lvs_nat.system.filters import PATIENCE, QUIET
from lvs_nat.system.watcher import MOST, Sign, Suspicion, Watcher, server
from tests.builders import at

# A neighbour on an interface that leads nowhere: what is sent to it is never answered.
NOWHERE = ("10.99.0.2", "fd00:99::2")
LOOPBACK = ("127.0.0.1", "::1")
LONG = 0.1  # seconds that are longer than any patience with a server of no known round trip
SILENT = 0.5  # seconds after which nothing more is expected
SO_DETACH_FILTER = 27

kernel = pytest.mark.kernel
each_version = pytest.mark.parametrize("version", [0, 1], ids=["IPv4", "IPv6"])


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def nowhere():
    socket.socket(socket.AF_INET6).close()  # loads what knows of IPv6
    run("ip", "link", "add", "nowhere", "type", "dummy")
    try:
        run("ip", "link", "set", "nowhere", "up")
        for address, length in zip(NOWHERE, ("/24", "/64")):
            where = (address[:-1] + "1" + length, "dev", "nowhere")
            run("ip", "address", "add", *where, *(["nodad"] if ":" in address else []))
            near = (address, "lladdr", "02:00:00:00:00:01", "dev", "nowhere")
            run("ip", "neigh", "add", *near, "nud", "permanent")
        yield
    finally:
        run("ip", "link", "delete", "nowhere")


@pytest.fixture
def watcher():
    with Watcher.opened() as watcher:
        assert watcher.lacking == ""
        yield watcher


def endpoint(address, port=80):
    return at(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")


def connect(to):
    """Send the SYN of a connection to *to*; return its socket."""
    family = socket.AF_INET6 if to.address.version == 6 else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    client.connect_ex((str(to.address), to.port))
    return client


@contextmanager
def clients(to, *pauses):
    """Have one client more come to *to* after each of *pauses*, in seconds."""
    with ExitStack() as stack:
        for pause in pauses:
            time.sleep(pause)
            stack.enter_context(connect(to))
        yield


@contextmanager
def serving(address, backlog=4096):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=backlog) as listening:
        yield endpoint(address, listening.getsockname()[1])


def told(watcher, seconds):
    """Return all that *watcher* suspects within *seconds*, or until it suspects something."""
    select.select([watcher], [], [], seconds)
    return watcher.suspicions()


@kernel
@each_version
def test_a_server_that_leaves_a_syn_unanswered_is_suspected_at_the_next(nowhere, watcher, version):
    dead = endpoint(NOWHERE[version])
    watcher.watch([dead])
    with clients(dead, 0, LONG):
        assert told(watcher, SILENT) == [Suspicion(dead, Sign.UNANSWERED)]


@kernel
def test_one_syn_alone_and_many_at_once_tell_nothing(nowhere, watcher):
    dead = endpoint(NOWHERE[0])
    watcher.watch([dead])
    began = time.monotonic()
    with clients(dead, *[0] * 10):
        at_once = time.monotonic() - began < PATIENCE / 1e9  # a busy machine takes longer
        assert told(watcher, SILENT) == [] or not at_once


@kernel
@each_version
def test_a_server_that_refuses_is_suspected_at_once(watcher, version):
    with serving(LOOPBACK[version]) as gone:
        pass
    watcher.watch([gone])
    with clients(gone, 0):
        assert told(watcher, SILENT) == [Suspicion(gone, Sign.REFUSED)]


@kernel
@each_version
def test_a_server_that_answers_is_never_suspected(watcher, version):
    with serving(LOOPBACK[version]) as well:
        watcher.watch([well])
        with clients(well, 0, LONG, LONG):
            assert told(watcher, SILENT) == []
        assert 0 < watcher.round_trip(well) < LONG


@kernel
def test_a_connection_that_its_server_resets_is_no_refusal(watcher):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        well = endpoint(*listening.getsockname())
        watcher.watch([well])
        with connect(well):
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4))
            accepted.close()
            assert told(watcher, SILENT) == []


@kernel
def test_nobody_is_suspected_who_is_not_watched_any_more(nowhere, watcher):
    dead, other = map(endpoint, NOWHERE)
    watcher.watch([dead, other])
    with clients(dead, 0):
        watcher.watch([other])
        with clients(dead, LONG, LONG):
            assert told(watcher, SILENT) == []


@kernel
def test_a_server_is_suspected_a_few_times_a_second_however_many_are_refused(watcher):
    with serving("127.0.0.1") as gone:
        pass
    watcher.watch([gone])
    began, suspected = time.monotonic(), []
    while time.monotonic() < began + 0.5:
        with clients(gone, 0):
            suspected += watcher.suspicions()
    passed = time.monotonic() - began

    assert 2 <= len(suspected) <= passed * 1e9 / QUIET + 1


@kernel
def test_a_server_can_be_hushed_until_a_time(watcher):
    with serving("127.0.0.1") as gone:
        pass
    watcher.watch([gone])
    watcher.hush(gone, time.monotonic() + 3600)
    with clients(gone, 0, LONG):
        assert told(watcher, SILENT) == []
    watcher.hush(gone, 0)
    with clients(gone, 0):
        assert told(watcher, SILENT) == [Suspicion(gone, Sign.REFUSED)]


@kernel
def test_a_server_is_given_eight_of_its_own_round_trips(nowhere, watcher):
    """Packets are seen when they have waited for their turn, so it is the answer that is late."""
    run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "60ms")
    try:
        with serving("127.0.0.1", backlog=0) as slow:
            watcher.watch([slow])
            asked = time.monotonic()
            with clients(slow, 0):
                deadline = time.monotonic() + 5
                while not watcher.round_trip(slow) and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert 0.06 <= watcher.round_trip(slow) < time.monotonic() - asked
                patience = 8 * watcher.round_trip(slow)
                began = time.monotonic()
                with clients(slow, 0, LONG):
                    early = time.monotonic() - began < patience
                    assert told(watcher, 0) == [] or not early
                    with clients(slow, patience):
                        assert told(watcher, SILENT) == [Suspicion(slow, Sign.UNANSWERED)]
    finally:
        run("tc", "qdisc", "delete", "dev", "lo", "root")


@kernel
def test_a_server_is_silent_while_it_owes_an_answer_and_sends_nothing_else(watcher):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        full = endpoint(*listening.getsockname())
        watcher.watch([full])
        with connect(full) as client:
            accepted, _ = listening.accept()
            assert watcher.silent_since(full) is None
            with clients(full, 0, 0, 0):  # more than its queue holds
                asked = time.monotonic()
                silent_since = watcher.silent_since(full)
                assert asked - 1 < silent_since <= asked

                accepted.send(b"alive")
                client.setblocking(True)
                client.recv(100)
                assert asked <= watcher.silent_since(full) <= time.monotonic()
            accepted.close()


@kernel
@pytest.mark.limit(300)
def test_15_000_connections_to_10_000_watched_servers_raise_no_suspicion(watcher):
    """As many at once as the machine can do."""
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as listening:
        port = listening.getsockname()[1]
        servers = [endpoint(f"127.0.{n >> 8}.{n & 255}", port) for n in range(1, 10_001)]
        assert watcher.watch(servers) == frozenset()
        suspected, at_once = [], 64
        for start in range(0, 15_000, at_once):
            with ExitStack() as stack:
                for n in range(start, start + at_once):
                    stack.enter_context(connect(servers[n % len(servers)]))
                for _ in range(at_once):
                    listening.accept()[0].close()
                suspected += watcher.suspicions()
        assert suspected + told(watcher, SILENT) == []
        assert all(watcher.round_trip(it) for it in servers)


@kernel
def test_what_is_opened_with_privilege_is_used_without(nowhere):
    script = """
import time
from lvs_nat.system import privileges
from lvs_nat.system.watcher import Watcher
from tests.system.test_watcher import NOWHERE, clients, endpoint, told
with Watcher.opened() as watcher:
    privileges.become("nobody")
    dead = endpoint(NOWHERE[0])
    watcher.watch([dead])
    with clients(dead, 0, 0.1):
        print(*[it.sign.name for it in told(watcher, 5)], watcher.silent_since(dead) > 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("UNANSWERED True\n", "")


@kernel
def test_another_image_of_the_process_goes_on_with_the_descriptors(nowhere, watcher):
    dead = endpoint(NOWHERE[0])
    watcher.watch([endpoint(NOWHERE[1])])
    packets, table = map(os.dup, watcher.descriptors)
    with Watcher(socket.socket(fileno=packets), table) as other:
        other.watch([dead])
        with clients(dead, 0, LONG):
            assert told(other, SILENT) == [Suspicion(dead, Sign.UNANSWERED)]


@kernel
def test_no_other_filter_can_take_the_place_of_ours(watcher):
    with socket.socket(fileno=os.dup(watcher.fileno())) as same, pytest.raises(PermissionError):
        same.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


@kernel
@each_version
def test_an_old_kernel_sees_refusals_alone(nowhere, version):
    with serving(LOOPBACK[version]) as gone:
        pass
    with serving(LOOPBACK[version]) as well, Watcher.opened(extended=False) as watcher:
        dead = endpoint(NOWHERE[version])
        watcher.watch([gone, well, dead])
        with clients(dead, 0, LONG), clients(well, 0):
            assert told(watcher, SILENT) == []
        with clients(gone, 0):
            assert told(watcher, SILENT) == [Suspicion(gone, Sign.REFUSED)]
        assert watcher.lacking == "eBPF is not wanted"
        assert watcher.silent_since(gone) is None


@kernel
def test_a_flood_of_refusals_is_read_in_parts(nowhere):
    with serving("127.0.0.1") as gone:
        pass
    with Watcher.opened(extended=False) as watcher:
        watcher.watch([gone])
        with clients(gone, *[0] * (MOST + 1)):
            assert watcher.suspicions() == [Suspicion(gone, Sign.REFUSED)]
            assert watcher.suspicions() == [Suspicion(gone, Sign.REFUSED)]
            assert watcher.suspicions() == []


SHORT = bytes.fromhex("45000028000000004006000001020304050607080050")


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x45", SHORT, b"\x4f" + SHORT[1:] + bytes(30), b"\x60" + bytes(42), bytes(60)],
)
def test_what_is_no_packet_of_tcp_is_nobodys(packet):
    assert server(packet, True) is None
