import json
import os
from contextlib import suppress
from itertools import count, product

import pytest

from lvs_nat.core.sysctls import wanted
from lvs_nat.errors import LvsNatError
from lvs_nat.system.sysctl import Sysctls

FORWARD = "net/ipv4/ip_forward"
TREE = {
    FORWARD: "0",
    "net/ipv4/conf/all/send_redirects": "1",
    "net/ipv4/conf/default/send_redirects": "1",
    "net/ipv4/conf/eth0.100/send_redirects": "1",
    "net/ipv4/conf/lo/send_redirects": "1",
    "net/ipv4/vs/expire_nodest_conn": "0",
    "net/ipv4/vs/expire_quiescent_template": "0",
    "kernel/random/boot_id": "this boot",
}
WANTS = wanted(["lo", "eth0.100"], False)
DONE = {**TREE, **{name: value for name, value in WANTS.items() if name in TREE}}
MISSING = (
    "net.ipv4.vs.conn_reuse_mode is not there: this kernel, or one without ip_vs loaded, "
    "goes without"
)


class Machine:
    """A tree of settings in a directory, and directors that come and go."""

    def __init__(self, path, tree=TREE):
        self.root = path / "sys"
        self.record = path / "run/sysctl.json"
        self.record.parent.mkdir(parents=True)
        for name, value in tree.items():
            self.write(name, value)

    def write(self, name, value):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(f"{value}\n")

    def tree(self):
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.root)): path.read_text().strip() for path in files}

    def director(self):
        return Sysctls(self.root, self.record)

    def mortal(self, last=None):
        return Modelled(self.root, self.record, last=last)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_what_differs_is_set_and_given_back(machine):
    assert machine.director().set(WANTS) == [
        MISSING,
        "net.ipv4.ip_forward is set to 1, was 0",
        "net.ipv4.conf.all.send_redirects is set to 0, was 1",
        "net.ipv4.conf.default.send_redirects is set to 0, was 1",
        "net.ipv4.conf.eth0/100.send_redirects is set to 0, was 1",
        "net.ipv4.vs.expire_nodest_conn is set to 1, was 0",
        "net.ipv4.vs.expire_quiescent_template is set to 1, was 0",
    ]
    assert machine.tree() == DONE

    assert machine.director().restore() == [
        "net.ipv4.ip_forward is restored to 0",
        "net.ipv4.conf.all.send_redirects is restored to 1",
        "net.ipv4.conf.default.send_redirects is restored to 1",
        "net.ipv4.conf.eth0/100.send_redirects is restored to 1",
        "net.ipv4.vs.expire_nodest_conn is restored to 0",
        "net.ipv4.vs.expire_quiescent_template is restored to 0",
    ]
    assert machine.tree() == TREE
    assert not machine.record.exists()


def test_what_is_right_already_is_neither_written_nor_given_back(tmp_path):
    machine = Machine(tmp_path, DONE)
    for name in WANTS:
        if name in DONE:
            (machine.root / name).chmod(0o444)
    times = {path: path.stat().st_mtime_ns for path in machine.root.rglob("*")}

    assert machine.director().set(WANTS) == [MISSING]
    assert machine.director().restore() == []
    assert times == {path: path.stat().st_mtime_ns for path in machine.root.rglob("*")}
    assert not machine.record.exists()


@pytest.mark.parametrize("before, meddled", list(product("01", [True, False])))
def test_a_value_that_somebody_changed_meanwhile_is_left(machine, before, meddled):
    machine.write(FORWARD, before)
    machine.director().set(WANTS)
    if meddled:
        machine.write(FORWARD, "2")

    lines = [line for line in machine.director().restore() if "ip_forward" in line]

    if meddled:
        left = "net.ipv4.ip_forward is left at 2: somebody set it, where we had set 1"
        assert lines == [left]
    assert machine.tree()[FORWARD] == ("2" if meddled else before)


def test_the_first_record_outlives_crashes(machine):
    for _ in range(3):
        machine.director().set(WANTS)  # and is killed

    machine.director().restore()

    assert machine.tree() == TREE


@pytest.mark.parametrize("written", range(len(WANTS)))
def test_a_crash_after_any_write_can_be_restored(machine, written):
    machine.director().set(WANTS)
    for name in [name for name in WANTS if name in TREE][written:]:
        machine.write(name, TREE[name])  # as if it had not come to this write

    machine.director().restore()

    assert machine.tree() == TREE


class Killed(BaseException):
    """What nothing can catch has ended the director."""


