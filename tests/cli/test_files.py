"""Commands act on the files of the director that runs, whatever the defaults are."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lvs_nat.cli.files import of_director
from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main
from lvs_nat.cli.options import common
from lvs_nat.daemon.desk import Desk
from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.paths import defaults
from lvs_nat.system.control import Control
from lvs_nat.system.files import LIMIT
from lvs_nat.system.pidfile import PidFile

RUNNING = "-A -t 172.25.0.10:80 -s rr\n"
OTHER = "-A -t 10.9.9.9:80 -s rr\n"
SAID = "1 virtual service, 0 real servers saved to {}"


class Director:
    """A director that runs RUNNING and says so, by the rule file *web* of its own."""

    def __init__(self, folder):
        self.folder, self.web, self.other = folder, folder / "web", folder / "ipvsadm"
        self.kept = folder / "theirs" / "ipvsadm.before-save"
        self.told = []  # what it was told was saved
        self.answer = {
            "rules": RUNNING,
            "path": str(self.web),
            "files": {"rules": str(self.web), "state_dir": str(self.kept.parent)},
        }
        self.differs = {"rules": RUNNING, "saved": OTHER, "kernel": ["-C"], "warnings": ["a word"]}
        self.web.write_text("")
        self.other.write_text(OTHER)

    def type(self, *words):
        """Type a command as root; return its exit code, standard output and standard error."""
        out, err = io.StringIO(), io.StringIO()
        words = (*words, "--run-dir", str(self.folder))
        loop = Loop()
        verbs = {
            "running": lambda _: self.answer,
            "saved": lambda _: self.told.append(1) or {},
            "diff": lambda request: self.told.append(request.get("saved")) or self.differs,
            "reload": lambda request: self.told.append(request) or {"refusals": []},
        }
        desk = Desk(Control(self.folder / "control"), loop, verbs, {}, {})
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(main, words, Machine(out, err, 0))

            def until_done():
                if done.done():
                    loop.stop()
                loop.after("poll", 0.001, until_done)

            until_done()
            loop.run()
        desk.close()
        loop.close()
        return done.result(), out.getvalue(), err.getvalue()


@pytest.fixture
def director(tmp_path):
    return Director(tmp_path)


def test_a_save_writes_the_file_that_the_director_reads_and_keeps_a_copy_where_it_keeps_state(
    director,
):
    director.web.write_text(OTHER)

    assert director.type("save") == (0, SAID.format(director.web) + "\n", "")
    assert (director.web.read_text(), director.kept.read_text()) == (RUNNING, OTHER)
    assert director.told == [1]


@pytest.mark.parametrize(
    "before",
    [
        "# 网站\n".encode("gbk") + OTHER.encode(),
        "# Büro\n".encode("latin-1"),
        b"\0\0\0",
        b"not rules\r\n",
        b"#" * (LIMIT + 1),
    ],
    ids=["GBK", "Latin-1", "no text", "no rules", "too large"],
)
def test_a_copy_is_kept_of_whatever_the_file_held(director, before):
    director.web.write_bytes(before)

    assert director.type("save")[0] == 0
    assert (director.kept.read_bytes(), director.web.read_text()) == (before, RUNNING)


def test_where_there_was_no_file_nothing_is_kept(director):
    director.web.unlink()

    assert director.type("save")[0] == 0
    assert (director.kept.exists(), director.web.read_text()) == (False, RUNNING)


def test_what_no_copy_can_be_made_of_stays_as_it_is(director):
    director.web.unlink()
    os.mkfifo(director.web)

    assert director.type("save") == (
        1,
        "",
        f"lvs-nat: {director.web}: is a pipe; name a file; without a copy of it nothing is saved\n",
    )
    assert (director.web.is_fifo(), director.told) == (True, [])


def test_a_save_to_another_file_writes_that_alone_and_says_that_the_directors_stays(director):
    code, out, err = director.type(
        "save", "--rules", str(director.other), "--state-dir", str(director.folder / "state")
    )

    assert (code, err) == (0, "")
    assert out == (
        f"{SAID.format(director.other)}; {director.web}, which the director reads, stays as it is\n"
    )
    assert (director.web.read_text(), director.other.read_text()) == ("", RUNNING)
    assert (director.folder / "state/ipvsadm.before-save").read_text() == OTHER
    assert director.told == []


@pytest.mark.parametrize("name", ["web", "link"])
def test_the_directors_file_may_be_typed_too_under_whatever_name(director, name):
    (director.folder / "link").symlink_to(director.web)
    typed = str(director.folder / name)

    assert director.type("save", "--rules", typed) == (0, SAID.format(typed) + "\n", "")
    assert (director.web.read_text(), director.told) == (RUNNING, [1])


def test_a_diff_is_with_what_the_director_reads_in_its_file_which_others_need_not_be_able_to(
    director,
):
    director.other.unlink()

    assert director.type("diff") == (1, DIFFERENCE.format(FILE, RELOAD), "lvs-nat: a word\n")
    assert director.told == [True]


def test_a_diff_may_be_with_another_file_whatever_has_become_of_the_directors(director):
    other = str(director.other)
    director.differs = {"rules": RUNNING, "kernel": ["-C"]}

    code, out, err = director.type("diff", "--rules", other)

    words = FILE.replace("save", f"save --rules {other}"), f"a reload of {other}"
    assert (code, out, err) == (1, DIFFERENCE.format(*words), "")
    assert director.told == [False]


@pytest.mark.parametrize(
    "typed, named",
    [
        ("", {}),
        ("--rules /r", {"rules": "/r"}),
        ("--config /c --state-dir /s", {"config": "/c", "state_dir": "/s"}),
    ],
)
@pytest.mark.parametrize("all_of_them", [False, True], ids=["typed", "OPTIONS"])
def test_a_reload_tells_the_director_which_files_are_meant_and_OPTIONS_mean_defaults_too(
    director, monkeypatch, typed, named, all_of_them
):
    if all_of_them:
        monkeypatch.setenv("LVS_NAT_OPTIONS", "all")
        default = defaults()
        places = ("rules", "config", "state_dir")
        named = {**{it: str(getattr(default, it)) for it in places}, **named}
    with PidFile(director.folder / "lvs-nat.pid"):
        assert director.type("reload", *typed.split()) == (0, "", "")

    assert director.told == [{"verb": "reload", **named}]


FILE, RELOAD = "lvs-nat save would change the file", "lvs-nat reload"
DIFFERENCE = """\
{} as these commands do:
  ipvsadm -A -t 172.25.0.10:80 -s rr
  ipvsadm -D -t 10.9.9.9:80
{} would run:
  ipvsadm -A -t 10.9.9.9:80 -s rr
  ipvsadm -D -t 172.25.0.10:80
