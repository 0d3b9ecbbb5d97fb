"""What the rule file, the running rules and the kernel have apart is shown, and can be scripted."""

import json
import os

import pytest

from tests.lab.director import LVS01, RULES, TUTORIAL, VIP, Director

pytestmark = pytest.mark.lab


def test_an_edit_by_hand_is_what_save_would_write_and_reload_would_undo():
    with Director() as director:
        director.service("start")
        assert (director.command("diff").returncode, director.command("diff").stdout) == (0, "")

        director.ipvsadm("-e", "-t", VIP, "-r", LVS01, "-m", "-w", "7")
        found = director.command("diff", check=False)

        assert found.returncode == 1
        assert found.stdout == (
            "lvs-nat save would change the file as these commands do:\n"
            f"  ipvsadm -e -t {VIP} -r {LVS01} -m -w 7\n"
            "lvs-nat reload would run:\n"
            f"  ipvsadm -e -t {VIP} -r {LVS01} -m -w 5\n"
        )
        director.service("save")
        assert director.command("diff").returncode == 0


def test_an_edit_of_the_file_is_seen_before_it_is_loaded_and_a_failed_server_is_no_difference():
    with Director() as director:
        director.service("start")
        director.lab.kill_server("lvs01")
        director.until_table(LVS01, 3, present=False)
        assert director.command("diff").returncode == 0

        RULES.write_text(TUTORIAL.replace("-s rr", "-s wrr"))
        found = json.loads(director.command("diff", "--json", check=False).stdout)
        assert found == {
            "save": [f"-E -t {VIP} -s rr"],
            "reload": [f"-E -t {VIP} -s wrr"],
            "kernel": [],
        }
        RULES.write_text("-A\n")
        assert director.command("diff", check=False).returncode == 6


def test_a_rule_file_that_the_director_may_not_read_is_compared_as_it_was_read_last():
    with Director() as director:
        director.service("start")
        os.chown(RULES, 65534, 65534)  # the director is root, and may no more than other users
        RULES.chmod(0o600)
        unchanged = director.command("diff")
        RULES.write_text(TUTORIAL.replace("-s rr", "-s wrr"))
        changed = director.command("diff")

    words = (
        f"lvs-nat: {RULES}: cannot be read by the director, and a reload would be refused; "
        "what it held when it was last read is compared{}\n"
    )
    assert (unchanged.stdout, unchanged.stderr) == ("", words.format(""))
    assert (changed.stdout, changed.stderr) == ("", words.format("; it has been changed since"))
