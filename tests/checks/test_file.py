"""What files say, and how soon the engine hears of it."""

import errno
import os
import socket

import pytest

from lvs_nat.checks import file
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import File
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import ask
from tests.daemon.test_engine import World

RS = at("192.0.2.10:8080")
SLOWLY = {"interval": 3600.0, "fast": 0.02}
OR = "write a weight, a percentage, up, down or drain"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weight"


@pytest.mark.parametrize(
    "content, outcome, words, weight",
    [
        ("up", Outcome.PASS, "says up", None),
        ("UP\n", Outcome.PASS, "says UP", None),
        ("down", Outcome.FAIL, "says down", None),
        ("down new disk\nsince noon", Outcome.FAIL, "says down: new disk", None),
        ("drain", Outcome.PASS, "says drain", Weight(0)),
        ("75%", Outcome.PASS, "says 75%", Weight(0.75)),
        ("0%", Outcome.PASS, "says 0%", Weight(0.0)),
        ("200%", Outcome.PASS, "says 200%", Weight(2.0)),
        ("10000%", Outcome.PASS, "says 10000%", Weight(100.0)),
        ("10001%", Outcome.UNKNOWN, f"says 10001%; {OR}", None),
        ("\n  5 since noon\n", Outcome.PASS, "says 5: since noon", Weight(5, share=False)),
        ("0", Outcome.PASS, "says 0", Weight(0, share=False)),
        ("2147483647", Outcome.PASS, "says 2147483647", Weight(2147483647, share=False)),
        ("2147483648", Outcome.UNKNOWN, f"says 2147483648; {OR}", None),
        ("-5", Outcome.UNKNOWN, f"says -5; {OR}", None),
        ("5.5", Outcome.UNKNOWN, f"says 5.5; {OR}", None),
        ("nonsense", Outcome.UNKNOWN, f"says nonsense; {OR}", None),
        ("", Outcome.UNKNOWN, f"is empty; {OR}", None),
        ("\0\x1b[2J", Outcome.UNKNOWN, f"says ??[2J; {OR}", None),
        ("9" * 100_000, Outcome.UNKNOWN, f"says {'9' * 160}; {OR}", None),
    ],
)
def test_what_a_file_says(path, content, outcome, words, weight):
    path.write_text(content)
    answer = ask(File(str(path)), RS)

    assert answer == (outcome, f"{path} {words}", weight)


@pytest.mark.parametrize("absent, outcome", [(True, Outcome.PASS), (False, Outcome.UNKNOWN)])
def test_what_a_missing_file_means_is_a_setting(path, absent, outcome):
    assert ask(File(str(path), absent), RS) == (outcome, f"{path} is not there", None)
    beyond = path / "deeper"
    assert ask(File(str(beyond), absent), RS) == (outcome, f"{beyond} is not there", None)


def test_each_server_has_its_own_file_if_its_name_says_so(tmp_path):
    (tmp_path / "192.0.2.10_8080%").write_text("down")
    answer = ask(File(f"{tmp_path}/%h_%p%%"), RS)

    assert answer == (Outcome.FAIL, f"{tmp_path}/192.0.2.10_8080% says down", None)


def test_what_is_no_file_is_our_own_fault_and_keeps_nobody_waiting(path, tmp_path):
    os.mkfifo(path)
    link = tmp_path / "link"
    link.symlink_to("link")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        words = {
            path: f"{path} is no file",
            tmp_path: f"{tmp_path} is no file",
            link: f"{link} cannot be read: too many levels of symbolic links",
            tmp_path / "s": f"{tmp_path}/s cannot be read: no such device or address",
        }
        for place, expected in words.items():
            assert ask(File(str(place)), RS) == (Outcome.UNKNOWN, expected, None)


def rewritten(path):
    path.write_text("down")


def replaced(path):
    path.with_suffix(".new").write_text("down")
    path.with_suffix(".new").rename(path)


def removed(path):
    path.unlink()


def moved_away(path):
    path.rename(path.with_suffix(".old"))


def linked(path):
    path.with_suffix(".down").write_text("down")
    path.unlink()
    path.symlink_to(path.with_suffix(".down"))


@pytest.mark.parametrize("change", [rewritten, replaced, removed, moved_away, linked])
def test_a_change_is_acted_on_at_once(path, change):
    path.write_text("up")
    target = Target(RS, Check(File(str(path), absent=False), **SLOWLY))
    with World() as world:
        world.engine.ask([target])
        world.wait(0.1)
        change(path)
        world.wait(0.05)

    first, second, *_ = world.outcomes(target)
    assert first is Outcome.PASS
    assert second is (Outcome.UNKNOWN if change in (removed, moved_away) else Outcome.FAIL)


def test_a_file_that_appears_is_read_at_once(path):
    target = Target(RS, Check(File(str(path)), **SLOWLY))
    with World() as world:
        world.engine.ask([target])
        world.wait(0.1)
        path.write_text("down")
        world.wait(0.05)

    assert world.outcomes(target)[:2] == [Outcome.PASS, Outcome.FAIL]


def test_a_folder_that_goes_and_comes_back_is_watched_again(tmp_path):
    folder = tmp_path / "weights"
    path = folder / "one"
    target = Target(RS, Check(File(str(path), absent=False), interval=1.0, fast=0.02))
    with World() as world:
        world.engine.ask([target])
        world.wait(0.1)
        for _ in range(2):
            folder.mkdir()
            world.wait(1.1)  # nothing tells that a folder is there
            before = len(world.seen)
            path.write_text("5")
            world.wait(0.05)
            assert world.outcomes(target)[before:] == [Outcome.PASS]
            path.unlink()
            folder.rmdir()
            world.wait(0.05)

    assert world.outcomes(target)[-1] is Outcome.UNKNOWN


def test_many_servers_share_the_watching_of_one_folder(tmp_path):
    targets = [
        Target(at(f"192.0.2.1:{port}"), Check(File(f"{tmp_path}/%p"), **SLOWLY))
        for port in range(1, 501)
    ]
    with World() as world:
        world.engine.ask(targets)
        world.wait(0.5)
        before = len(world.seen)
        (tmp_path / "77").write_text("down")
        world.wait(0.015)
        changed = [target.endpoint.port for _, target, *_ in world.seen[before:]]
        world.engine.ask(targets[:10])
        (tmp_path / "78").write_text("down")
        before = len(world.seen)
        world.wait(0.05)

    assert changed == [77]
    assert world.seen[before:] == []


def test_who_may_watch_nothing_still_reads(path):
    def refused():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    path.write_text("down")
    files = file.Files(refused)
    plan = file.prepare(Target(RS, Check(File(str(path)))))

    assert files.fileno() == -1
    assert files.start(plan) == (Outcome.FAIL, f"{path} says down", None)