the kernel's table is still to be changed by:
  ipvsadm -C
"""


NOTED = {"rules": "/w/rules", "config": "/w/conf", "config_given": True, "state_dir": "/w/state"}


@pytest.mark.parametrize(
    "typed, answer, found",
    [
        ("", {"files": NOTED}, ("/w/rules", "/w/conf", True, "/w/state")),
        ("--rules /r", {"files": NOTED}, ("/r", "/w/conf", True, "/w/state")),
        ("--config /c", {"files": NOTED}, ("/w/rules", "/c", True, "/w/state")),
        (
            "--config /c",
            {"files": {**NOTED, "config_given": False}},
            ("/w/rules", "/c", True, "/w/state"),
        ),
        ("--state-dir /s", {"files": NOTED}, ("/w/rules", "/w/conf", True, "/s")),
        # Of older versions.
        (
            "--config /c --state-dir /s",
            {"path": "/w/rules"},
            ("/w/rules", "/c", True, "/s"),
        ),
        (
            "--rules /r",
            {},
            ("/r", "/etc/lvs-nat/lvs-nat.conf", False, "/var/lib/lvs-nat"),
        ),
    ],
)
def test_what_is_not_typed_is_as_the_director_was_told(typed, answer, found):
    where = of_director(common().parse_args(typed.split()), answer)

    assert (str(where.rules), str(where.config), where.config_given, str(where.state_dir)) == found
