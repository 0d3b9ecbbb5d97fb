"""The prober as the director meets it: real processes, real sockets on loopback."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon.link import Probed, ProberLost
from lvs_nat.daemon.spawner import spawn
from lvs_nat.model import Endpoint
from tests.builders import at

CHECK = Check(interval=0.1, timeout=0.3, fast=0.05)


def here(server):
    """Return the endpoint that a socket on loopback is bound to."""
    return at(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.fixture
def link():
    link = spawn()
    yield link
    link.close()


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server


@pytest.fixture
def closed():
    """A port that refuses."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield Target(here(reserved), CHECK)


@pytest.fixture
def silent():
    """A port that drops whatever comes: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield Target(here(server), CHECK)
        for filler in fillers:
            filler.close()


def opened(server, check=CHECK):
    return Target(here(server), check)


def until(link, enough, seconds=10.0):
    """Return the events up to the one after which *enough* holds of them."""
    seen = []
    deadline = time.monotonic() + seconds
    while not enough(seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.002)
        seen.extend(link.events())
    return seen


def outcomes(seen, target):
    return [e.verdict.outcome for e in seen if isinstance(e, Probed) and e.target == target]


def prober_of(spawner):
    """Return the pid of the spawner's one child."""
    children = Path(f"/proc/{spawner}/task/{spawner}/children")
    deadline = time.monotonic() + 5
    while not children.read_text().split():
        assert time.monotonic() < deadline
    return int(children.read_text().split()[0])


def test_each_server_gets_the_verdict_it_deserves(link, server, closed, silent):
    targets = [opened(server), closed, silent]
    link.ask(targets)
    seen = until(link, lambda seen: all(outcomes(seen, target) for target in targets))

    assert [outcomes(seen, target)[0] for target in targets] == [
        Outcome.PASS,
        Outcome.REFUSED,
        Outcome.SILENT,
    ]
    words = {event.verdict.words for event in seen}
    assert words == {"connected", "connection refused", "no answer within 0.3 s"}


def test_the_servers_application_never_sees_a_probe(link, server):
    target = opened(server, Check(interval=0.05, timeout=1.0))
    link.ask([target])
    until(link, lambda seen: outcomes(seen, target))
    time.sleep(0.5)  # ten probes' time, in which nothing must happen
    server.setblocking(False)

    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_server_that_ends_and_comes_back_is_noticed_both_times(link, server):
    target = opened(server)
    address = server.getsockname()
    link.ask([target])
    until(link, lambda seen: Outcome.PASS in outcomes(seen, target))
    server.close()
    until(link, lambda seen: outcomes(seen, target)[-2:] == [Outcome.REFUSED] * 2)
    with socket.create_server(address, backlog=512):
        until(link, lambda seen: outcomes(seen, target)[-2:] == [Outcome.PASS] * 2)


def test_a_server_of_ipv6_is_asked_too(link):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        target = Target(Endpoint(at("[::1]:1").address, server.getsockname()[1]), CHECK)
        link.ask([target])
        seen = until(link, lambda seen: outcomes(seen, target))

    assert outcomes(seen, target)[0] is Outcome.PASS


def test_no_way_to_ask_is_not_the_servers_fault(link):
    target = Target(at("255.255.255.255:80"), CHECK)
    link.ask([target])
    seen = until(link, lambda seen: outcomes(seen, target))

    assert outcomes(seen, target)[0] is Outcome.UNKNOWN


def test_a_killed_prober_is_replaced_and_the_director_told(link, server):
    target = opened(server)
    link.ask([target])
    until(link, lambda seen: outcomes(seen, target))
    os.kill(prober_of(link._spawner), signal.SIGKILL)
    seen = until(link, lambda seen: seen and outcomes(seen, target) and lost(seen))

    assert str(lost(seen)[0]) == ("the prober was lost and is started anew: killed by signal 9")


def lost(seen):
    return [event for event in seen if isinstance(event, ProberLost)]


def test_a_hung_prober_is_replaced(link, server):
    target = opened(server)
    link.ask([target])
    until(link, lambda seen: outcomes(seen, target))
    os.kill(prober_of(link._spawner), signal.SIGSTOP)
    seen = until(link, lambda seen: lost(seen) and outcomes(seen, target), 15)

    assert "no sign of life" in lost(seen)[0].words


def test_a_prober_that_was_stopped_blames_no_server_for_it(link, server):
    target = opened(server, Check(interval=0.05, timeout=0.3, fall=1))
    link.ask([target])
    until(link, lambda seen: outcomes(seen, target))
    prober = prober_of(link._spawner)
    os.kill(prober, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (prober, signal.SIGCONT)).start()
    resumed = time.monotonic() + 2.0
    seen = until(link, lambda _: time.monotonic() > resumed)

    assert set(outcomes(seen, target)) <= {Outcome.PASS}


def test_when_the_director_ends_nobody_is_left(server):
    link = spawn()
    link.ask([opened(server)])
    until(link, bool)
    prober = prober_of(link._spawner)
    link.close()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{prober}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_new_orders_keep_the_schedule_of_targets_that_stay(link, server, closed):
    slow = opened(server, Check(interval=3600))
    link.ask([slow])
    until(link, lambda seen: outcomes(seen, slow))
    link.ask([closed, slow])
    seen = until(link, lambda seen: len(outcomes(seen, closed)) > 1)

    assert outcomes(seen, slow) == []


def test_two_thousand_servers_are_all_asked_without_a_burst(link, server):
    port = server.getsockname()[1]
    check = Check(interval=1.0, timeout=5.0)
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as everywhere:
        port = everywhere.getsockname()[1]
        targets = [Target(at(f"127.1.{n >> 8}.{n & 255}:{port}"), check) for n in range(1, 2001)]
        link.ask(targets)
        seen = until(link, lambda seen: len({e.target for e in seen}) == 2000, 20)

    assert {event.verdict.outcome for event in seen} == {Outcome.PASS}
