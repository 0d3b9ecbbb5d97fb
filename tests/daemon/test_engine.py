"""The engine on a clock that is moved by hand, its probes on real sockets of loopback."""

import os
import socket
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from errno import EMFILE

import pytest

from lvs_nat.checks import tcp
from lvs_nat.checks.kind import Kind
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import CheckKind, Connect, Http, Idle, Tls, Udp
from lvs_nat.core.schedule import CONFIRM, SHORTEST
from lvs_nat.core.setup import Check, OnUnknown, Target
from lvs_nat.daemon.agenda import SLOT
from lvs_nat.daemon.engine import LATE, Engine
from lvs_nat.daemon.mishaps import Mishaps
from tests.builders import at

CHECK = Check(interval=1.0, timeout=0.8, fast=0.2, fall=3, rise=2)
TRIP = 0.001  # how long answers take here


class World:
    """An engine, and all that it said; whether somebody takes note of that: told."""

    def __init__(self, room=10_000, told=False, **more):
        self.now = 1000.0015  # never on the edge of a slot
        self.seen = []
        self.words = []
        self.latencies = []
        self.told = told
        self.engine = Engine(self._ended, room, lambda: self.now, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.close()

    def _ended(self, probe, news):
        self.words.append(probe.words)
        self.latencies.append(probe.latency)
        self.seen.append((round(self.now - 1000.0, 2), probe.target, probe.outcome, news))
        if self.told and news:
            probe.told, probe.told_at, probe.times = probe.outcome, self.now, 0

    def wait(self, seconds):
        """Let *seconds* pass as they do for an engine that is always in time."""
        for _ in range(round(seconds / SLOT)):
            self.now += SLOT - TRIP
            self.engine.turn(0.0)
            self.now += TRIP
            self.engine.turn(0.0)

    def freeze(self, seconds):
        """Let *seconds* pass in which the engine does not run."""
        self.now += seconds
        self.engine.turn(0.0)
        self.engine.turn(0.0)

    def outcomes(self, target):
        return [outcome for _, whom, outcome, _ in self.seen if whom == target]

    def times(self, target):
        return [time for time, whom, _, _ in self.seen if whom == target]


@contextmanager
def serving(address=("127.1.2.3", 0), check=CHECK):
    with socket.create_server(address, backlog=4096) as server:
        yield Target(at("{}:{}".format(*server.getsockname())), check)


@pytest.fixture
def silent():
    """A port that answers nothing: its queue of connections is full."""
    full = socket.create_server(("127.1.2.4", 0), backlog=0)
    with full, socket.create_connection(full.getsockname()):
        yield Target(at("{}:{}".format(*full.getsockname())), CHECK)


@pytest.fixture(params=[False, True], ids=["untold", "told"])
def world(request):
    with World(told=request.param) as world:
        yield world


def test_a_well_server_is_asked_at_once_and_then_once_in_every_interval(world):
    with serving() as target:
        world.engine.ask([target])
        world.wait(5.0)

    first, second, *_ = times = world.times(target)
    assert first == SLOT
    assert second - first <= 1.0
    assert [round(b - a, 2) for a, b in zip(times[1:], times[2:])] == [1.0] * (len(times) - 2)
    # Once told and confirmed it is none any more.
    expected = [place < CHECK.fall or not world.told for place in range(len(world.seen))]
    assert [news for *_, news in world.seen] == expected


def test_what_settled_servers_answer_is_counted_until_it_is_told():
    with World(told=True) as world, serving() as target:
        world.engine.ask([target])
        world.wait(8.0)
        [probe] = world.engine._targets.values()

    assert probe.settled
    assert probe.times == len(world.seen) - CHECK.fall
    assert probe.round_trip == pytest.approx(TRIP, abs=TRIP)


def test_a_server_that_refuses_is_asked_again_in_a_moment_and_then_fast(world):
    with serving() as target:
        world.engine.ask([target])
        world.wait(1.0)
    before = len(world.seen)
    world.wait(3.0)
    first, second, third, fourth, *_ = world.times(target)[before:]

    assert {outcome for _, _, outcome, _ in world.seen[before:]} == {Outcome.REFUSED}
    assert CONFIRM <= round(second - first, 2) <= CONFIRM + 2 * SLOT
    assert 0.2 <= round(third - second, 2) <= 0.22
    assert fourth - third > 0.25  # settled: it keeps its moments again


def test_a_silent_server_costs_a_time_out_and_then_eight_round_trips_a_look(world, silent):
    world.engine.ask([silent])
    world.wait(0.8)
    assert world.outcomes(silent) == []
    world.wait(0.05)
    assert world.outcomes(silent) == [Outcome.SILENT]

    assert world.words == ["no answer within 0.8 s"]


def test_while_failures_are_counted_a_known_server_gets_less_time(world):
    with serving() as target:
        world.engine.ask([target])
        world.wait(1.0)
        address = target.endpoint
    full = socket.create_server((str(address.address), address.port), backlog=0)
    with full, socket.create_connection(full.getsockname()):
        world.wait(4.0)
    silences = [time for time, _, outcome, _ in world.seen if outcome is Outcome.SILENT]
    first, second, third, *_ = silences

    assert SHORTEST <= second - first <= SHORTEST + 3 * SLOT
    assert third - second <= 0.2 + 3 * SLOT


def test_a_deadline_that_passed_while_we_did_not_run_is_asked_again_before_it_counts(world, silent):
    world.engine.ask([silent])
    world.wait(0.1)
    world.freeze(5.0)
    assert world.outcomes(silent) == []
    assert world.engine.looked_again == 1
    assert world.engine.worst_lag > 4.0

    world.wait(0.85)
    assert world.outcomes(silent) == [Outcome.SILENT]


def test_lateness_that_is_ours_is_no_excuse_for_ever(world, silent):
    world.engine.ask([silent])
    world.wait(0.1)
    world.freeze(5.0)
    world.freeze(5.0)

    assert world.outcomes(silent) == [Outcome.SILENT]


def test_an_answer_that_came_while_we_did_not_run_is_an_answer(world):
    with serving() as target:
        world.engine.ask([target])
        world.now += SLOT
        world.engine.turn(0.0)  # the question leaves
        world.freeze(3.0)

    assert world.outcomes(target) == [Outcome.PASS]


def test_being_a_little_late_is_no_lateness(world, silent):
    world.engine.ask([silent])
    world.wait(0.1)
    world.wait(0.69)
    world.freeze(LATE - SLOT)

    assert world.outcomes(silent) == [Outcome.SILENT]


def test_targets_that_stay_keep_their_schedule_and_new_ones_are_asked_at_once(world):
    with serving() as stays, serving() as goes, serving() as comes:
        world.engine.ask([stays, goes])
        world.wait(3.0)
        world.engine.ask([comes, stays])
        world.wait(3.0)

    times = world.times(stays)
    assert [round(b - a, 2) for a, b in zip(times[1:], times[2:])] == [1.0] * (len(times) - 2)
    assert max(world.times(goes)) <= 3.0
    assert min(world.times(comes)) == 3.0 + SLOT


def test_questions_to_targets_that_go_are_withdrawn(world, silent):
    world.engine.ask([silent])
    world.wait(0.1)
    assert world.engine.in_flight == 1

    world.engine.ask([])
    assert world.engine.in_flight == 0
    world.wait(2.0)
    assert world.seen == []


def test_two_thousand_servers_are_never_asked_in_a_burst(world):
    check = Check(interval=1.0, timeout=0.8)
    with serving(("0.0.0.0", 0)) as everywhere:
        port = everywhere.endpoint.port
        targets = [Target(at(f"127.1.{n >> 8}.{n & 255}:{port}"), check) for n in range(2000)]
        world.engine.ask(targets)
        world.wait(3.0)
    tenths = Counter(int(time * 10) for time, *_ in world.seen if time >= 1.0)

    assert {outcome for _, _, outcome, _ in world.seen} == {Outcome.PASS}
    assert len({target for time, target, *_ in world.seen if time <= 0.52}) == 2000
    assert max(tenths.values()) <= 250
    assert min(tenths[tenth] for tenth in range(10, 29)) >= 150


def test_a_server_that_is_dead_when_we_come_is_known_to_be_long_before_it_is_due_again(world):
    check = replace(CHECK, fall=3, down_interval=30.0)
    with serving(check=check) as target:
        pass
    world.engine.ask([target])
    world.wait(1.0)

    assert world.outcomes(target)[:3] == [Outcome.REFUSED] * 3
    assert world.times(target)[2] <= 0.5
    assert [news for *_, news in world.seen[:3]] == [True] * 3


def test_two_thousand_servers_that_are_all_dead_when_we_come_are_no_burst_either(world):
    check = Check(interval=10.0, timeout=0.8, fast=0.2, fall=3)
    with serving(("0.0.0.0", 0)) as everywhere:
        port = everywhere.endpoint.port
    targets = [Target(at(f"127.1.{n >> 8}.{n & 255}:{port}"), check) for n in range(2000)]
    world.engine.ask(targets)
    world.wait(5.0)
    tenths = Counter(int(time * 10) for time, *_ in world.seen)
    rounds = Counter(target for time, target, *_ in world.seen if time <= 1.6)

    assert len(rounds) == 2000
    assert min(rounds.values()) == 3
    assert max(tenths.values()) <= 500  # as fast as the first round


def test_no_more_questions_than_there_is_room_for_are_under_way(silent):
    checks = [Check(interval=1.0, timeout=0.3 + number / 100) for number in range(10)]
    slow = [Target(silent.endpoint, check) for check in checks]
    most = 0
    with World(room=3) as world:
        world.engine.ask(slow)
        for _ in range(200):
            world.wait(SLOT)
            most = max(most, world.engine.in_flight)

    assert most == 3
    assert {target for _, target, *_ in world.seen} == set(slow)


def test_watching_leaves_half_of_the_room_for_questions():
    check = Check(Idle(), interval=1.0, timeout=0.8)
    with serving(("0.0.0.0", 0)) as everywhere, World(room=8) as world:
        port = everywhere.endpoint.port
        targets = [Target(at(f"127.1.0.{n}:{port}"), check) for n in range(20)]
        world.engine.ask(targets)
        world.wait(3.0)

    assert {target for _, target, *_ in world.seen} == set(targets)
    assert {outcome for _, _, outcome, _ in world.seen} == {Outcome.PASS}


SLOW = Check(interval=10.0, timeout=0.8, fast=0.2, fall=2, rise=2)


def settled(world, target):
    """Have *target* asked until it is well and not due for an interval; return how often it was."""
    world.engine.ask([target])
    while len(world.seen) < 3:
        world.wait(SLOT)
    return len(world.seen)


@contextmanager
def silent_at(target):
    """Let the port of *target*, whose server has gone, be one that answers nothing."""
    where = (str(target.endpoint.address), target.endpoint.port)
    full = socket.create_server(where, backlog=0)
    with full, socket.create_connection(where):
        yield


def test_a_suspect_is_asked_at_once(world):
    with serving(check=SLOW) as target:
        before = settled(world, target)
        world.engine.suspect([target])
        world.wait(2 * SLOT)

    assert world.outcomes(target)[before:] == [Outcome.PASS]


def test_a_suspect_that_refuses_is_known_to_after_two_looks_in_a_moment(world):
    with serving(check=SLOW) as target:
        before = settled(world, target)
    began = world.now - 1000
    world.engine.suspect([target])
    world.wait(1.0)

    first, second, *_ = world.times(target)[before:]
    assert first - began <= 2 * SLOT
    assert second - first <= CONFIRM + 2 * SLOT
    assert world.outcomes(target)[before:][:2] == [Outcome.REFUSED] * 2


def test_a_suspect_that_is_silent_is_known_to_be_after_two_short_times_out(world):
    with serving(check=SLOW) as target:
        before = settled(world, target)
    with silent_at(target):
        began = world.now - 1000
        world.engine.suspect([target])
        world.wait(1.0)

    _, second, *_ = world.times(target)[before:]
    assert world.outcomes(target)[before:][:2] == [Outcome.SILENT] * 2
    assert second - began <= 2 * SHORTEST + CONFIRM + 5 * SLOT


def served(world, server, delay):
    """Let the next question to *server* be answered *delay* seconds after it has connected."""
    while not world.engine.in_flight:
        world.wait(SLOT)
    client, _ = server.accept()
    with client:
        world.wait(delay)
        with suppress(ConnectionError):  # nobody has waited so long
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        world.wait(2 * SLOT)


@pytest.mark.parametrize(
    ("delays", "outcomes"),
    [
        ((0.5,), [Outcome.PASS]),  # it is suspected, and busy
        ((1.0, 0.5), [Outcome.MUTE, Outcome.PASS]),  # it is counted against, and busy
    ],
)
def test_impatience_is_with_machines_and_a_busy_server_has_its_whole_time_out(
    world, delays, outcomes
):
    with socket.create_server(("127.1.2.5", 0)) as server:
        check = replace(SLOW, question=Http())
        target = Target(at("{}:{}".format(*server.getsockname())), check)
        world.engine.ask([target])
        for _ in range(3):
            served(world, server, 0.0)
        world.engine.suspect([target])
        for delay in delays:
            served(world, server, delay)

    assert world.outcomes(target) == [Outcome.PASS] * 3 + outcomes


def test_where_only_the_servers_program_can_answer_there_is_no_impatience(world):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.1.2.6", 0))
        check = replace(SLOW, question=Udp(b"?", reply=True), timeout=1.0)
        target = Target(at("{}:{}".format(*server.getsockname())), check)
        world.engine.ask([target])
        for delay in (0.0, 0.0, 0.0, 1.02, 0.5):
            while not world.engine.in_flight:
                world.wait(SLOT)
            _, client = server.recvfrom(100)
            world.wait(delay)
            server.sendto(b"late", client)
            world.wait(2 * SLOT)

    assert world.outcomes(target) == [Outcome.PASS] * 3 + [Outcome.SILENT, Outcome.PASS]


def test_a_question_to_a_suspect_that_is_under_way_gets_no_more_patience_than_a_new_one(world):
    with serving(check=SLOW) as target:
        before = settled(world, target)
    with silent_at(target):
        while not world.engine.in_flight:
            world.wait(SLOT)
        world.wait(0.2)
        assert len(world.seen) == before
        world.engine.suspect([target])
        world.wait(2 * SLOT)

    assert world.outcomes(target)[before:] == [Outcome.SILENT]


def test_whoever_is_suspected_over_and_over_is_asked_once_in_its_fast(world):
    with serving(check=SLOW) as target:
        before = settled(world, target)
        for _ in range(100):
            world.engine.suspect([target])
            world.wait(SLOT)
    times = world.times(target)[before:]

    assert len(times) == 5
    assert min(b - a for a, b in zip(times, times[1:])) >= 0.2 - SLOT


def test_a_suspect_that_is_well_returns_to_its_moments(world):
    with serving(check=SLOW) as target:
        settled(world, target)
        moments = world.times(target)
        world.engine.suspect([target])
        world.wait(30.0)
    hastened, *after = world.times(target)[len(moments) :]

    assert hastened < after[0]
    assert [round(b - moments[-1], 2) % 10 for b in after] == [0.0] * len(after)


def test_whoever_is_down_or_unknown_is_not_asked_before_its_time(world):
    with serving(check=SLOW) as target, serving(check=SLOW) as stranger:
        pass
    world.engine.ask([target])
    while len(world.seen) < 2:
        world.wait(SLOT)
    [probe] = world.engine._targets.values()
    moment = probe.due
    world.engine.suspect([target, stranger])

    assert world.outcomes(target) == [Outcome.REFUSED] * 2
    assert probe.due == moment


def test_what_cannot_be_asked_is_our_own_fault_and_tried_again_each_time(tmp_path):
    authority = tmp_path / "ca.pem"
    check = Check(Tls(ca=str(authority)), interval=1.0, timeout=0.8)
    with serving(check=check) as target, World() as world:
        world.engine.ask([target])
        world.wait(0.1)
        authority.touch()
        world.wait(2.0)

    assert world.words[0].startswith("this director cannot ask: ")
    assert world.outcomes(target)[0] is Outcome.UNKNOWN
    assert world.outcomes(target)[-1] is Outcome.MUTE  # it has been asked
    assert min(world.latencies) >= 0.0


def started_or(short):
    """Return a kind that asks as tcp does, but for the errors that are in *short*."""

    def start(towards):
        if short:
            raise OSError(short[0], os.strerror(short[0]))
        return tcp.start(towards)

    return tcp.KIND._replace(start=start)


def news_in(world, seconds):
    """Let *seconds* pass; return what each verdict in them was, and whether it was news."""
    before = len(world.seen)
    world.wait(seconds)
    return [(outcome, news) for _, _, outcome, news in world.seen[before:]]


@pytest.mark.parametrize(
    "on_unknown, back",
    [
        # A director that has it down hears of each number of passes that may end that.
        (OnUnknown.DOWN, (1, 3, 6, 12, 24, 48)),
        (OnUnknown.KEEP, (1,)),
    ],
)
def test_who_cannot_be_asked_is_news_for_as_long_as_that_is_counted_and_so_is_its_return(
    on_unknown, back
):
    check = replace(CHECK, fall=4, rise=3, on_unknown=on_unknown)
    kind = started_or(short := [])
    with serving(check=check) as target, World(told=True, load=lambda *_: kind) as world:
        world.engine.ask([target])
        world.wait(6.0)
        short.append(EMFILE)
        unknown = news_in(world, 6.0)
        short.clear()
        passed = news_in(world, 50.0)
        [probe] = world.engine._targets.values()

    assert unknown == [(Outcome.UNKNOWN, number <= 4) for number in range(1, 7)]
    assert passed == [(Outcome.PASS, number in back) for number in range(1, 51)]
    assert probe.settled


def test_a_server_that_fell_is_news_whenever_it_may_have_passed_often_enough():
    with World(told=True) as world:
        with serving() as target:
            world.engine.ask([target])
            world.wait(3.0)
        world.wait(3.0)
        with serving((str(target.endpoint.address), target.endpoint.port)):
            passed = news_in(world, 34.0)
        [probe] = world.engine._targets.values()

    # Flapping, it may be asked for up to sixteen times its two.
    expected = [(Outcome.PASS, number in (1, 2, 4, 8, 16, 32)) for number in range(1, 40)]
    assert passed == expected[: len(passed)]
    assert len(passed) > 32
    assert probe.settled


def test_an_unknown_between_its_passes_does_not_make_the_passes_of_a_returning_server_anew():
    kind = started_or(short := [])
    with World(told=True, load=lambda *_: kind) as world:
        with serving() as target:
            world.engine.ask([target])
            world.wait(3.0)
        world.wait(3.0)
        with serving((str(target.endpoint.address), target.endpoint.port)):
            while world.outcomes(target)[-3:] != [Outcome.PASS] * 3:
                world.wait(SLOT)
            short.append(EMFILE)
            unknown = news_in(world, 1.0)
            short.clear()
            passed = news_in(world, 6.0)

    assert unknown == [(Outcome.UNKNOWN, True)]
    assert passed == [(Outcome.PASS, number in (4, 8)) for number in range(4, 10)]


def stumble(*_):
    raise ZeroDivisionError("of ours")


class Stumbling:
    """A batch that does not come to the end of what *ask* or *answers* it is to do."""

    def __init__(self, fd, ask=stumble, answers=stumble):
        self.fd = fd
        self.ask = ask
        self.answers = answers

    def filenos(self):
        return (self.fd,)

    def forget(self, _):
        stumble()

    def close(self):
        pass


def a_batch_that(**does):
    reading, writing = os.pipe()
    os.write(writing, b"an answer")
    return Kind(lambda target: target, stumble, stumble, batch=Stumbling(reading, **does))


class Sentinel:
    """Watches an end of a pipe that always has something to tell, and stumbles over it."""

    def __init__(self, stirred=stumble, passed=lambda: None):
        self.fd, self._writing = os.pipe()
        os.write(self._writing, b"look")
        self.stirred = stirred
        self.passed = passed

    def fileno(self):
        return self.fd

    def close(self):
        os.close(self._writing)


GOOD = tcp.KIND
FAULTY = {
    "prepare": GOOD._replace(prepare=stumble),
    "start": GOOD._replace(start=stumble),
    "proceed": GOOD._replace(proceed=stumble),
    "overdue": GOOD._replace(overdue=stumble, proceed=lambda *_: None),
    "ask": a_batch_that(),
    "answers": a_batch_that(ask=lambda _: []),
}


@pytest.mark.parametrize("step", FAULTY)
def test_a_fault_of_one_check_is_an_unknown_of_it_told_once_and_the_others_are_asked_on(step):
    told = []
    kinds = {CheckKind.TCP: GOOD, CheckKind.CONNECT: FAULTY[step]}
    mishaps = Mishaps(lambda words: told.append(words) or True)
    check = replace(CHECK, question=Connect())
    more = {"load": lambda kind, _: kinds[kind], "mishaps": mishaps}
    with serving() as well, serving(check=check) as faulty, World(**more) as world:
        world.engine.ask([faulty, well])
        world.wait(5.0)  # each has a phase of its own

    assert set(world.outcomes(well)) == {Outcome.PASS}
    assert len(world.outcomes(well)) >= 4
    assert set(world.outcomes(faulty)) == {Outcome.UNKNOWN}
    assert len(world.outcomes(faulty)) >= 3
    assert [words.partition(", line")[0] for words in told] == [
        "a check failed, please report it: ZeroDivisionError in stumble"
    ]
    assert any(words.endswith(": of ours") for words in world.words)


class Unclosable(socket.socket):
    """A question that stumbles over its end."""

    def close(self):
        stumble()


@pytest.mark.parametrize("ended", ["answered", "overdue", "withdrawn"])
def test_a_question_that_cannot_be_closed_is_over_all_the_same(ended):
    told, opened = [], []

    def start(target):
        opened.append(Unclosable())
        opened[-1].setblocking(False)
        opened[-1].connect_ex((str(target.endpoint.address), target.endpoint.port))
        return opened[-1]

    proceed = GOOD.proceed if ended == "answered" else lambda *_: None
    kind = GOOD._replace(prepare=lambda target: target, start=start, proceed=proceed)
    mishaps = Mishaps(lambda words: told.append(words) or True)
    with serving() as target, World(load=lambda *_: kind, mishaps=mishaps) as world:
        world.engine.ask([target])
        world.wait(0.1 if ended == "withdrawn" else 3.5)
        world.engine.ask([])
        others = world.engine.turn(0.0)
        under_way = world.engine.in_flight
    for question in opened:
        socket.socket.close(question)

    expected = {"answered": {Outcome.PASS}, "overdue": {Outcome.SILENT}, "withdrawn": set()}
    assert set(world.outcomes(target)) == expected[ended]
    assert len(opened) == 1 if ended == "withdrawn" else len(opened) >= 3
    assert (others, under_way, len(told)) == ([], 0, 1)


WATCHED = {
    "sentinel": GOOD._replace(sentinel=lambda _: Sentinel()),
    "passed": GOOD._replace(sentinel=lambda _: Sentinel(passed=stumble)),
    "watch": GOOD._replace(watch=Sentinel()),
}


@pytest.mark.parametrize("what", WATCHED)
def test_a_fault_of_what_only_watches_leaves_its_server_asked_when_it_is_due(what):
    told = []
    mishaps = Mishaps(lambda words: told.append(words) or True)
    with serving() as well, World(load=lambda *_: WATCHED[what], mishaps=mishaps) as world:
        world.engine.ask([well])
        world.wait(3.5)

    assert set(world.outcomes(well)) == {Outcome.PASS}
    assert 4 <= len(world.outcomes(well)) <= 6
    assert len(told) == 1


def test_a_fault_that_could_not_be_told_is_told_the_next_time():
    told = []
    mishaps = Mishaps(lambda words: told.append(words) or len(told) > 1)
    for _ in range(4):
        try:
            stumble()
        except ZeroDivisionError as error:
            mishaps.answer(error)

    assert len(told) == 2
