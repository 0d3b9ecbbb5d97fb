"""What one director leaves and the next makes of it; told with a table in memory."""

from dataclasses import replace

import pytest

from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Outcome, Verdict, Weight
from lvs_nat.core.plan import AddService, SetDestination, SetService
from lvs_nat.core.setup import Drift, Own, ServiceSetup, Setup, WhenEmpty
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.notes import Notes
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import Saved
from lvs_nat.model import Counters, Destination, bare
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp
from tests.core.test_cluster import HERE
from tests.fakes import FakeIpvs

PASS = Verdict(Outcome.PASS, "connected", 0.001)
SILENT = Verdict(Outcome.SILENT, "no answer")
REFUSED = Verdict(Outcome.REFUSED, "connection refused")


class Line:
    """Directors of one table, one after the other, each going on from what the last has left."""

    def __init__(self, folder, setup):
        self.paths = Paths(folder / "rules", folder / "conf", run_dir=folder, state_dir=folder)
        self.saved = Saved(WEB, setup, (), "digest", "", ())
        self.kernel = FakeIpvs()
        self.now = 100.0
        self.packets = 0
        self.notes = Notes(self.paths.memory)
        self.director = self._director(Cluster.of(WEB, setup, {}, HERE))

    def _director(self, cluster):
        return Director(cluster, self.kernel, lambda: self.now)

    def hears(self, verdict, *rows, path=False):
        """Tell *verdict* of the servers in *rows*, or of all, or of their ways back."""
        endpoints = [row.endpoint for row in rows or (RS1, RS2)]
        told = [
            (who, verdict)
            for who in self.director.cluster.healths
            if who.path is path and who.endpoint in endpoints
        ]
        self.director.hear(told)
        return self

    def lasts(self, seconds, direct, way):
        """Go on for *seconds* with these verdicts, while every server that is there sends."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.packets += 10
            for name, one in self.kernel.read().services.items():
                for endpoint in one.destinations:
                    self.kernel.counted[name, endpoint] = Counters(packets_out=self.packets)
            self.hears(direct).hears(way, path=True)
            self.director.reconcile()
        return self

    def noted(self):
        self.notes.write(self.director, self.saved, 0.0)
        return self

    def followed(self, at_once):
        """Have another director go on from the file, *at_once* or after a crash."""
        if at_once:
            self.notes.hand_over(self.director, self.saved, 0.0)
        else:
            self.noted()
        found, rows = self.notes.read(), self.kernel.read().services
        cluster = self.notes.cluster(found, self.saved, rows, self.now, HERE, at_once=at_once)
        self.director = self._director(cluster)
        self.notes.brief(self.director, found, self.saved)
        self.director.reconcile()
        return self

    def reloads(self, ruleset):
        """Go over to *ruleset* once its servers have answered, or have had a second to."""
        self.saved = replace(self.saved, rules=ruleset, digest="another digest")
        self.director.reload(ruleset, self.saved.setup)
        self.director.hold(1.0)
        self.director.reconcile()
        return self

    @property
    def services(self):
        return set(self.kernel.read().services)

    @property
    def rows(self):
        return tuple(self.kernel.read().services[tcp(VIP)].destinations.values())


@pytest.fixture
def line(tmp_path):
    return lambda setup=Setup(): Line(tmp_path, setup)  # noqa: B008


@pytest.fixture(params=[True, False], ids=["at once", "after a crash"])
def at_once(request):
    return request.param


def test_whoever_serves_clients_though_no_question_finds_a_way_back_goes_on_doing_so(line, at_once):
    one = line().hears(PASS).hears(PASS, path=True).lasts(20, PASS, SILENT)
    before = one.rows
    after = one.followed(at_once).rows
    later = one.lasts(40, PASS, SILENT).rows

    assert before == after == later == (RS1, RS2)


def test_a_director_that_suspects_itself_goes_on_doing_so_until_a_server_answers(line, at_once):
    one = line().hears(PASS).lasts(10, SILENT, SILENT)
    before = one.rows
    after = one.followed(at_once).rows
    one.hears(SILENT, RS1)  # the first to be told, and not yet all of them
    later = one.lasts(10, SILENT, SILENT).rows
    one.hears(PASS, RS1).lasts(5, SILENT, SILENT)

    assert before == after == later == (RS1, RS2)
    assert one.director.cluster.suspected is None


SORRY = at("192.168.122.99:80")
STRICT = ServiceSetup(quorum=8, hysteresis=4, when_empty=WhenEmpty.SORRY, sorry=(SORRY,))


def test_a_quorum_that_was_lost_is_as_hard_to_regain_for_the_next_director(line, at_once):
    one = line(Setup(STRICT)).hears(PASS).hears(PASS, path=True)
    for path in (False, True):
        one.hears(PASS, Destination(SORRY), path=path)
    one.hears(REFUSED).hears(REFUSED)
    one.hears(PASS, RS2).hears(PASS, RS2)  # 10 are there, and 8 + 4 are wanted
    one.director.reconcile()
    before = one.rows
    after = one.followed(at_once).rows

    assert {row.endpoint: row.weight for row in before} == {RS2.endpoint: 0, SORRY: 1}
    assert after == before


FOREIGN, NEW = service("10.7.7.7:53", RS1), service("172.25.0.11:80", real("192.168.122.30:80"))


def test_a_service_that_a_reload_has_dropped_leaves_though_its_director_ends_before(line, at_once):
    one = line(Setup(own=Own.RULES)).hears(PASS).hears(PASS, path=True)
    one.kernel.apply([AddService(bare(FOREIGN))])
    one.reloads(rules(NEW))
    held = one.services
    one.followed(at_once)

    assert held == {tcp(VIP), FOREIGN.name}
    assert one.services == {NEW.name, FOREIGN.name}
    assert one.noted().notes.read().dropped == ""


@pytest.mark.parametrize("drift", Drift)
def test_an_edit_by_hand_stands_for_the_next_director_as_it_did_for_the_last(line, at_once, drift):
    one = line(Setup(drift=drift)).hears(PASS).hears(PASS, path=True)
    one.director.reconcile()
    one.kernel.apply([SetService(service(VIP, scheduler="wrr"))])
    one.director.reconcile()
    before = one.kernel.read(), one.director.meant
    one.followed(at_once)

    assert (one.kernel.read(), one.director.meant) == before


def test_what_was_only_reported_is_no_longer_left_once_it_is_undone(line, at_once):
    one = line(Setup(drift=Drift.REPORT)).hears(PASS).hears(PASS, path=True)
    for scheduler in ("rr", "wrr", "rr"):
        one.kernel.apply([SetService(service(VIP, scheduler=scheduler))])
        one.director.reconcile()
        one.followed(at_once)

    assert one.notes.read().reported is None
    assert one.kernel.read().services == WEB.services


def test_the_weight_that_a_server_asks_for_is_news(line):
    one = line().hears(PASS).hears(PASS, path=True).noted()
    one.hears(replace(PASS, weight=Weight(0.0)), RS1)
    one.followed(at_once=False)

    assert one.rows == (real("192.168.122.10:80", 0), RS2)


def test_who_is_kept_by_the_panic_guard_is_kept_by_the_next_director_too(line, at_once):
    one = line(Setup(ServiceSetup(keep_at_least=0.2))).hears(PASS).hears(PASS, path=True)
    one.hears(REFUSED, RS2).hears(REFUSED, RS2)
    one.now += 1
    one.hears(REFUSED, RS1).hears(REFUSED, RS1)
    before = one.rows
    after = one.followed(at_once).rows

    assert before == after == (RS1,)


def test_whoever_was_to_be_replaced_and_goes_on_writes_anew(line):
    one = line().hears(PASS).noted()
    for row in (real("192.168.122.10:80", 7), RS1):
        one.director.edit([SetDestination(tcp(VIP), row)], lambda *_: None)
        if row is not RS1:
            one.notes.hand_over(one.director, one.saved, 0.0)
    one.noted()

    assert one.notes.read().running == one.notes.read().rules


def test_a_leaving_that_has_just_begun_is_gone_on_with(line, at_once):
    one = line().hears(PASS).hears(PASS, path=True)
    one.hears(SILENT, RS1).hears(SILENT, RS1)
    one.followed(at_once)
    key = Row(tcp(VIP), RS1.endpoint)

    assert one.rows == (real("192.168.122.10:80", 0), RS2)
    assert one.director.cluster.departures[key].since == one.now


def test_a_state_file_that_cannot_be_reached_is_said_and_one_that_is_not_there_is_not(
    tmp_path, caplog
):
    (tmp_path / "run").write_text("no folder")

    assert [Notes(tmp_path / it / "state.json").read() for it in ("none", "run")] == [None, None]
    assert len(caplog.messages) == 1
    assert "lies below something that is not a directory" in caplog.text
