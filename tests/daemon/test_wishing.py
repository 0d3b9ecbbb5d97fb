import json
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.plan import SetDestination
from lvs_nat.core.setup import Check, ServiceSetup, Setup, Target, WhenEmpty
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.wishing import Wishing
from lvs_nat.errors import LvsNatError
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp
from tests.fakes import FakeIpvs
from tests.hostile import altered, damaged, values

PASS = Verdict(Outcome.PASS, "connected")
REFUSED = Verdict(Outcome.REFUSED, "refused")
DRAINED, QUIESCED2 = real("192.168.122.10:80", 0), real("192.168.122.20:80", 0)
SORRY = real("192.168.122.99:80")
OTHER = "172.25.0.11:80"


class Stage:
    """A director whose servers are well, its operator, and a clock for both."""

    def __init__(self, folder, ruleset=WEB, least=0.0, **setup):
        self.now = 1000.0
        self.ahead = 1e9  # what wall time is ahead of that
        self.path = folder / "state" / "wishes.json"
        setup = Setup(ServiceSetup(keep_at_least=least, **setup))
        self.kernel = FakeIpvs()
        self.director = Director(Cluster.of(ruleset, setup, {}), self.kernel, self.clock)
        self.wishing = self.another()
        well = [(Target(row.endpoint, Check()), PASS) for row in (RS1, RS2, SORRY)]
        self.director.hear(well)

    def clock(self):
        return self.now

    def wall(self):
        return self.now + self.ahead

    def another(self, boot="this boot"):
        """Return what a later director has for its operator's wishes."""
        return Wishing(self.path, self.director, self.clock, self.wall, boot)

    def restart(self, boot="this boot"):
        """Have another director begin, which knows what is written."""
        cluster = self.director.cluster
        self.director.cluster = Cluster.of(cluster.rules, cluster.setup, cluster.healths)
        self.wishing = self.another(boot)
        self.wishing.recall()

    def reboot(self):
        """Restart after a boot: the monotonic clock begins anew."""
        self.now, self.ahead = self.now - 500.0, self.ahead + 500.0
        self.restart("the next boot")

    def asks(self, wish, server="192.168.122.10:80", **more):
        return self.wishing.wish({"server": server, "wish": wish, **more})["rows"]

    def later(self, seconds):
        self.now += seconds
        self.director.reconcile()
        self.wishing.keep()
        return self

    def rows(self, name=VIP):
        return tuple(self.kernel.read().services[tcp(name)].destinations.values())


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_a_drained_server_takes_no_new_clients_until_it_is_enabled(stage):
    (row,) = stage.asks("drain")

    assert row == {
        "service": f"tcp {VIP}",
        "address": "192.168.122.10:80",
        "weight": 5,
        "kernel_weight": 0,
        "active_connections": 0,
        "inactive_connections": 0,
    }
    assert stage.rows() == (DRAINED, RS2)
    assert stage.later(1e6).rows() == (DRAINED, RS2)
    stage.asks("enable")
    assert stage.rows() == (RS1, RS2)


def test_what_is_left_after_the_time_out_of_a_drain_is_given_up(stage):
    stage.asks("drain", cut_after=30.0)

    assert stage.later(29).rows() == (DRAINED, RS2)
    assert stage.later(1).rows() == (RS2,)


def test_a_wish_may_end_by_itself(stage):
    stage.asks("disable", ends_after=60.0)

    assert stage.later(59).rows() == (RS2,)
    assert set(stage.later(1).rows()) == {RS1, RS2}
    assert json.loads(stage.path.read_text())["wishes"] == []


def test_a_server_is_meant_with_all_its_ports_or_under_one_service(tmp_path):
    both = rules(service(VIP, RS1, RS2), service(OTHER, RS1, real("192.168.122.10:81")))
    stage = Stage(tmp_path, both)

    assert len(stage.asks("drain", "192.168.122.10", service=f"tcp {OTHER}")) == 2
    assert stage.rows() == (RS1, RS2)
    assert len(stage.asks("drain", "192.168.122.10")) == 3
    assert stage.rows() == (DRAINED, RS2)
    assert len(stage.asks("enable", "192.168.122.10")) == 3
    assert (stage.rows(), stage.rows(OTHER)[0]) == ((RS1, RS2), RS1)


