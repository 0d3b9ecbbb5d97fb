"""The demo keeps what it promises, and finds what it needs."""

import io

import pytest

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main
from lvs_nat.lab import demo
from lvs_nat.lab.stage import Stage


@pytest.mark.lab
def test_everything_that_the_demo_promises_happens():
    shown = io.StringIO()

    assert main(["demo", "--colour", "never"], Machine(out=shown)) == 0
    assert "BROKEN" not in shown.getvalue()
    assert shown.getvalue().count("    kept    ") == 13
    assert "\033" not in shown.getvalue()


def test_a_broken_promise_is_shown_and_remembered():
    out = io.StringIO()
    stage = Stage(None, out, colour=False)

    stage.promise(True, "the table is empty")
    stage.promise(False, "no request failed")

    assert out.getvalue() == "    kept    the table is empty\n    BROKEN  no request failed\n"
    assert stage.broken == ["no request failed"]


def test_colours_are_for_those_who_want_them():
    out = io.StringIO()
    Stage(None, out, colour=True).promise(False, "no request failed")

    assert out.getvalue() == "    \033[31mBROKEN\033[0m  no request failed\n"


def test_the_init_script_of_the_tree_is_found():
    assert demo.init_script().read_text().startswith("#!/bin/sh\n# chkconfig:")


def test_the_lab_is_kept_only_for_someone_at_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.delenv("LVS_NAT_LAB", raising=False)

    assert main(["demo", "--keep"]) == 2
    assert capsys.readouterr().err == "lvs-nat: --keep needs a terminal for its shell\n"
