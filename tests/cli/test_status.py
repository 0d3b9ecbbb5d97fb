"""The report as people read it, whole."""

from lvs_nat.cli.status import text
from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.report import report
from lvs_nat.core.setup import Setup
from lvs_nat.model import Counters, Mark
from tests.builders import RS1, RS2, VIP, real, rules, service, tcp

RULES = rules(
    service(VIP, RS1, RS2),
    service(Mark(7), real("192.168.122.10:0"), persistence=300),
    service("172.25.0.10:443"),
)
FIRST, SECOND = Row(tcp(VIP), RS1.endpoint), Row(tcp(VIP), RS2.endpoint)


def shown(colour=False):
    cluster = Cluster.of(RULES, Setup(), {})
    verdicts = [
        (cluster.members[FIRST], Verdict(Outcome.PASS, "connected", 0.00042)),
        (cluster.members[SECOND], Verdict(Outcome.REFUSED, "connection refused")),
    ]
    cluster, _ = cluster.judged(verdicts, 100.0)
    actual = rules(service(VIP, real("192.168.122.10:80", 0)), RULES.services[Mark(7)])
    counters = {FIRST: Counters(active=3, inactive=12)}
    found = report(cluster, actual, counters, {FIRST: 190.3}, 190.0)
    return text(
        {
            "pid": 42,
            "since": 0.0,
            "refusals": ["the kernel refuses"],
            "unsaved": ["-E -t 172.25.0.10:80 -s rr"],
            **found,
        },
        colour,
    )


def test_the_report_says_of_every_server_how_it_fares_and_why():
    first, *rest = shown().splitlines()

    assert first.startswith("lvs-nat (pid 42) is running since 19")
    assert first.endswith(": 3 virtual services, 2 of 3 real servers serving, 1 unchecked")
    assert rest == [
        "! the kernel refuses",
        "not saved yet (`lvs-nat save` keeps it, `lvs-nat reload` drops it):",
        "  ipvsadm -E -t 172.25.0.10:80 -s rr",
        "",
        "TCP 172.25.0.10:80 rr",
        "  Real server        State      Weight     Conns  Last probe",
        "  192.168.122.10:80  up 90 s    5 (now 0)  3/12   connected 0.42 ms, next 0.3 s",
        "  192.168.122.20:80  down 90 s  10 (out)   0/0    connection refused",
        "",
        "FWMARK 7 rr persistent 300",
        "  Real server       State      Weight  Conns  Last probe",
        "  192.168.122.10:0  unchecked  1       0/0    no check",
        "",
        "TCP 172.25.0.10:443 rr",
        "  (no real server)",
    ]
    assert max(map(len, rest)) <= 80


def test_states_are_coloured_on_terminals_alone():
    assert "\033[32mup 90 s  \033[0m" in shown(colour=True)
    assert "\033[31mdown 90 s\033[0m" in shown(colour=True)
    assert "\033" not in shown()