class Mortal(Sysctls):
    """A director that is killed instead of its write number *last*, counted from 0."""

    def __init__(self, *places, last=None, **more):
        super().__init__(*places, **more)
        self.left = last

    def _write(self, name, value):
        if self.left == 0:
            raise Killed
        self.left = self.left and self.left - 1
        super()._write(name, value)


class Modelled(Mortal):
    """One on a tree in which the kernel sets along what net/ipv4/devinet.c does."""

    def _write(self, name, value):
        before = self._read(name)
        super()._write(name, value)
        if name in (FORWARD, ALL_FORWARDING) and value != before:
            for place in (FORWARD, ALL_FORWARDING, LO_FORWARDING):
                Sysctls._write(self, place, value)
            Sysctls._write(self, REDIRECTS, "1" if value == "0" else "0")


ALL_FORWARDING = "net/ipv4/conf/all/forwarding"
LO_FORWARDING = "net/ipv4/conf/lo/forwarding"
REDIRECTS = "net/ipv4/conf/all/accept_redirects"
HOST = {
    FORWARD: "0",
    ALL_FORWARDING: "0",
    LO_FORWARDING: "1",
    REDIRECTS: "0",
    "net/ipv4/conf/all/send_redirects": "1",
    "kernel/random/boot_id": "this boot",
}
ROUTER = {**HOST, FORWARD: "1", ALL_FORWARDING: "1", LO_FORWARDING: "0"}


def starts(director):
    director.set({name: WANTS[name] for name in WANTS if name in HOST})


stops = Mortal.restore
NOTHING = '{"boot": "this boot", "values": {}}'


def every_death(machine, act):
    """Yield after each death that a director can die in *act*, and at last after it has lived."""
    found = machine.tree()
    record = machine.record.read_text() if machine.record.exists() else NOTHING
    for last in count():
        for name, value in found.items():
            machine.write(name, value)
        machine.record.write_text(record)
        try:
            act(machine.mortal(last))
        except Killed:
            yield
        else:
            yield
            return


@pytest.mark.parametrize("tree", [HOST, {**HOST, REDIRECTS: "1"}, {**HOST, REDIRECTS: "2"}, ROUTER])
@pytest.mark.parametrize(
    "life", [(starts, stops, stops), (starts, starts), (starts, stops, starts)]
)
def test_wherever_directors_are_killed_a_stop_leaves_the_machine_as_it_was(tmp_path, tree, life):
    machine = Machine(tmp_path, tree)

    def live(act=stops, *acts):
        for _ in every_death(machine, act):
            if acts:
                live(*acts)
            else:
                stops(machine.mortal())
                assert machine.tree() == tree

    live(*life)


@pytest.mark.parametrize("name", [REDIRECTS, LO_FORWARDING])
@pytest.mark.parametrize("value", ["0", "1", "2"])
def test_what_somebody_has_set_is_left_though_a_stop_was_killed(tmp_path, name, value):
    machine = Machine(tmp_path, HOST)
    starts(machine.mortal())
    machine.write(name, value)
    for _ in every_death(machine, stops):
        stops(machine.mortal())
        assert machine.tree() == {**HOST, name: value}


def test_settings_return_where_the_record_cannot_be_written_any_more(tmp_path):
    machine = Machine(tmp_path, HOST)
    starts(machine.mortal())
    # What is to take its place for a moment has a longer name, too long for any disk.
    machine.record = machine.record.rename(machine.record.with_name("x" * 250))
    stops(machine.mortal())

    assert machine.tree() == HOST
    assert not machine.record.exists()


def test_without_a_record_on_disk_nothing_is_touched(machine):
    machine.record.parent.rmdir()

    with pytest.raises(FileNotFoundError):
        machine.director().set(WANTS)

    assert machine.tree() == TREE
    assert machine.director().restore() == ["no kernel setting is on record: none is restored"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"boot": "this boot"}',
        '{"boot": "this boot", "values": {"net/ipv4/ip_forward": ["0"]}}',
        '{"boot": "this boot", "values": {"net/../kernel/random/boot_id": ["0", "this boot"]}}',
        "[" * 100_000,
        "\0",
    ],
)
def test_a_record_that_is_torn_or_forged_is_said_and_not_used(machine, text):
    machine.record.write_text(text)
    complaint = f"{machine.record} cannot be used: what settings were before is not known"

    assert machine.director().restore() == [complaint]
    assert machine.tree() == TREE
    assert complaint in machine.director().set(WANTS)
    machine.director().restore()
    assert machine.tree() == TREE


def test_every_cut_of_a_record_is_survived(machine):
    machine.director().set(WANTS)
    whole = machine.record.read_text()

    for cut in range(len(whole.rstrip())):
        machine.record.write_text(whole[:cut])

        assert len(machine.director().restore()) == 1
    assert machine.tree() == DONE


