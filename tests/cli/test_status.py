"""The report as people read it, whole."""

from lvs_nat.cli.status import text
from lvs_nat.core.cluster import Cluster, Row
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.judging import judged
from lvs_nat.core.questions import Connect
from lvs_nat.core.report import Pulse, report
from lvs_nat.core.setup import Check, ServiceSetup, Setup, Target
from lvs_nat.core.warmth import Warmth
from lvs_nat.model import Counters, Mark
from tests.builders import RS1, RS2, VIP, real, rules, service, tcp

RULES = rules(
    service(VIP, RS1, RS2),
    service(Mark(7), real("192.168.122.10:0"), persistence=300),
    service("172.25.0.10:443"),
)
FIRST = Row(tcp(VIP), RS1.endpoint)
WARM, NEVER_WELL = Warmth("++-++", 0.00044, 0.0004, 0.0009), Warmth("---")
ASKED, REFUSING = Target(RS1.endpoint, Check()), Target(RS2.endpoint, Check())


def shown(colour=False, checks=False):
    cluster = Cluster.of(RULES, Setup(), {})
    verdicts = [
        (ASKED, Verdict(Outcome.PASS, "connected", 0.00042)),
        (REFUSING, Verdict(Outcome.REFUSED, "connection refused")),
    ]
    cluster, _ = judged(cluster, verdicts, 100.0)
    actual = rules(service(VIP, real("192.168.122.10:80", 0)), RULES.services[Mark(7)])
    counters = {FIRST: Counters(active=3, inactive=12)}
    found = report(
        cluster, actual, counters, Pulse({ASKED: 190.3}, {ASKED: WARM, REFUSING: NEVER_WELL}), 190.0
    )
    return text(
        {
            "pid": 42,
            "since": 0.0,
            "refusals": ["the kernel refuses"],
            "quarrels": ["something keeps changing timeouts"],
            "names": ["lvs01 cannot be looked up"],
            "problems": ["/etc/sysconfig/ipvsadm:4: nonsense"],
            "unsaved": ["-E -t 172.25.0.10:80 -s rr"],
            **found,
        },
        colour,
        checks,
    )


def test_the_report_says_of_every_server_how_it_fares_and_why():
    first, *rest = shown().splitlines()

    assert first.startswith("lvs-nat (pid 42) is running since 19")
    assert first.endswith(": 3 virtual services, 2 of 3 real servers serving, 1 unchecked")
    assert rest == [
        "! the kernel refuses",
        "! something keeps changing timeouts",
        "! lvs01 cannot be looked up",
        "! the files cannot be used; what ran before goes on:",
        "  /etc/sysconfig/ipvsadm:4: nonsense",
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


def test_every_check_is_shown_where_that_is_asked_for():
    lines = shown(checks=True).splitlines()
    place = next(number for number, line in enumerate(lines) if RS1_SHOWN in line)

    assert lines[place + 1 : place + 4 : 2] == [
        "    tcp 192.168.122.10:80: up 90 s, connected 0.42 ms, next 0.3 s",
        "  192.168.122.20:80  down 90 s  10 (out)   0/0    connection refused",
    ]
    assert lines[place + 2] == "      ++-++  0.4/0.44/0.9 ms (least/mean/most)"


def test_of_a_check_that_never_passed_no_latency_is_shown():
    lines = shown(checks=True).splitlines()
    place = next(number for number, line in enumerate(lines) if "tcp 192.168.122.20:80" in line)

    assert lines[place : place + 3] == [
        "    tcp 192.168.122.20:80: down 90 s, connection refused",
        "      ---",
        "",
    ]


def test_of_several_checks_the_one_that_differs_is_shown():
    check = Setup(ServiceSetup((Check(), Check(Connect()))))
    cluster = Cluster.of(RULES, check, {})
    verdicts = [
        (who, Verdict(Outcome.PASS if number else Outcome.REFUSED, "words"))
        for number, who in enumerate(cluster.members[FIRST])
    ]
    cluster, _ = judged(cluster, verdicts, 5.0)
    body = report(cluster, RULES, {}, Pulse(), 10.0)
    lines = text(
        {"pid": 1, "since": 0.0, "refusals": [], "quarrels": [], "unsaved": [], **body}
    ).splitlines()

    assert "    connect: up 5 s, words 0 ms" in lines
    assert "    tcp: down 5 s, words" not in lines


RS1_SHOWN = "192.168.122.10:80  up"


def test_states_are_coloured_on_terminals_alone():
    assert "\033[32mup 90 s  \033[0m" in shown(colour=True)
    assert "\033[31mdown 90 s\033[0m" in shown(colour=True)
    assert "\033" not in shown()