@pytest.mark.parametrize("wish, left", [("enable", RS1), ("drain", DRAINED)])
def test_what_is_asked_under_one_service_changes_nothing_under_the_others(tmp_path, wish, left):
    third = "172.25.0.12:80"
    stage = Stage(tmp_path, rules(*(service(name, RS1, RS2) for name in (VIP, OTHER, third))))
    stage.asks("disable", ends_after=60.0)
    stage.asks("drain", service=f"tcp {third}", ends_after=30.0)
    stage.asks(wish, service=f"tcp {OTHER}")

    def rows():
        return [set(stage.rows(name)) for name in (VIP, OTHER, third)]

    assert rows() == [{RS2}, {left, RS2}, {DRAINED, RS2}]
    stage.restart()
    stage.later(31)
    assert rows() == [{RS2}, {left, RS2}, {RS1, RS2}]
    stage.later(30)
    assert rows() == [{RS1, RS2}, {left, RS2}, {RS1, RS2}]
    stage.asks("enable")
    assert rows() == [{RS1, RS2}] * 3


def test_wishes_outlive_restart_reload_and_boot_with_their_deadlines(stage):
    stage.asks("drain", cut_after=30.0)
    stage.director.reload(WEB, stage.director.cluster.setup)
    assert stage.later(1).rows() == (DRAINED, RS2)

    stage.restart()
    assert stage.later(8).rows() == (DRAINED, RS2)

    stage.reboot()
    assert stage.later(20).rows() == (DRAINED, RS2)
    assert stage.later(1).rows() == (RS2,)


DAY = 86400.0


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_clock_that_is_set_moves_no_deadline_within_the_boot(stage, step):
    stage.asks("disable", ends_after=60.0)
    stage.ahead += step
    stage.restart()

    assert stage.later(59).rows() == (RS2,)
    assert len(stage.later(1).rows()) == 2


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_clock_that_was_set_before_a_boot_moves_no_deadline_either(stage, step):
    stage.asks("disable", ends_after=60.0)
    stage.ahead += step
    stage.later(10)
    stage.reboot()

    assert stage.later(49).rows() == (RS2,)
    assert len(stage.later(1).rows()) == 2


def test_after_a_boot_deadlines_are_of_this_boot(stage):
    stage.asks("disable", ends_after=60.0)
    stage.reboot()
    stage.later(10)
    stage.ahead += DAY
    stage.restart("the next boot")

    assert stage.later(49).rows() == (RS2,)
    assert len(stage.later(1).rows()) == 2


def test_what_is_not_known_to_be_of_this_boot_goes_by_wall_time(stage):
    stage.asks("disable", ends_after=60.0)
    written = json.loads(stage.path.read_text())
    stage.path.write_text(json.dumps({name: written[name] for name in ("format", "wishes")}))
    stage.ahead += 30
    stage.restart()

    assert stage.later(29).rows() == (RS2,)
    assert len(stage.later(1).rows()) == 2


def test_a_clock_that_runs_as_it_should_writes_nothing(stage):
    stage.asks("disable", ends_after=60.0)
    stage.path.unlink()
    stage.ahead += 0.5
    stage.later(10)

    assert not stage.path.exists()


@pytest.mark.parametrize(
    "text", ["", "nonsense", "{}", "[]", '{"format": 2}', '{"format": 1, "wishes": [{}]}',
             '{"format": 1, "wishes": [{"service": null, "server": "x", "wish": "drained",'
             ' "cut": null, "ends": null}]}']
)  # fmt: skip
def test_a_file_that_is_none_is_said_and_done_without(stage, text, caplog):
    stage.path.parent.mkdir()
    stage.path.write_text(text)
    stage.another().recall()

    assert stage.director.cluster.wishes == {}
    assert "wishes are lost" in caplog.text


def no_text(path):
    path.write_bytes(b'{"format": 1, "wishes": "\xff"}')


