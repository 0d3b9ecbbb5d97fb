"""Servers whose answers cost much are heard beside others, none of which is kept waiting.

Time is that of this thread alone: a busy machine stretches it, and changes nothing.
"""

import gc
import os
import resource
import select
import socket
import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from lvs_nat.checks.effort import SEARCHING, Effort
from lvs_nat.checks.kind import Answer, Kind
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Http
from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon.engine import ANSWERS, RESPITE, Engine
from lvs_nat.daemon.underway import TURN
from tests.builders import at

# By so much (seconds) a verdict may be late, whatever other servers send.
LATE = 0.15
PASSED = Answer(Outcome.PASS, "it is well")
# Asked once within any of these tests, but for the first.
ONCE = Check(interval=30.0, timeout=0.4, fast=30.0, fall=1, rise=1)
OFTEN = Check(interval=1.0, timeout=1.0, fast=1.0)

clock = time.thread_time


class World:
    """An engine that asks *targets*, and all that it said; kind is how, if not as ever."""

    def __init__(self, targets, kind=None):
        self.seen = []
        self.latencies = defaultdict(list)
        self.turns = []
        more = {"load": lambda *_: kind} if kind else {}
        self.engine = Engine(self._ended, 10_000, clock, **more)
        self.engine.ask(targets)

    def __enter__(self):
        gc.disable()  # what pytest holds takes long to look through, in whoever's turn that is
        return self

    def __exit__(self, *_):
        gc.enable()
        self.engine.close()

    def _ended(self, probe, _):
        self.seen.append((clock(), probe.target, probe.outcome, probe.words))
        self.latencies[probe.target].append(probe.latency)

    def turn(self):
        began = clock()
        self.engine.turn(0.0)
        self.turns.append(clock() - began)

    def times(self, target):
        return [when for when, whom, *_ in self.seen if whom == target]

    def outcomes(self, *targets):
        return {outcome for _, whom, outcome, _ in self.seen if whom in targets}


