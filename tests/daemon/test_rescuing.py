"""Whom a director has rescued while its table changes; the packet filter is played by the test."""

import logging
import os
from contextlib import closing
from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.plan import plan
from lvs_nat.core.setup import ServiceSetup, Setup
from lvs_nat.core.sysctls import EXPIRE
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.rescuing import AGAIN, Rescuing, adopted
from lvs_nat.errors import LvsNatError
from lvs_nat.model import Ruleset
from lvs_nat.system.child import SECONDS
from tests.builders import RS1, RS2, WEB
from tests.fakes import FakeIpvs, FakeLoop

ONE, TWO = RS1.endpoint, RS2.endpoint


class FakeRescue:
    """A packet filter that has done what it was told when the test says so."""

    def __init__(self):
        self.done = frozenset()
        self.begun = None
        self.words = ""
        self._reading, self._writing = os.pipe()

    def close(self):
        os.close(self._reading)
        os.close(self._writing)

    def does(self, words=""):
        """Let what was begun come to its end; *words* say why it failed."""
        self.words = words
        os.write(self._writing, b".")

    def begin(self, endpoints):
        wanted = frozenset(endpoints)
        if self.begun is not None or wanted == self.done:
            return False
        self.begun = wanted
        return True

    def fileno(self):
        return self._reading

    def ended(self):
        os.read(self._reading, 1)
        begun, self.begun = self.begun, None
        self.done = None if self.words else begun
        if self.words:
            raise LvsNatError(self.words)
        return True

    def give_up(self):
        self.begun = self.done = None


class World:
    def __init__(self, folder, rescue, setup=Setup(ServiceSetup(rescue=True))):  # noqa: B008
        table = FakeIpvs()
        table.apply(plan(WEB, Ruleset()))
        cluster = Cluster.of(WEB, setup, {})
        healths = dict.fromkeys(cluster.healths, Health(State.UP))
        self.director = Director(replace(cluster, healths=healths), table, lambda: 100.0)
        self.director.reconcile()
        self.expire = folder / EXPIRE
        self.expire.parent.mkdir(parents=True)
        self.expire.write_text("1\n")
        self.loop, self.rescue = FakeLoop(), rescue
        self.rescuing = Rescuing(rescue, self.loop, self.director, folder)

    def hears(self, endpoint, outcome):
        asked = [who for who in self.director.cluster.healths if who.endpoint == endpoint]
        self.director.hear([(who, Verdict(outcome, "")) for who in asked for _ in range(2)])
        self.rescuing.follow()


@pytest.fixture
def rescue():
    with closing(FakeRescue()) as rescue:
        yield rescue


def test_rescue_follows_the_table(tmp_path, rescue):
    world = World(tmp_path, rescue)
    world.rescuing.follow()
    assert rescue.begun == {ONE, TWO}
    rescue.does()
    world.loop.turn()
    assert rescue.done == {ONE, TWO}

    world.hears(ONE, Outcome.REFUSED)
    assert rescue.begun == {ONE}
    world.hears(ONE, Outcome.PASS)  # before that is done
    rescue.does()
    world.loop.turn()
    assert (rescue.done, rescue.begun) == ({ONE}, {ONE, TWO})
    rescue.does()
    world.loop.turn()
    assert (rescue.done, rescue.begun) == ({ONE, TWO}, None)


def test_where_nothing_has_changed_nothing_is_looked_at(tmp_path, rescue):
    world = World(tmp_path, rescue)
    world.rescuing.follow()
    rescue.does()
    world.loop.turn()
    rescue.done = frozenset()
    world.director.reconcile()
    world.rescuing.follow()

    assert rescue.begun is None


def test_what_fails_is_said_once_and_tried_again(tmp_path, rescue, caplog):
    world = World(tmp_path, rescue)
    world.rescuing.follow()
    for _ in range(2):
        rescue.does("nft: no such table")
        world.loop.turn()
        assert rescue.begun is None
        world.loop.passes(AGAIN)
        assert rescue.begun == {ONE, TWO}
    world.loop.passes(SECONDS)
    assert rescue.begun is None
    world.loop.passes(AGAIN)
    rescue.does()
    world.loop.turn()

    assert rescue.done == {ONE, TWO}
    assert [record.message for record in caplog.records] == [
        "rescue cannot be switched: nft: no such table",
        f"rescue cannot be switched: no end within {SECONDS:g} s",
    ]


@pytest.mark.parametrize("value", ["0", None])
def test_nobody_is_rescued_whose_client_would_only_meet_the_dead_server_again(
    tmp_path, rescue, caplog, value
):
    world = World(tmp_path, rescue)
    world.expire.unlink() if value is None else world.expire.write_text(value)
    world.rescuing.follow()

    assert rescue.begun is None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "expire_nodest_conn = 1" in caplog.text


def test_what_a_reload_asks_for_too_late_is_said(tmp_path, caplog):
    world = World(tmp_path, None)
    world.rescuing.follow()
    world.rescuing.follow()

    assert [record.message for record in caplog.records] == [
        "rescue = yes needs root: it begins with the next restart"
    ]


def test_an_image_that_cannot_read_what_rules_there_are_goes_on_without(tmp_path, caplog):
    record = tmp_path / "rescue"
    record.write_bytes(b"\xff\n")

    assert adopted(record) is None
    assert f"rescue ends: {record}:" in caplog.text
