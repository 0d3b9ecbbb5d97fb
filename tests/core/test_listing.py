"""The table as `ipvsadm -L -n` prints it; the recorded sets are listed in test_rules.py."""

from pathlib import Path

from lvs_nat.core import rules
from lvs_nat.core.listing import listing
from lvs_nat.model import Counters, Forwarding, Mark
from tests.builders import at, real, service, tcp, udp
from tests.builders import rules as ruleset

GOLDEN = Path(__file__).parents[1] / "golden"
# Which of the recorded rows had connections.
CONNECTIONS = {
    (tcp("172.25.0.10:80"), at("192.168.122.10:80")): Counters(0, 2),
    (tcp("172.25.0.10:80"), at("192.168.122.20:80")): Counters(1, 2),
    (tcp("172.25.0.10:7000"), at("192.168.122.20:7000")): Counters(3, 0),
    (udp("172.25.0.10:53"), at("192.168.122.20:53")): Counters(0, 1),
    (tcp("[2001:db8::10]:8080"), at("[2001:db8:0:1::10]:8080")): Counters(1, 0),
    (tcp("[2001:db8::10]:8080"), at("[2001:db8:0:1::20]:8080")): Counters(0, 1),
}


def test_a_table_with_connections_is_listed_as_ipvsadm_lists_it():
    table = rules.parse((GOLDEN / "traffic-Sn.txt").read_text(), "saved").ruleset.services

    listed = listing(table, CONNECTIONS, (1, 2, 1), 4096)

    assert listed == (GOLDEN / "traffic-Ln.txt").read_text()


def test_the_empty_table_is_listed_by_its_titles():
    assert listing({}, {}, (1, 2, 1), 4096) == (
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
    )


def test_a_destination_that_is_the_director_itself_is_listed_as_local():
    table = ruleset(service(Mark(1), real("127.0.0.1:80", forwarding=Forwarding.LOCAL))).services

    assert listing(table, {}, (1, 2, 1), 4096).splitlines()[3:] == [
        "FWM  1 rr",
        "  -> 127.0.0.1:80                 Local   1      0          0         ",
    ]