@pytest.mark.parametrize(
    "hide, why",
    [
        (no_text, "a byte that is not UTF-8"),
        (Path.mkdir, "is a directory"),
        (lambda path: path.symlink_to(path), "leads in a circle"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_and_done_without(stage, hide, why, caplog):
    stage.path.parent.mkdir()
    hide(stage.path)
    stage.another().recall()

    assert stage.director.cluster.wishes == {}
    [record] = caplog.records
    assert record.message.startswith(f"the operator's wishes are lost: {stage.path}")
    assert why in record.message


def test_no_file_is_nothing_to_speak_of(stage, caplog):
    stage.another().recall()

    assert caplog.records == []


def test_a_file_that_cannot_be_written_is_said_and_the_wish_holds(stage, caplog):
    stage.path.parent.write_text("a file where a folder should be")
    request = {"server": "192.168.122.10:80", "wish": "drain"}
    with caplog.at_level(logging.ERROR):
        answers = [stage.wishing.wish(request) for _ in range(2)]
        stage.later(1)

    words = f"cannot write {stage.path}: File exists; a restart would forget this"
    assert [answer["warnings"] for answer in answers] == [[words]] * 2
    assert caplog.messages == [words]
    assert stage.rows() == (DRAINED, RS2)
    stage.path.parent.unlink()
    assert stage.wishing.wish(request)["warnings"] == []
    stage.restart()
    assert stage.later(1).rows() == (DRAINED, RS2)


def test_what_is_not_on_disk_is_not_handed_to_a_successor(stage):
    stage.path.parent.write_text("a file where a folder should be")
    stage.asks("drain")
    with pytest.raises(FileExistsError, match=r"wishes\.json"):
        stage.wishing.write()
    stage.path.parent.unlink()
    stage.wishing.write()
    stage.restart()

    assert stage.later(1).rows() == (DRAINED, RS2)


@pytest.mark.parametrize(
    "request_, words",
    [
        ({"server": "192.168.122.99:80"},
         "there is no real server 192.168.122.99:80; see lvs-nat status"),
        ({"server": "192.168.122.10:80", "service": "tcp 1.2.3.4:5"},
         "there is no virtual service tcp 1.2.3.4:5; see lvs-nat status"),
        ({"server": "192.168.122.10:80", "service": "web"},
         "'web' is not the name of a virtual service; write for example 'tcp 172.25.0.10:80'"),
    ],
)  # fmt: skip
def test_whom_nobody_knows_nobody_drains(stage, request_, words):
    with pytest.raises(LvsNatError, match=words.replace(".", r"\.")):
        stage.wishing.wish({"wish": "drain", **request_})

    assert stage.director.cluster.wishes == {}


def test_the_panic_guard_holds_for_the_operator_too_unless_he_insists(tmp_path):
    stage = Stage(tmp_path, least=0.5)
    words = (
        r"this would leave 33% of the weight of tcp 172.25.0.10:80, less than keep_at_least = 50%"
    )

    with pytest.raises(LvsNatError, match=words):
        stage.asks("drain", "192.168.122.20:80")
    assert stage.rows() == (RS1, RS2)
    stage.asks("drain", "192.168.122.20:80", force=True)
    assert stage.rows() == (RS1, QUIESCED2)
    stage.asks("enable", "192.168.122.20:80")
    stage.asks("drain")
    assert stage.rows() == (DRAINED, RS2)


def weighs(stage, weight, **more):
    return stage.wishing.weigh({"server": "192.168.122.10:80", "weight": weight, **more})


def test_a_weight_is_set_in_what_runs_and_saved_with_it(stage):
    weighs(stage, 7)

    assert stage.rows() == (real("192.168.122.10:80", 7), RS2)
    assert stage.director.meant.services[tcp(VIP)].destinations[RS1.endpoint].weight == 7


@pytest.mark.parametrize(
    "request_, words",
    [
        ({}, "a wish is one of drain, disable, enable"),
        ({"wish": "fly"}, "a wish is one of drain, disable, enable"),
        ({"wish": "drain"}, "there is no real server None"),
        ({"wish": "drain", "server": "192.168.122.10", "cut_after": "soon"}, "cut_after is a numb"),
        ({"wish": "drain", "server": "192.168.122.10", "ends_after": -1}, "ends_after is a number"),
        ({"wish": "drain", "server": "192.168.122.10", "cut_after": float("nan")}, "cut_after is"),
        ({"wish": "drain", "server": "192.168.122.10", "ends_after": 0}, "--for 0 would end at on"),
        ({"wish": "disable", "server": "192.168.122.10", "ends_after": 1e-99}, "--for 0 would end"),
    ],
)
def test_what_nobody_can_wish_is_refused_in_words(stage, request_, words):
    with pytest.raises(LvsNatError, match=words):
        stage.wishing.wish(request_)


@pytest.mark.parametrize("weight", [-1, 2**31, 1.5, "7", None, True])
def test_nonsense_is_no_weight(stage, weight):
    with pytest.raises(LvsNatError, match="is no weight"):
        weighs(stage, weight)


def test_a_drained_server_that_fails_and_returns_is_drained_still(stage):
    stage.asks("drain")
    who = Target(RS1.endpoint, Check())
    stage.director.hear([(who, Verdict(Outcome.REFUSED, "refused"))] * 2)
    gone = stage.rows()
    stage.director.hear([(who, PASS)] * 2)

    assert (gone, stage.rows()) == ((RS2,), (RS2, DRAINED))


WISHES = {
    "format": 1,
    "boot": "this boot",
    "ahead": 1e9,
    "wishes": [
        {"service": None, "server": "192.168.122.10:80", "wish": "drained", "cut": 2e9, "ends": 3},
        {"service": f"tcp {VIP}", "server": "[::1]:0", "wish": "disabled", "cut": None, "ends": 9},
    ],
}


@pytest.mark.fuzz
@given(altered(WISHES) | damaged(json.dumps(WISHES)) | st.text(max_size=60))
def test_whatever_the_file_holds_a_director_starts(text):
    with TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        stage.path.parent.mkdir()
        stage.path.write_bytes(text.encode(errors="surrogatepass"))
        stage.another().recall()
        stage.later(1)

        assert len(stage.rows()) <= 2


FIELDS = {
    "server": st.just("192.168.122.10:80") | values(),
    "wish": st.sampled_from(["drain", "disable", "enable"]) | values(),
    "service": st.just(f"tcp {VIP}") | values(),
    "weight": st.integers(-1, 2**31) | values(),
    "cut_after": values(),
    "ends_after": values(),
    "force": st.booleans() | values(),
}


@pytest.mark.fuzz
@given(
    st.sampled_from(["wish", "weigh", "connections"]),
    st.fixed_dictionaries({}, optional=FIELDS),
)
def test_whatever_is_asked_is_answered_or_refused_and_the_director_goes_on(verb, request):
    with TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        with suppress(LvsNatError):
            json.dumps(getattr(stage.wishing, verb)(request))
        stage.later(1)

        assert all(type(row.weight) is int for row in stage.rows())
        if stage.path.exists():
            assert "NaN" not in stage.path.read_text()


def test_a_weight_that_is_set_after_an_edit_by_hand_is_the_one_that_holds(stage):
    weighs(stage, 6)
    stage.kernel.apply([SetDestination(tcp(VIP), replace(RS1, weight=7))])  # nobody has looked yet
    weighs(stage, 3)

    assert stage.rows() == (real("192.168.122.10:80", 3), RS2)


def test_the_guard_does_not_let_the_last_weight_become_0(tmp_path):
    stage = Stage(tmp_path, least=0.5)
    weighs(stage, 0)

    with pytest.raises(LvsNatError, match="this would leave 0% of the weight"):
        stage.wishing.weigh({"server": "192.168.122.20:80", "weight": 0})
    assert stage.rows() == (DRAINED, RS2)


@pytest.fixture
def told(stage, caplog):
    """Return what was logged since it was asked last."""
    caplog.set_level(logging.INFO)
    caplog.clear()

    def since():
        found = [record.message for record in caplog.records]
        caplog.clear()
        return found

    return since


DRAIN = "ipvsadm -e -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 0"
DELETE = "ipvsadm -d -t 172.25.0.10:80 -r 192.168.122.10:80"
ADD = "ipvsadm -a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5"
DRAINING = "drained: no new clients, those it has may finish"


def test_what_the_operator_wants_is_logged_before_it_is_done_and_so_is_its_end(stage, told):
    stage.asks("drain", service=f"tcp {VIP}", cut_after=30.0, ends_after=90.0)

    who = f"192.168.122.10:80 under tcp {VIP}"
    assert told() == [
        f"the operator wants {who} {DRAINING}; what is left after 30 s is given up; in service "
        "again after 90 s",
        DRAIN,
    ]
    stage.later(29)
    assert told() == []
    stage.later(1)
    left = f"real server {who} has had its time to drain: what is left is given up"
    assert told() == [left, DELETE]
    stage.later(59)
    assert told() == []
    stage.later(1)
    assert told() == [f"real server {who} is in service again: its time out of it is over", ADD]
    stage.later(1)
    assert told() == []


def test_a_wish_that_ends_while_no_director_runs_is_logged_by_the_next_one(stage, told):
    stage.asks("disable", ends_after=60.0)
    told()
    stage.now += 61
    stage.restart()
    stage.later(1)

    ended = "real server 192.168.122.10:80 is in service again: its time out of it is over"
    assert told() == [ended, ADD]


@pytest.mark.parametrize("wish, done", [("enable", DRAIN.replace("-w 0", "-w 7")), ("disable", "")])
def test_a_weight_is_logged_with_who_gave_it_whatever_that_does(stage, told, wish, done):
    stage.asks(wish)
    told()
    weighs(stage, 7)

    given = "the operator gives 192.168.122.10:80 the weight 7"
    assert told() == [given, *filter(None, [done])]


def test_what_is_refused_is_not_logged_as_wanted(tmp_path, caplog):
    stage = Stage(tmp_path, least=0.9)
    caplog.set_level(logging.INFO)
    caplog.clear()
    with pytest.raises(LvsNatError, match="this would leave"):
        stage.asks("drain")

    assert caplog.messages == []


@pytest.fixture
def apologetic(tmp_path):
    """Return a stage with a sorry server that stands in: whom it stands in for are dead."""
    sorry = {"when_empty": WhenEmpty.SORRY, "sorry": (SORRY.endpoint,)}
    found = Stage(tmp_path, least=0.0, **sorry)
    dead = [(Target(row.endpoint, Check()), REFUSED) for row in (RS1, RS2)]
    found.director.hear(dead * 2)
    return found


@pytest.mark.parametrize("wish, left", [("drain", (replace(SORRY, weight=0),)), ("disable", ())])
def test_a_sorry_server_is_drained_and_disabled_like_any_other(apologetic, wish, left):
    stood = apologetic.rows()
    (row,) = apologetic.asks(wish, "192.168.122.99:80", service=f"tcp {VIP}", ends_after=60.0)

    assert stood == (SORRY,)
    assert apologetic.rows() == left
    assert (row["address"], row["weight"]) == ("192.168.122.99:80", 1)
    apologetic.restart()
    assert apologetic.later(1).rows() == left
    assert apologetic.later(60).rows() == (SORRY,)
    apologetic.asks(wish, "192.168.122.99")
    apologetic.asks("enable", "192.168.122.99")
    assert apologetic.rows() == (SORRY,)


def test_a_sorry_server_has_no_weight_to_set(apologetic):
    words = (
        "192.168.122.99:80 is a sorry server, which has no weight to set: `lvs-nat disable` it, "
        "or take it out of `sorry` in lvs-nat.conf"
    )
    with pytest.raises(LvsNatError, match=words.replace(".", r"\.")):
        apologetic.wishing.weigh({"server": "192.168.122.99:80", "weight": 3})

    assert apologetic.rows() == (SORRY,)


def test_only_where_a_server_is_in_the_rules_it_is_weighed(tmp_path):
    both = rules(service(VIP, RS1), service(OTHER, SORRY))
    stage = Stage(tmp_path, both, sorry=(SORRY.endpoint,), when_empty=WhenEmpty.SORRY)
    rows = stage.wishing.weigh({"server": "192.168.122.99:80", "weight": 3})["rows"]

    assert [(row["service"], row["weight"]) for row in rows] == [(f"tcp {OTHER}", 3)]
    assert len(stage.asks("drain", "192.168.122.99:80")) == 2


def test_a_wish_under_one_service_leaves_the_one_for_a_sorry_server_of_another(tmp_path):
    both = rules(service(VIP, RS1), service(OTHER, SORRY))
    stage = Stage(tmp_path, both, sorry=(SORRY.endpoint,), when_empty=WhenEmpty.SORRY)
    stage.asks("disable", "192.168.122.99:80")
    stage.asks("enable", "192.168.122.99:80", service=f"tcp {OTHER}")
    stage.director.hear([(Target(RS1.endpoint, Check()), REFUSED)] * 2)

    assert (stage.rows(), stage.rows(OTHER)) == ((), (SORRY,))
