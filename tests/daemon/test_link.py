"""The director's end of the line, against a prober that says what it likes."""

import select
import socket
from contextlib import suppress

import pytest

from lvs_nat.core import orders, wire
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.orders import Hearing
from lvs_nat.core.questions import Nothing
from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon.link import QUIET, Link, Probed, ProberLost, ProberTrouble
from tests.builders import at

A, B, C = (Target(at(f"192.168.122.{n}:80"), Check()) for n in (10, 20, 30))
MANY = [Target(at(f"10.0.{n >> 8}.{n & 255}:80"), Check()) for n in range(10_000)]
WELL = Verdict(Outcome.PASS, "connected", 0.25)
ILL = Verdict(Outcome.SILENT, "no answer within 0.8 s", 0.5)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Peer:
    """What the prober would be."""

    def __init__(self, line):
        self.line = line
        self._hearing = Hearing()

    def tells(self, generation, *told):
        for record, _ in wire.pack_verdicts(generation, told):
            self.line.send(record)

    def says(self, record):
        self.line.send(record)

    def hastes(self):
        heard = []
        with suppress(BlockingIOError):
            while True:
                heard.append(orders.unpack_haste(self.line.recv(wire.RECORD)))
        return heard

    def orders(self):
        """Return what it has been ordered, as (generation, targets), one for each order."""
        heard = (self._hearing.take(record) for record in self.records())
        return [whole for whole in heard if whole is not None]

    def records(self):
        while True:
            try:
                yield self.line.recv(wire.RECORD)
            except BlockingIOError:
                return


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(clock):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    link = Link(ours, 2**22 + 1, clock)  # above the highest pid: nobody's child
    yield link, Peer(theirs)
    theirs.close()
    link.close()


def readable(link):
    return bool(select.select([link], [], [], 0)[0])


def test_a_prober_is_told_everything_when_it_greets_and_again_when_another_one_does(line):
    link, peer = line
    link.ask([A, B])
    assert peer.orders() == []

    peer.says(wire.HELLO)
    assert link.events() == ()
    assert peer.orders() == [(1, [A, B])]

    peer.says(wire.pack_lost("killed by signal 9"))
    peer.says(wire.HELLO)
    assert link.events() == (ProberLost("killed by signal 9"),)
    assert peer.orders() == [(1, [A, B])]


def test_a_target_is_ordered_once_and_only_if_it_has_a_check(line):
    link, peer = line
    peer.says(wire.HELLO)
    link.events()
    link.ask([A, B, A, Target(C.endpoint, Check(Nothing()))])

    assert peer.orders() == [(1, [A, B])]


def test_verdicts_come_with_their_targets(line):
    link, peer = line
    link.ask([A, B])
    peer.tells(1, wire.Told(1, ILL, 0.5), wire.Told(0, WELL, 1.0, times=5))

    assert link.events() == (Probed(B, ILL, 0.5), Probed(A, WELL, 1.0, times=5))


def test_a_verdict_under_way_during_a_reload_counts_for_a_target_that_stays(line):
    link, peer = line
    link.ask([A, B])
    link.ask([C, B])
    peer.tells(1, wire.Told(0, ILL, 0.5), wire.Told(1, ILL, 0.5))
    peer.tells(2, wire.Told(0, WELL, 1.0))

    assert link.events() == (Probed(B, ILL, 0.5), Probed(C, WELL, 1.0))


def test_nonsense_is_dropped_whole_and_told_now_and_then(line, clock):
    link, peer = line
    link.ask([A])
    peer.says(b"nonsense")
    peer.tells(1, wire.Told(0, WELL, 1.0), wire.Told(1, WELL, 1.0))
    peer.tells(2, wire.Told(0, WELL, 1.0))
    peer.says(b"V" * 90_000)
    peer.tells(1, wire.Told(0, ILL, 1.0))

    assert link.events() == (
        Probed(A, ILL, 1.0),
        ProberTrouble("4 malformed records of it were dropped"),
    )
    peer.says(b"again")
    assert link.events() == ()
    clock.now += QUIET
    peer.says(b"again")
    assert link.events() == (ProberTrouble("2 malformed records of it were dropped"),)


def test_a_prober_tells_how_it_fares(line):
    link, peer = line
    load = wire.Load(1000, 1, 20, 16384, 0.002)
    peer.says(wire.pack_load(load))
    peer.says(wire.pack_trouble("KeyError in start, line 7: 3"))

    assert link.events() == (ProberTrouble("KeyError in start, line 7: 3"),)
    assert link.load == load


def test_an_order_that_the_line_has_no_room_for_is_sent_as_it_gets_some(line):
    link, peer = line
    peer.says(wire.HELLO)
    link.events()
    link.ask(MANY)
    assert not readable(link)
    heard, rounds = [], 0
    while not heard:
        heard = peer.orders()
        assert readable(link) is not heard
        assert link.events() == ()
        rounds += 1

    assert heard == [(1, MANY)]
    assert rounds > 1


def test_a_prober_that_never_stops_talking_does_not_keep_the_director(line):
    link, peer = line
    link.ask(MANY)
    for _ in range(100):
        peer.says(b"X")
    assert len(link.events()) <= 1
    assert readable(link)
    while readable(link):
        link.events()

    for _ in range(3):
        peer.tells(1, *(wire.Told(n, ILL, 1.0, times=50) for n in range(500)))
    assert len(link.events()) == 500
    assert readable(link)


def test_a_line_that_nobody_holds_any_more_is_an_error(line):
    link, peer = line
    link.ask([A])
    peer.line.close()

    with pytest.raises(ConnectionError, match="the prober and its spawner are gone"):
        link.events()


def test_a_haste_names_its_targets_by_their_places_in_the_last_order(line):
    link, peer = line
    peer.says(wire.HELLO)
    link.events()
    link.ask([A, B])
    link.ask([C, B, A])
    peer.orders()
    link.hasten([A, B])
    link.hasten([Target(A.endpoint, Check(interval=7.0))])
    link.hasten([])

    assert peer.hastes() == [orders.Haste(2, (2, 1))]


def test_nobody_is_hastened_to_ask_what_he_has_not_been_told(line):
    link, peer = line
    link.ask([A])
    link.hasten([A])
    assert peer.hastes() == []

    peer.says(wire.HELLO)
    link.events()
    peer.orders()
    link.ask(MANY)  # more than the line has room for
    link.hasten([MANY[0]])
    heard = list(peer.records())
    while readable(link):
        link.events()
        heard += peer.records()
    assert not any(record.startswith(orders.HASTE) for record in heard)


def test_a_haste_that_the_line_has_no_room_for_is_lost(line):
    link, peer = line
    peer.says(wire.HELLO)
    link.events()
    link.ask([A])
    peer.orders()
    for _ in range(10_000):
        link.hasten([A])
    hastes = peer.hastes()
    assert set(hastes) == {orders.Haste(1, (0,))}
    assert len(hastes) < 10_000

    link.hasten([A])
    assert len(peer.hastes()) == 1