def response(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


WELL = response(b"ab")
ENDLESS = response(b"a" * 40), Http(regex="(a+)+b")
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_000, Http()


class Web:
    """Web servers at all addresses of loopback, which answer all at once when `answer` is called.

    Those at 127.9 say *said*, the others what is well.
    """

    def __init__(self, said):
        self._said = said
        self._listening = socket.create_server(("0.0.0.0", 0), backlog=4096)
        self._listening.setblocking(False)
        self._clients = []
        self.port = self._listening.getsockname()[1]

    def close(self):
        for client in self._clients:
            client.close()
        self._listening.close()

    def answer(self):
        with suppress(BlockingIOError):
            while True:
                self._clients.append(self._listening.accept()[0])
        waiting, self._clients = self._clients, []
        for client in waiting:
            client.setblocking(False)
            try:
                client.recv(65536)
            except BlockingIOError:
                self._clients.append(client)
                continue
            except ConnectionError:
                client.close()
                continue
            ill = client.getsockname()[0].startswith("127.9.")
            with client, suppress(ConnectionError):
                client.sendall(self._said if ill else WELL)


@pytest.mark.parametrize(
    "how, words",
    [
        (ENDLESS, "what it sent takes too long to search for the regular expression"),
        (CHUNKS, "connection closed after 10000 bytes of its body"),
    ],
    ids=["an endless search", "countless chunks"],
)
def test_servers_whose_answers_cost_much_fail_beside_others_that_pass(how, words):
    said, question = how
    check = Check(question, interval=30.0, timeout=30.0, fast=30.0, fall=1, rise=1)
    with closing(Web(said)) as web:
        ill = [Target(at(f"127.9.0.{n}:{web.port}"), check) for n in range(1, 9)]
        well = [Target(at(f"127.1.0.{n}:{web.port}"), check) for n in range(1, 4)]
        with World([*ill, *well]) as world:
            while {it[1] for it in world.seen} != {*ill, *well}:
                world.turn()
                web.answer()

    assert world.outcomes(*well) == {Outcome.PASS}
    assert {it[2:] for it in world.seen if it[1] in ill} == {(Outcome.FAIL, words)}


def burn(seconds):
    until = clock() + seconds
    while clock() < until:
        pass


class Speech:
    """A question that hears something for as long as there is something in a pipe."""

    events = select.EPOLLIN

    def __init__(self, pipe, cost):
        self._fd = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
        self.cost = cost
        self.heard = 0

    def fileno(self):
        return self._fd

    def close(self):
        os.close(self._fd)


class Pipe:
    """A pipe that has a name, so that each question opens it anew."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    def fill(self):
        os.write(self._fd, b"!")

    def drain(self):
        os.read(self._fd, 1)

    def close(self):
        os.close(self._fd)


@pytest.fixture
def pipe(tmp_path):
    with closing(Pipe(tmp_path / "pipe")) as pipe:
        yield pipe


def costly(*milliseconds, check=ONCE):
    """Return targets, each with the cost of a step of its answers in its port."""
    return [
        Target(at(f"127.1.{n >> 8}.{n & 255}:{cost + 1}"), check)
        for n, cost in enumerate(milliseconds)
    ]


def costing(pipe, steps=1, bounded=True, mute=None):
    """Return a kind whose answers take *steps*, each of which costs what the target says.

    The cost is bounded by an Effort, or known only once it is paid.  Of *mute* nothing is heard.
    """

    def start(target):
        speech = Speech(pipe, (target.endpoint.port - 1) / 1000)
        speech.events = 0 if target == mute else Speech.events
        return speech

    def proceed(asking, _):
        if asking.cost and bounded:
            Effort(SEARCHING).spend(burn, asking.cost)
        elif asking.cost:
            burn(asking.cost)
        asking.heard += 1
        return PASSED if asking.heard >= steps else None

    return Kind(lambda target: target, start, proceed, steps=True)


def test_fifty_servers_whose_answers_cost_much_make_no_other_verdict_late(pipe):
    check = Check(interval=0.5, timeout=1.5, fast=0.2)
    quiet = Target(at("127.2.0.1:1"), Check(interval=0.5, timeout=0.3, fall=1))
    ill, well = costly(*[1000] * 50, check=check), costly(*[0] * 5, check=check)
    pipe.fill()
    with World([*ill, *well, quiet], costing(pipe, mute=quiet)) as world:
        end = clock() + 3.0
        while clock() < end:
            world.turn()
        looked_again = world.engine.looked_again

    # One that begins late and ends late may be past its next turn.
    longest = {**dict.fromkeys(well, check.interval), quiet: 0.5 + quiet.check.timeout}
    for target, seconds in longest.items():
        times = world.times(target)
        assert len(times) >= 4
        assert max(b - a for a, b in zip(times[1:], times[2:])) <= seconds + LATE
    assert max(world.latencies[quiet]) <= quiet.check.timeout + LATE
    assert world.outcomes(*well) == {Outcome.PASS}
    assert world.outcomes(quiet) == {Outcome.SILENT}
    assert world.outcomes(*ill) == {Outcome.FAIL}
    assert looked_again == 0
    assert max(world.turns) <= TURN + LATE


def round_of(world, pipe, targets):
    """Let *targets* say something all at once; return them in the order of their verdicts."""
    while world.engine.in_flight < len(targets):
        world.turn()
    pipe.fill()
    before, heard = len(world.seen), {}
    while len(heard) < len(targets):
        world.turn()
        heard = {whom: None for _, whom, *_ in world.seen[before:]}
    pipe.drain()
    return list(heard)


def test_a_server_that_costs_less_is_heard_first(pipe):
    targets = costly(80, 20, 0, check=OFTEN)
    with World(targets, costing(pipe)) as world:
        heard = [round_of(world, pipe, targets) for _ in range(2)]

    assert heard[1] == targets[::-1]


def test_a_server_that_has_cost_much_is_heard_behind_the_others_from_then_on(pipe):
    targets = costly(0, 15, 15, 15, 0, check=OFTEN)
    with World(targets, costing(pipe, bounded=False)) as world:
        heard = [round_of(world, pipe, targets) for _ in range(2)]

    assert set(heard[1][:2]) == {targets[0], targets[-1]}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_server_that_we_could_not_hear_in_time_is_not_blamed_for_it(pipe, steps):
    targets = costly(*[50] * 10)
    with World(targets, costing(pipe, steps)) as world:
        round_of(world, pipe, targets)

    assert world.outcomes(*targets) == {Outcome.PASS}
    assert max(world.turns) <= TURN + LATE


def test_a_server_that_costs_much_and_never_comes_to_an_end_is_given_up(pipe):
    check = replace(ONCE, timeout=0.1)
    targets = costly(5, 5, 5, check=check)
    with World(targets, costing(pipe, steps=10**6)) as world:
        began = clock()
        round_of(world, pipe, targets)
        took = clock() - began

    assert world.outcomes(*targets) == {Outcome.SILENT}
    assert took <= (RESPITE + 2) * check.timeout


def test_however_many_answers_come_at_once_the_turns_stay_short(pipe):
    targets = costly(*[1] * 300)
    with World(targets, costing(pipe)) as world:
        round_of(world, pipe, targets)

    assert world.outcomes(*targets) == {Outcome.PASS}
    assert max(world.turns) <= 2 * TURN


def test_servers_that_cost_much_have_half_of_the_time_together(pipe):
    targets = costly(*[50] * 10)
    with World(targets, costing(pipe)) as world:
        began = clock()
        round_of(world, pipe, targets)
        took = clock() - began

    assert took >= 2 * 9 * 0.05


def test_more_servers_than_a_look_tells_of_that_never_stop_talking_stop_no_clock(pipe):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    targets = costly(*[0] * (ANSWERS + 10))
    with World(targets, costing(pipe, steps=10**6)) as world:
        round_of(world, pipe, targets)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert world.outcomes(*targets) == {Outcome.SILENT}
