"""What is done to the modules of a kernel; test_modules.py gives these one of their own."""

from pathlib import Path

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import RULES, TUTORIAL, VIP, Director

WLC = TUTORIAL.replace("-s rr", "-s wlc")
MODPROBE = Path("/proc/sys/kernel/modprobe")
SETTING = "net/ipv4/vs/expire_nodest_conn"


@pytest.fixture
def director():
    before = MODPROBE.read_text()
    with Director() as director:
        director.service("start")
        yield director
        MODPROBE.write_text(before)
        director.service("stop")


def holders():
    """Return the modules that hold ip_vs, and ip_vs itself last."""
    return [*(path.name for path in Path("/sys/module/ip_vs/holders").iterdir()), "ip_vs"]


def unload(director):
    """Empty the table and unload IPVS before it is put back; say whether that was in time."""
    words = "; ".join(["ipvsadm -C", *(f"rmmod {name}" for name in holders())])
    director.lab.run("director", ["sh", "-c", words], check=False)
    return not Path("/sys/module/ip_vs").exists()


def test_ipvs_unloaded_underneath_is_back_with_table_and_settings(director):
    assert director.sysctl(SETTING) == "1"
    until(lambda: unload(director), 30, "IPVS unloaded")
    back = until(lambda: Path("/sys/module/ip_vs_rr").exists(), 5, "IPVS loaded again")
    director.until_table(TUTORIAL, 5)

    print(f"loaded again after {back:.2f} s")
    assert {director.lab.curl() for _ in range(4)} == {"lvs01 host!\n", "lvs02 host!\n"}
    until(lambda: director.sysctl(SETTING) == "1", 12, "the settings of IPVS")
    assert director.status()["unsaved"] == []


def test_a_scheduler_whose_module_comes_later_is_used_once_it_is_there(director):
    MODPROBE.write_text("/bin/false\n")
    RULES.write_text(WLC)
    refused = director.service("reload", check=False)
    until(lambda: director.status()["refusals"], 3, "the refusal in the status")
    meanwhile = director.table()
    served = {director.lab.curl() for _ in range(4)}
    MODPROBE.write_text("/sbin/modprobe\n")
    director.until_table(WLC, 3)

    assert refused.returncode != 0
    assert "the scheduler wlc is not there: modprobe ip_vs_wlc failed" in refused.stderr
    assert (meanwhile, served) == (TUTORIAL, {"lvs01 host!\n", "lvs02 host!\n"})
    until(lambda: not director.status()["refusals"], 3, "no refusal any more")


def test_one_service_that_cannot_be_had_keeps_no_other_from_its_clients(director):
    other = "-A -t 172.25.0.10:81 -s sed\n-a -t 172.25.0.10:81 -r 192.168.122.10:80 -m -w 1\n"
    MODPROBE.write_text("/bin/false\n")
    RULES.write_text(TUTORIAL + other)
    director.service("reload", check=False)
    director.lab.kill_server("lvs01")
    director.until_table("192.168.122.10:80", 4, present=False)
    director.lab.start_server("lvs01")
    director.until_table(TUTORIAL, 4)

    assert ":81" not in director.table()
    MODPROBE.write_text("/sbin/modprobe\n")
    director.until_table(f"{VIP[:-3]}:81 -r 192.168.122.10:80", 3)
