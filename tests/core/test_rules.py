"""What a rule file means, and what is said of one that means nothing or too much."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lvs_nat.core import rules
from lvs_nat.core.listing import listing
from lvs_nat.core.rows import REFUSING
from lvs_nat.core.spelling import spell
from lvs_nat.errors import ConfigError
from lvs_nat.model import (
    Forwarding,
    Mark,
    Ruleset,
    SchedulerFlags,
    Service,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Transport,
)
from tests.builders import real, service, tcp, udp
from tests.builders import rules as ruleset
from tests.differences import DIFFERENCES, RECORDED, REFUSED, as_ipvsadm, table
from tests.rulesets import rulesets, variants

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
SETS = json.loads((GOLDEN / "sets.json").read_text())
LINES = json.loads((GOLDEN / "lines.json").read_text())
TUTORIAL = (
    "-A -t 172.25.0.10:80 -s rr\n"
    "-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5\n"
    "-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10\n"
)
WEB = "-A -t 10.0.0.1:80 -s rr\n"
SERVED = WEB + "-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 5\n"


class Hosts:
    """The names that the machine of the recordings knew."""

    addresses = {
        "vip1": "10.0.0.1",
        "vip1.example.com": "10.0.0.1",
        "web1": "192.168.0.1",
        "web2": "192.168.0.2",
    }
    ports = {("http", Transport.TCP): 80, ("domain", Transport.UDP): 53}

    def __init__(self):
        self.asked = []

    def address(self, host, say):
        self.asked.append(host)
        if host not in self.addresses:
            raise ValueError(f"there is no host {host}")
        return IPv4Address(self.addresses[host])

    def port(self, name, transport):
        if (name, transport) not in self.ports:
            raise ValueError(f"there is no port {name}")
        return self.ports[name, transport]


def parse(text):
    return rules.parse(text, "ipvsadm", Hosts())


def meaning(text):
    return parse(text).ruleset


def warnings(text):
    return [str(warning) for warning in parse(text).warnings]


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def outcome(text):
    try:
        return spell(meaning(text))
    except ConfigError:
        return REFUSED


def recorded_set(recorded):
    made = [command.partition("ipvsadm ")[2] for command in recorded["setup"]]
    # ipvsadm-restore clears the table first.
    first = made if recorded["how"] == "ipvsadm -R" else []
    return "".join(f"{line}\n" for line in first if line) + recorded["input"]


accepted = pytest.mark.parametrize(
    "recorded",
    [it for it in SETS if it["exit"] == 0 and it["name"] not in RECORDED],
    ids=lambda recorded: recorded["name"],
)


@accepted
def test_a_recorded_rule_set_means_what_ipvsadm_made_of_it(recorded):
    spelled, saved = as_ipvsadm(meaning(recorded_set(recorded))), recorded["Sn"].splitlines(True)
    if recorded["name"] == "fwmark-big":
        # Three marks around the whole circle of numbers: order is that of the kernel's hash.
        spelled, saved = sorted(spelled), sorted(saved)

    assert spelled == saved


@accepted
def test_a_recorded_rule_set_is_listed_as_ipvsadm_listed_it(recorded):
    listed = listing(meaning(recorded_set(recorded)).services, {}, (1, 2, 1), 4096)
    if recorded["name"] == "fwmark-big":
        # See the test above.
        assert sorted(listed.splitlines()) == sorted(recorded["Ln"].splitlines())
    else:
        assert listed == recorded["Ln"]


@pytest.mark.parametrize(
    "recorded", [it for it in SETS if it["exit"]], ids=lambda recorded: recorded["name"]
)
def test_a_recorded_rule_set_that_ipvsadm_refuses_is_refused(recorded):
    assert (outcome(recorded_set(recorded)) == REFUSED) is (recorded["name"] not in RECORDED)


@pytest.mark.parametrize("recorded", LINES, ids=lambda recorded: repr(recorded["line"]))
def test_a_recorded_line_means_what_ipvsadm_made_of_it(recorded):
    text = "".join(f"{line}\n" for line in [*recorded["preset"], recorded["line"]])
    try:
        parsed = meaning(text)
    except ConfigError:
        ours = REFUSED
    else:
        ours = "".join(as_ipvsadm(parsed))
    theirs = recorded["Sn"] if recorded["exit"] == 0 else REFUSED

    assert (ours == theirs) is (recorded["line"] not in RECORDED)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: repr(difference.rules))
def test_where_we_differ_we_do_what_the_table_says(difference):
    assert outcome(difference.rules + "\n") == difference.ours


def test_the_document_has_the_same_table_of_differences():
    assert table() in (ROOT / "docs/rules.md").read_text()


def test_recorded_differences_are_explained_by_rows_of_the_table():
    assert set(RECORDED.values()) <= {difference.rules for difference in DIFFERENCES}


def whole_prefixes(text):
    lines = text.splitlines(True)
    return [meaning("".join(lines[:count])) for count in range(len(lines) + 1)]


@pytest.mark.parametrize("cut", range(len(TUTORIAL) + 1))
def test_a_torn_file_loads_nothing_that_nobody_wrote_without_a_warning(cut):
    try:
        parsed = parse(TUTORIAL[:cut])
    except ConfigError:
        return
    whole = not parsed.warnings

    assert whole is TUTORIAL[:cut].endswith("\n") or not cut
    assert not whole or parsed.ruleset in whole_prefixes(TUTORIAL)


def test_a_torn_file_is_said_to_be_torn_also_where_it_is_refused():
    torn = "ipvsadm:1: the last line has no end, so the file may be cut short"

    assert problems("-A -t 10.0.0.1:80 -s r")[-1].startswith(torn)
    assert [message.startswith(torn) for message in warnings("-A -t 10.0.0.1:80 -s rr")] == [True]
    assert warnings("-A -t 10.0.0.1:80 -s rr\n  ") == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Ruleset()),
        ("\n \t\r\n# 注释\u3000here\n", Ruleset()),
        (WEB, ruleset(service(tcp("10.0.0.1:80")))),
        ("-A -t 10.0.0.1:80 -s rr#x\n".replace("#", " #"), ruleset(service(tcp("10.0.0.1:80")))),
        (
            "-A -f 5 -6 -s rr\n",
            ruleset(service(Mark(5, 6))),
        ),
        (
            "-A -u 10.0.0.1:53 -s rr -o\n",
            ruleset(service(udp("10.0.0.1:53"), one_packet=True)),
        ),
        (
            "-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 192.168.0.1\n",
            ruleset(
                service(
                    "10.0.0.1:80",
                    real("192.168.0.1:80", forwarding=Forwarding.DIRECT),
                    scheduler="wlc",
                )
            ),
        ),
        (SERVED + "-d -t 10.0.0.1:80 -r 192.168.0.1\n", ruleset(service(tcp("10.0.0.1:80")))),
        (SERVED + "-C\n" + WEB, ruleset(service(tcp("10.0.0.1:80")))),
        (SERVED + "-D -t 10.0.0.1:80\n", Ruleset()),
        (
            SERVED + "-e -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 0\n",
            ruleset(service("10.0.0.1:80", real("192.168.0.1:80", 0))),
        ),
        (
            SERVED + "-E -t 10.0.0.1:80 -s wrr\n",
            ruleset(service("10.0.0.1:80", real("192.168.0.1:80", 5), scheduler="wrr")),
        ),
        ("--set 10 0 0\n--set 0 20 0\n--set 5 0 0\n", Ruleset({}, Timeouts(5, 20, 0))),
        (
            "--start-daemon master --mcast-interface eth1 --syncid 7 --mcast-ttl 3\n"
            "--start-daemon backup\n--stop-daemon backup\n",
            Ruleset({}, None, {SyncRole.MASTER: SyncDaemon(SyncRole.MASTER, "eth1", 7, ttl=3)}),
        ),
    ],
    ids=repr,
)
def test_rules_are_obeyed_in_order(text, expected):
    assert meaning(text) == expected


@pytest.mark.parametrize(
    "line, said",
    [
        ("-a -t 10.0.0.1:80 -r 192.168.0.2:80", "no forwarding method, so this is direct routing"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2:81 -g", "192.168.0.2:81 becomes 192.168.0.2:80"),
        ("-e -t 10.0.0.1:80 -r 192.168.0.1:80 -w 9", "so -m is lost and the row is now -g -w 9"),
        ("-e -t 10.0.0.1:80 -r 192.168.0.1:80 -m", "so -w 5 is lost and the row is now -m -w 1"),
        ("-E -t 10.0.0.1:80", "so -s rr is lost and the row is now -s wlc"),
        ("-A -u 10.0.0.1:80 -M 255.0.0.0", "-M does nothing without -p"),
        ("-A -u 10.0.0.1:80 -p -M 0xff000000", "is read as 255.0.0.0"),
        ("-A -u 0x0a000001:80", "0x0a000001 is read as 10.0.0.1"),
        ("-A -u 10.0.0.01:80", "10.0.0.01 is read as 10.0.0.1"),
        ("-A -f -2147483648", "is read as 2147483648"),
        ("-A -u 10.0.0.1:80 -s mh -b mh-port,", "a comma too many: write -b mh-port"),
        (
            "-A -u 10.0.0.1:80 -s sh -b sh-port",
            "sh refuses the clients of a server that is",
        ),
        ("-A ipvsadm -u 10.0.0.1:80", "the word ipvsadm amid a rule is passed over"),
        ("-L -n", "-L only prints the table"),
        ("-Sn", "-S only prints the table"),
        ("-Z -t 10.0.0.1:80", "-Z only sets counters to zero"),
        ("--set 0 0 0", "--set 0 0 0 changes nothing"),
    ],
)
def test_what_ipvsadm_would_do_in_silence_is_said(line, said):
    [message] = warnings(SERVED + line + "\n")

    assert message.startswith("ipvsadm:3: ")
    assert said in message


@pytest.mark.parametrize(
    "line, said",
    [
        ("-A -t 10.0.0.1:80", "the service -t 10.0.0.1:80 is there already"),
        ("-A -t 10.0.0.2", "-t 10.0.0.2:0 is for all ports, which needs persistence"),
        ("-A -t 10.0.0.2:80 -s wwr", "wwr is not a scheduler: did you mean wrr?"),
        ("-A -t 10.0.0.2:80 -s RR", "RR is not a scheduler: did you mean rr?"),
        ("-A -t 10.0.0.2:80 -s zz", "zz is not a scheduler: write one of dh, fo, lblc,"),
        ("-A -t 10.0.0.2:80 -o", "-o (one-packet scheduling) is for -u and -f services"),
        ("-A -t 10.0.0.2:80 -p 0", "write a number 1 to 2678400"),
        ("-A -t 10.0.0.2:80 -p ops", "the persistence in seconds ops is wrong"),
        ("-A -t 10.0.0.2:80 -p --pe spi", "spi is not a persistence engine: did you mean sip?"),
        ("-A -t 10.0.0.2:80 -b sh-port", "sh-port is not for the scheduler wlc"),
        ("-A -t 10.0.0.2:80 -s sh -b sh-prot", "did you mean sh-port?"),
        ("-A -t 10.0.0.2:80 -s sh -b ,", "names no flag"),
        ("-A -t 10.0.0.2:80 -s sh -b", "-b has no flag after it: write flag-3"),
        ("-A -f 0", "the firewall mark 0 is wrong: write a number 1 to 4294967295"),
        ("-A -f 0x10", "the firewall mark 0x10 is wrong"),
        ("-A -6 -f 1", "-6 stands before -f, which ipvsadm refuses: write it after -f MARK"),
        ("-A -t 10.0.0.2:80 -6", "-6 is for -f alone"),
        ("-A -t [::1]:80 -p -M 0", "the IPv6 netmask 0 is wrong: write a number 1 to 128"),
        ("-A -u 10.0.0.1:80 -p -M /24", "is not a mask: write -M 255.255.255.0"),
        ("-A -u 10.0.0.1:80 -p -M 255.255.0", "255.255.0 is not a whole address"),
        ("-A -u 10.0.0.1:80 -p -M net", "the netmask net is not a mask"),
        ("-a -t 10.0.0.9:80 -r 192.168.0.1 -m", "write -A -t 10.0.0.9:80 -s SCHEDULER above it"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.1 -m", "192.168.0.1:80 is under -t 10.0.0.1:80 already"),
        ("-a -t 10.0.0.1:80 -r [::2]:80 -m", "only tunnels (-i) lead there, write an IPv4"),
        ("-a -t 10.0.0.1:80 -r 224.0.0.1 -m", "224.0.0.1 cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r 0.0.0.0 -m", "0.0.0.0 cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r 255.255.255.255 -m", "cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r [fe80::1]:80 -i", "fe80::1 cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r [::ffff:1.2.3.4]:80 -i", "cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r [::]:80 -i", ":: cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r [ff02::1]:80 -i", "ff02::1 cannot be one real server"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -m -w 2147483648", "write a number 0 to 2147483647"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -m -w 1_0", "the weight 1_0 is wrong"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -m -y 5", "write -x 5 or more"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -m -x 4 -y 5", "write -x 5 or more"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -m --tun-csum", "--tun-csum is for tunnels"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -i --tun-type gue", "gue needs --tun-port"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -i --tun-port 80", "--tun-type gue only"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2 -i --tun-type grr", "did you mean gre?"),
        ("-a -f 1 -r web1:http", "the port name http means nothing beside a firewall mark"),
        ("-a -r 192.168.0.2 -t 10.0.0.1:80 -m", "192.168.0.2 has no port: write 192.168.0.2:PORT"),
        ("-a -t 10.0.0.1:80 -r lost:80 -m", "there is no host lost"),
        ("-a -t 10.0.0.1:80 -r 192.168.0.2:lost -m", "there is no port lost"),
        ("-e -t 10.0.0.1:80 -r 192.168.0.2 -m", "there is no real server 192.168.0.2:80 under"),
        ("-e -t 10.0.0.1:80 -r 192.168.0.1:81 -m", "did you mean 192.168.0.1:80?"),
        ("-d -t 10.0.0.1:80 -r 192.168.0.1:81", "did you mean 192.168.0.1:80?"),
        ("-d -t 10.0.0.1:80 -r 192.168.0.1 -m", "-d takes no -m (--masquerading): take it away"),
        ("-E -t 10.0.0.9:80", "there is no service -t 10.0.0.9:80 at this line"),
        ("-D -t 10.0.0.9:80", "there is no service -t 10.0.0.9:80 at this line"),
        ("-L -t 10.0.0.9:80", "there is no service -t 10.0.0.9:80 at this line"),
        ("-R", "-R reads rules from its input, and cannot stand in a rule file"),
        ("-h", "-h ends the reading of rules, and cannot stand in a rule file"),
        ("--set 1 2", "--set has three numbers"),
        ("--set 1 2 2678401", "the timeout 2678401 is wrong"),
        ("--start-daemon slave", "slave is not a kind of sync daemon"),
        ("--start-daemon master --syncid 256", "--syncid 256 is wrong: write a number 0 to 255"),
        ("--start-daemon master --mcast-group 10.0.0.1", "10.0.0.1 is not a multicast address"),
        ("--start-daemon master --mcast-interface a/b", "a/b cannot be an interface"),
        ("--stop-daemon master", "no master sync daemon is started above"),
        ("ipvsadm", "ipvsadm stands alone"),
        ("-A\u00a0-t 10.0.0.2:80", "the character '\\xa0' (U+00A0) has no place in a rule"),
        ("-A -t 10.0.0.2\uff1a80", "(U+FF1A) has no place in a rule"),
        ("-A" * 5000, "a line of 10000 characters is no rule"),
        ("\x00\x7fELF", "(U+0000) has no place in a rule"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_what_to_write(line, said):
    [message] = problems(SERVED + line + "\n")

    assert message.startswith("ipvsadm:3: ")
    assert said in message


def test_all_problems_are_reported_at_once():
    text = "-A -t 10.0.0.1:80 -s r\n-a -t 10.0.0.1:80 -r 192.168.0.256:80 -m\nnonsense\n"

    assert [message.split(" ")[0] for message in problems(text)] == [
        "ipvsadm:1:",
        "ipvsadm:2:",
        "ipvsadm:3:",
    ]


@pytest.mark.parametrize("broken", ["-A -t 10.0.0.1:80 -s nosuch", "-A -t 10.0.0.1:80 --bogus"])
def test_the_real_servers_of_a_service_that_is_wrong_are_not_wrong_for_that(broken):
    text = f"{broken}\n-a -t 10.0.0.1:80 -r 192.168.0.1 -m\n-E -t 10.0.0.1:80 -s rr\n"

    assert len(problems(text)) == 1


def test_a_file_that_is_no_rule_file_is_not_read_to_its_end():
    found = problems("noise\n" * 10_000)

    assert len(found) == rules.PROBLEMS_MAX + 1
    assert found[-1].endswith("too many problems: the rest of the file was not read")


def test_warnings_past_counting_are_counted():
    found = warnings("-L\n" * 1000 + "-L")

    assert len(found) == rules.WARNINGS_MAX + 2
    assert "the last line has no end" in found[-2]
    assert found[-1] == f"ipvsadm: {1001 - rules.WARNINGS_MAX} more warnings, not shown"


def test_a_host_is_looked_up_once_whether_it_is_there_or_not():
    hosts = Hosts()
    text = "-A -t vip1:http\n" + "-a -t vip1:http -r lost:80 -m\n" * 3
    with pytest.raises(ConfigError) as caught:
        rules.parse(text, "ipvsadm", hosts)

    assert hosts.asked == ["vip1", "lost"]
    assert len(caught.value.problems) == 3


def test_names_are_refused_where_nobody_looks_them_up():
    with pytest.raises(ConfigError, match="vip1 is a name, which nobody looks up here"):
        rules.parse("-A -t vip1:80\n", "ipvsadm")
    with pytest.raises(ConfigError, match="http is a name, which nobody looks up here"):
        rules.parse("-A -t 10.0.0.1:http\n", "ipvsadm")


def test_a_row_keeps_the_place_in_which_it_was_added():
    text = WEB + "".join(f"-a -t 10.0.0.1:80 -r 192.168.0.{n} -m\n" for n in (3, 1, 2))
    [web] = meaning(text).services.values()

    assert [str(endpoint.address)[-1] for endpoint in web.destinations] == ["3", "1", "2"]
    assert isinstance(web, Service)


@given(rulesets())
def test_every_ruleset_that_is_spelled_is_read_back_as_itself(given_ruleset):
    parsed = rules.parse(spell(given_ruleset), "ipvsadm")

    assert parsed.ruleset == given_ruleset
    services = given_ruleset.services.values()
    refusing = [
        it for it in services if it.scheduler == "sh" and not it.flags & SchedulerFlags.FLAG_1
    ]
    assert [warning.message for warning in parsed.warnings] == [REFUSING] * len(refusing)


@given(st.data())
@settings(max_examples=50)
def test_every_way_of_writing_a_ruleset_means_the_same(data):
    wanted = data.draw(rulesets())
    text = data.draw(variants(wanted))

    assert rules.parse(text, "ipvsadm").ruleset == wanted


VOCABULARY = (
    "-A -a -e -E -d -D -C -L -t -u -f -6 -r -m -g -i -w -x -y -p -M -s -b -o --pe --ops --set -At"
    " --tun-type gue --tun-port --start-daemon master --sctp-service --tcp-service= --tcp -- - -="
    " 10.0.0.1:80 10.0.0.1 [::1]:80 ::1 ::1:80 [10.0.0.1]:80 5 -1 80 rr wrr sip ops pe ipvsadm"
    " 0x0a000001 010.0.0.1 # sh-port,flag-3 , 255.255.255.0 64 99999999999999999999 1_0 \u0663"
)
WORDS = st.sampled_from(VOCABULARY.split())
RULES = st.lists(st.lists(WORDS).map(" ".join)).map("\n".join)


@pytest.mark.fuzz
@given(st.one_of(st.text(), RULES))
@example("-A -t " + "9" * 5000 + "\n")
@example("-A -t \u0661\u0660.0.0.1:80\n")
@example("\ud800\n")
@settings(max_examples=max(500, settings.default.max_examples))
def test_no_text_makes_reading_end_in_anything_but_a_value_or_problems(text):
    try:
        parsed = rules.parse(text, "ipvsadm", Hosts())
    except ConfigError:
        return

    assert rules.parse(spell(parsed.ruleset), "ipvsadm").ruleset == parsed.ruleset