def test_the_record_of_another_boot_is_dropped(machine):
    machine.director().set(WANTS)
    for name, value in TREE.items():
        machine.write(name, value)
    machine.write(FORWARD, "1")
    machine.write("kernel/random/boot_id", "another boot")

    machine.director().set(WANTS)
    machine.director().restore()

    assert machine.tree() == {**TREE, FORWARD: "1", "kernel/random/boot_id": "another boot"}


def test_an_interface_that_went_away_is_nothing_to_restore(machine):
    machine.director().set(WANTS)
    (machine.root / "net/ipv4/conf/eth0.100/send_redirects").unlink()
    (machine.root / "net/ipv4/conf/eth0.100").rmdir()

    assert not [line for line in machine.director().restore() if "eth0" in line]


def test_a_director_sets_again_what_drifted_and_says_what_is_missing_once(machine):
    director = machine.director()
    director.set(WANTS)
    machine.write(FORWARD, "0")

    assert director.set(WANTS) == ["net.ipv4.ip_forward is set to 1, was 0"]
    assert director.set(WANTS) == []


def test_the_interfaces_are_those_with_settings(machine):
    assert machine.director().interfaces() == ["eth0.100", "lo"]


def test_the_record_is_for_the_director_alone(machine):
    machine.director().set(WANTS)

    assert machine.record.stat().st_mode & 0o777 == 0o600
    assert json.loads(machine.record.read_text())["values"][FORWARD] == ["0", "1"]


def test_a_link_in_the_place_of_a_setting_is_not_followed(machine, tmp_path):
    (tmp_path / "victim").write_text("0\n")
    (machine.root / FORWARD).unlink()
    (machine.root / FORWARD).symlink_to(tmp_path / "victim")

    with pytest.raises(LvsNatError, match=r"cannot set .* to 1: Too many levels"):
        machine.director().set(WANTS)

    assert (tmp_path / "victim").read_text() == "0\n"
    assert not machine.record.exists()


def test_a_start_that_cannot_forward_leaves_the_record_of_those_before_it(machine):
    machine.director().set(WANTS)
    record = machine.record.read_bytes()
    (machine.root / FORWARD).unlink()
    (machine.root / FORWARD).symlink_to(machine.root / "net/ipv4/conf/all/send_redirects")

    with pytest.raises(LvsNatError, match="without it no real server can answer"):
        machine.director().set(WANTS)

    assert machine.record.read_bytes() == record


def snapshot(root="/proc/sys/net"):
    found = {}
    for place, _, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)
            if "/conf/" in path or "/vs/" in path or name == "ip_forward":
                try:
                    with open(path) as file:
                        found[path] = file.read()
                except OSError:
                    continue  # such as stable_secret, which cannot be read before it is set
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("forward, ipv6, redirects", list(product("01", repeat=3)))
def test_a_kernel_is_left_as_it_was_with_all_that_forwarding_changes(
    tmp_path, forward, ipv6, redirects
):
    os.system("modprobe ip_vs; ip link add eth7.100 type dummy; ip link set eth7.100 up")
    before = {
        FORWARD: forward,
        "net/ipv6/conf/all/forwarding": ipv6,
        "net/ipv4/conf/all/send_redirects": redirects,
        "net/ipv4/conf/all/accept_redirects": redirects,
        "net/ipv4/conf/eth7.100/forwarding": redirects,
        "net/ipv6/conf/eth7.100/forwarding": redirects,
        "net/ipv4/conf/eth7.100/send_redirects": redirects,
        "net/ipv4/vs/expire_nodest_conn": redirects,
    }
    for name, value in before.items():
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
    found = snapshot()
    director = Sysctls(record=tmp_path / "sysctl.json")

    director.set(wanted(director.interfaces(), True))
    os.system("ip link add eth8 type dummy")
    director.set(wanted(director.interfaces(), True))
    assert director.set(wanted(director.interfaces(), True)) == []
    assert "eth8" in director.interfaces()
    for last in (0, 1, 1, 2):
        with suppress(Killed):
            Mortal(record=tmp_path / "sysctl.json", last=last).restore()
    director.restore()

    left = snapshot()
    assert {path: left[path] for path in found} == found
    for name in ("send_redirects", "forwarding"):
        assert (
            left[f"/proc/sys/net/ipv4/conf/eth8/{name}"]
            == (found[f"/proc/sys/net/ipv4/conf/default/{name}"])
        )
    os.system("ip link del eth8; ip link del eth7.100")
