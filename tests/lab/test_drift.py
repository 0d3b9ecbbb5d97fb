"""Hands on the table of a running director: an edit, a loss of all, a program that never tires."""

import os
import signal
import time

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab

THOUSANDS = 10_000


def failures(records, begin, end):
    """Return the requests that began in a time and were not answered."""
    return [it for it in records if begin <= it.start < end and not it.ok]


def test_after_ipvsadm_C_requests_fail_for_a_second_at_most_and_all_is_as_before():
    with Director() as director:
        director.service("start")
        director.ipvsadm("-E", "-t", VIP, "-s", "wrr")
        director.command("weight", LVS02, "7")
        director.command("drain", LVS01, "--timeout", "300")
        until(lambda: len(director.status()["unsaved"]) == 2, 3, "two edits")
        before, unsaved = director.table(), director.status()["unsaved"]
        load = director.lab.load(50, 6, timeout=2)
        time.sleep(1)
        cleared = time.monotonic()
        director.ipvsadm("-C")
        back = director.until_table(before, 3)
        records = load.finished()
        after = director.server(LVS01)

        lost = failures(records, cleared - 1, cleared + 10)
        worst = max((it.start - cleared for it in lost), default=0.0)
        print(f"back after {back:.2f} s; {len(lost)} requests failed, the last at {worst:.2f} s")
        assert worst <= 1.0
        assert director.table() == before
        assert f"-r {LVS01} -m -w 0" in before
        assert after["wish"]["wish"] == "drained"
        assert director.status()["unsaved"] == unsaved


def test_a_lost_table_of_ten_thousand_rows_is_coming_back_within_a_second_and_whole_again():
    rows = "".join(
        f"-a -t 172.25.0.10:{1000 + n // 100} -r 10.{n // 10000}.{n // 100 % 100}.{n % 100 + 1}:80"
        " -m -w 1\n"
        for n in range(THOUSANDS)
    )
    heads = "".join(f"-A -t 172.25.0.10:{1000 + n} -s rr\n" for n in range(THOUSANDS // 100))
    with Director(heads + rows, "check = none\n", servers=()) as director:

        def held(port):
            words = ["ipvsadm", "-L", "-n", "-t", f"172.25.0.10:{port}"]
            return "Masq" in director.lab.run("director", words, check=False).stdout

        director.service("start")
        before = sorted(director.table().splitlines())
        firsts, lasts = [], []
        for _ in range(3):
            director.ipvsadm("-C")
            firsts.append(until(lambda: held(1000), 20, "the first row"))
            lasts.append(firsts[-1] + until(lambda: held(1099), 20, "the last service"))
            assert sorted(director.table().splitlines()) == before

        print(f"the first row is back after {firsts} s, the last service after {lasts} s")
        assert sorted(firsts)[1] <= 1.0
        assert director.status()["unsaved"] == []


@pytest.mark.parametrize("drift, weight", [("repair", 5), ("adopt", 9)])
def test_a_program_that_never_tires_is_named_and_its_edits_are_dealt_with_as_ever(drift, weight):
    with Director(config=f"drift = {drift}\n") as director:
        director.service("start")
        again = "while :; do for w in 8 9; do " + (
            f"ipvsadm -e -t {VIP} -r {LVS01} -m -w $w; sleep 0.4; done; done"
        )
        rival = director.lab.popen("director", ["sh", "-c", again])
        named = until(lambda: director.status()["quarrels"], 20, "the quarrel is named")
        rival.kill()
        director.lab.run("director", ["ipvsadm", "-e", "-t", VIP, "-r", LVS01, "-m", "-w", "9"])
        director.until_table(f"-r {LVS01} -m -w {weight}", 3)

        print(f"named after {named:.1f} s: {director.status()['quarrels']}")
        [quarrel] = director.status()["quarrels"]
        assert f"something keeps changing real server {LVS01} of tcp {VIP}" in quarrel


def test_a_director_that_was_stopped_while_hands_were_at_the_table_takes_them_for_what_they_are():
    with Director() as director:
        director.service("start")
        os.kill(director.pid(), signal.SIGSTOP)
        director.ipvsadm("-e", "-t", VIP, "-r", LVS01, "-m", "-w", "3")
        director.ipvsadm("-d", "-t", VIP, "-r", LVS02)
        os.kill(director.pid(), signal.SIGCONT)
        until(lambda: len(director.status()["unsaved"]) == 2, 5, "both edits")

        assert director.table() == TUTORIAL.replace("-w 5", "-w 3").replace(
            f"-a -t {VIP} -r {LVS02} -m -w 10\n", ""
        )
