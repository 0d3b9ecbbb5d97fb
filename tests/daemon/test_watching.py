"""From what is seen of clients to what the prober is asked, on a kernel's table in memory."""

import os
from contextlib import closing
from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.leaving import SILENCE, unseen
from lvs_nat.core.plan import plan
from lvs_nat.core.setup import Setup, Watch
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.watching import HUSH, MOST, REST, Watching
from lvs_nat.model import Counters, Ruleset
from lvs_nat.system.watcher import Sign, Suspicion
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp
from tests.fakes import FakeIpvs, FakeLoop

ONE, TWO = RS1.endpoint, RS2.endpoint


class FakeWatcher:
    """What is seen is what a test says."""

    def __init__(self, lacking=""):
        self.lacking = lacking
        self.watched = frozenset()
        self.hushed = {}
        self.silent = {}
        self._seen = []
        self._reading, self._writing = os.pipe()

    def fileno(self):
        return self._reading

    def close(self):
        os.close(self._reading)
        os.close(self._writing)

    def sees(self, *endpoints):
        self._seen += [Suspicion(endpoint, Sign.UNANSWERED) for endpoint in endpoints]
        os.write(self._writing, b".")

    def watch(self, endpoints):
        self.watched = frozenset(endpoints)
        return frozenset()

    def suspicions(self):
        os.read(self._reading, 100)
        seen, self._seen = self._seen, []
        return seen

    def hush(self, endpoint, until):
        self.hushed[endpoint] = until

    def silent_since(self, endpoint):
        return self.silent.get(endpoint)


class FakeLink:
    def __init__(self):
        self.hastened = []

    def hasten(self, targets):
        self.hastened.append([target.endpoint for target in targets])


class World:
    """A director whose servers are all well, and what watches their clients."""

    def __init__(self, watcher=None, ruleset=WEB, setup=Setup()):  # noqa: B008
        self.now = 100.0
        self.table = FakeIpvs()
        self.table.apply(plan(ruleset, Ruleset()))
        cluster = Cluster.of(ruleset, setup, {})
        healths = dict.fromkeys(cluster.healths, Health(State.UP))
        silent_since = watcher.silent_since if watcher else unseen
        self.director = Director(
            replace(cluster, healths=healths), self.table, lambda: self.now, silent_since
        )
        self.loop, self.link, self.watcher = FakeLoop(), FakeLink(), watcher
        self.watching = Watching(watcher, self.loop, self.director, self.link, lambda: self.now)
        self.watching.follow()

    def hears(self, endpoint, outcome):
        asked = [who for who in self.director.cluster.healths if who.endpoint == endpoint]
        self.director.hear([(who, Verdict(outcome, "")) for who in asked for _ in range(2)])

    def counts(self, one=(0, 0), two=(0, 0)):
        """Let the kernel count (active, inactive) connections, and the director look."""
        self.table.counted[tcp(VIP), ONE] = Counters(*one)
        self.table.counted[tcp(VIP), TWO] = Counters(*two)
        return self.looks()

    def looks(self):
        self.director.reconcile()
        return self.watching.look()

    @property
    def asked(self):
        asked, self.link.hastened = self.link.hastened, []
        return asked


@pytest.fixture
def world():
    with closing(FakeWatcher()) as watcher:
        yield World(watcher)


def test_whoever_is_suspected_is_asked(world):
    world.watcher.sees(ONE, TWO)
    world.loop.turn()

    assert world.watcher.watched == {ONE, TWO}
    assert world.asked == [[ONE, TWO]]


def test_of_a_server_that_is_down_nothing_is_heard_until_it_serves_again(world):
    world.hears(ONE, Outcome.REFUSED)
    world.watcher.sees(ONE)
    world.loop.turn()
    world.looks()
    assert world.asked == []
    assert world.watcher.hushed == {ONE: world.now + HUSH}

    world.hears(ONE, Outcome.PASS)
    world.looks()
    assert world.watcher.hushed == {ONE: 0.0}


def test_the_servers_that_a_reload_brings_are_watched_and_those_it_takes_are_not(world):
    world.director.reload(rules(service(VIP, RS2, real("192.168.122.30:80"))), Setup())
    world.watching.follow()
    assert world.watcher.watched == {TWO, at("192.168.122.30:80")}

    world.director.reload(WEB, Setup(watch=Watch.NO))
    world.watching.follow()
    assert world.watcher.watched == set()
    assert world.counts((0, 9), (0, 9)) is False


def test_who_sees_all_packets_needs_no_counters(world):
    world.counts()

    assert world.counts((0, 9), (0, 9)) is False
    assert world.asked == []


@pytest.mark.parametrize("lacking", [None, "this kernel has none"])
def test_who_does_not_looks_at_connections_and_more_often_while_some_come(lacking):
    with closing(FakeWatcher(lacking or "")) as watcher:
        world = World(watcher if lacking else None)
        assert world.counts((3, 1), (0, 0)) is False
        assert world.counts((3, 1), (0, 0)) is False
        assert world.asked == []

        assert world.counts((3, 2), (1, 0)) is True
        assert world.asked == [[ONE]]
        assert world.counts((3, 2), (1, 0)) is False
        assert world.asked == []


def test_where_thousands_get_clients_at_once_a_part_of_them_is_asked():
    many = [real(f"10.0.{n >> 8}.{n & 255}:80") for n in range(1000)]
    world = World(ruleset=rules(service(VIP, *many)))
    for number in range(3):
        for row in many:
            world.table.counted[tcp(VIP), row.endpoint] = Counters(0, number)
        assert world.looks() is bool(number)

    first, second = world.asked
    assert (len(first), len(second)) == (MOST, MOST)
    assert not set(first) & set(second)


def test_a_flood_of_refusals_is_read_with_pauses():
    with closing(FakeWatcher("this kernel has none")) as watcher:
        world = World(watcher)
        for _ in range(3):
            watcher.sees(ONE)
            world.loop.turn()
        assert world.asked == [[ONE]]

        world.loop.passes(REST)
        world.loop.turn()
        assert world.asked == [[ONE, ONE]]


def test_a_server_that_has_failed_is_waited_for_while_it_is_silent(world):
    assert world.watching.waiting is False
    world.hears(ONE, Outcome.SILENT)
    assert world.watching.waiting is False
    world.watcher.silent[ONE] = world.now
    assert world.watching.waiting is True

    world.now += SILENCE
    world.looks()
    assert world.watching.waiting is False
    assert set(world.table.read().services[tcp(VIP)].destinations) == {TWO}
