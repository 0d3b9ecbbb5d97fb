"""Programs beside our own work: real ones, that every machine has."""

import gc
import os
import select
import time

import pytest

from lvs_nat.errors import LvsNatError
from lvs_nat.system.child import Child, run


def test_a_program_reads_its_text_and_says_its_words():
    text = "flush\n" * 100_000  # more than a pipe holds

    assert run(["tail", "-n", "2", "-"], text) == "flush flush"


@pytest.mark.parametrize(
    "command, words",
    [
        (["false"], "false: status 1"),
        (
            ["ls", "/no/such"],
            "ls /no/such: ls: cannot access '/no/such': No such file or directory",
        ),
        (["no-such-program"], "no-such-program is not there"),
        (["sh", "-c", "kill -9 $$"], "sh -c kill -9 $$: status -9"),
    ],
)
def test_a_failure_is_told_in_the_programs_words(command, words):
    with pytest.raises(LvsNatError) as caught:
        run(command)

    assert str(caught.value) == words


def test_a_program_that_takes_too_long_is_ended():
    began = time.monotonic()
    with pytest.raises(LvsNatError, match=r"sleep 100: no end within 0\.1 s"):
        run(["sleep", "100"], seconds=0.1)

    assert time.monotonic() - began < 5


def test_while_it_runs_we_go_on():
    with Child(["sh", "-c", "read _; sleep 0.2; echo done"], "go\n") as child:
        assert child.ended() is False
        while not child.ended():
            assert select.select([child], [], [], 5)[0]
        assert child.result() == "done"


def test_nothing_of_ours_is_left_open_in_it_nor_here(tmp_path):
    gc.collect()  # what other tests have left must not end meanwhile
    before = os.listdir("/proc/self/fd")
    with (tmp_path / "ours").open("w"):
        assert "ours" not in run(["ls", "-l", "/proc/self/fd"])

    assert os.listdir("/proc/self/fd") == before


def test_our_environment_is_not_its():
    os.environ["LVS_NAT_SECRET"] = "x"
    try:
        assert "SECRET" not in run(["env"])
    finally:
        del os.environ["LVS_NAT_SECRET"]
