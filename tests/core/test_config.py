from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lvs_nat.core.config import doubts, parse
from lvs_nat.core.phrasing import USES
from lvs_nat.core.questions import Nothing
from lvs_nat.core.settings import KEYS, QUESTION_KEYS, SECRETIVE
from lvs_nat.core.setup import (
    Check,
    Drift,
    OnFailure,
    OnStart,
    OnStop,
    OnUnknown,
    Own,
    Rivals,
    ServiceSetup,
    Setup,
    Watch,
    Way,
    WhenEmpty,
)
from lvs_nat.errors import ConfigError
from lvs_nat.model import (
    Destination,
    Endpoint,
    Listener,
    Mark,
    Ruleset,
    Service,
    Transport,
)

SAMPLE = Path(__file__).parents[2] / "etc/lvs-nat.conf"
WEB = Listener(Transport.TCP, Endpoint.parse("172.25.0.10:80"))
RS1 = Endpoint.parse("192.168.122.10:80")
RS2 = Endpoint.parse("192.168.122.20:80")
SECTION = ("[services]", "[[tcp 172.25.0.10:80]]")
RS6 = Endpoint.parse("[fd00::20]:80")


def lines(*text):
    return "\n".join(text)


def wrong(*text):
    """Return what is wrong, as the operator reads it."""
    with pytest.raises(ConfigError) as caught:
        parse(lines(*text), "lvs-nat.conf")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "[services]\n", "\ufeff# marked\n"])
def test_a_file_that_sets_nothing_leaves_every_default(text):
    assert parse(text, "") == Setup()


def test_every_setting_of_the_director_is_taken():
    text = lines(
        "check = none",
        "interval = 2",
        "timeout = 1.5",
        "fast = .5",
        "fall = 3",
        "rise = 4",
        "down_interval = 9",
        "on_unknown = down",
        "port = 8080",
        "address = 10.1.1.1",
        "from = 10.1.1.2",
        "interface = eth1",
        "on_failure = quiesce",
        "remove_after = 5",
        "on_start = trust",
        "on_stop = keep",
        "own = rules",
        "drift = repair",
        "rivals = warn",
        "sysctl = no",
        "watch = counters",
        "resolver_wait = 1m",
    )

    check = Check(
        Nothing(), 2.0, 1.5, 0.5, 3, 4, 9.0, OnUnknown.DOWN, 8080,
        ip_address("10.1.1.1"), ip_address("10.1.1.2"), Way(interface="eth1"),
    )  # fmt: skip
    assert parse(text, "") == Setup(
        ServiceSetup((check,), OnFailure.QUIESCE, 5.0),
        {},
        OnStart.TRUST,
        OnStop.KEEP,
        Own.RULES,
        Drift.REPAIR,
        Rivals.WARN,
        False,
        Watch.COUNTERS,
        60.0,
    )


def test_the_pool_of_a_service_has_settings():
    text = lines(
        "keep_at_least = 50%",
        "[services]",
        "[[tcp 172.25.0.10:80]]",
        "quorum = 12",
        "hysteresis = 3",
        "sorry = 192.168.122.99:80, [fd00::99]:80",
        "slow_start = 1m",
    )
    sorry = (Endpoint.parse("192.168.122.99:80"), Endpoint.parse("[fd00::99]:80"))

    assert parse(text, "").services[WEB] == ServiceSetup(
        keep_at_least=0.5,
        quorum=12,
        hysteresis=3,
        when_empty=WhenEmpty.SORRY,
        sorry=sorry,
        slow_start=60.0,
    )


def test_a_check_is_inherited_setting_by_setting():
    text = lines(
        "fall = 3",
        "remove_after = 9",
        "[services]",
        "  [[tcp 172.25.0.10:80]]",
        "  timeout = 0.5",
        "  on_failure = remove",
        "    [[[192.168.122.10:80]]]",
        "    rise = 5",
        "  [[fwmark 5 ipv6]]",
        "  check = none",
    )

    default = ServiceSetup((Check(fall=3),), remove_after=9.0)
    assert parse(text, "") == Setup(
        default,
        {
            WEB: ServiceSetup(
                (Check(fall=3, timeout=0.5),),
                OnFailure.REMOVE,
                9.0,
                {RS1: (Check(fall=3, timeout=0.5, rise=5),)},
            ),
            Mark(5, 6): ServiceSetup((Check(Nothing(), timeout=3.0, fall=3),), remove_after=9.0),
        },
    )


def test_counting_never_slows_the_probes_of_a_service_that_is_asked_often():
    text = lines(
        "interval = 0.1",
        "[services]",
        "[[tcp 172.25.0.10:80]]",
        "interval = 10",
    )

    setup = parse(text, "")
    assert setup.default.checks == (Check(interval=0.1, fast=0.1),)
    assert setup.services[WEB].checks == (Check(interval=10.0),)


@pytest.mark.parametrize(
    "marker",
    [
        "[[[[fd00::20]:80]]]",
        "[[[ [fd00::20]:80 ]]]",
        "  [[[ [FD00:0::20]:80]]]  # the second",
        '[[["[fd00::20]:80"]]]',
    ],
)
def test_a_real_server_with_an_ipv6_address_is_written_plainly(marker):
    text = lines("[services]", "[[tcp [fd00::1]:80]]", marker, "fall = 7")

    name = Listener(Transport.TCP, Endpoint.parse("[fd00::1]:80"))
    assert parse(text, "").services == {name: ServiceSetup(servers={RS6: (Check(fall=7),)})}


@pytest.mark.parametrize(
    "name",
    [
        WEB,
        Listener(Transport.UDP, Endpoint.parse("172.25.0.10:53")),
        Listener(Transport.SCTP, Endpoint.parse("[fd00::1]:9")),
        Mark(5),
        Mark(2**32 - 1, 6),
    ],
)
def test_a_service_is_named_as_it_is_spelled(name):
    assert list(parse(lines("[services]", f"[[{name}]]"), "").services) == [name]


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("1", 1.0),
        ("0.25", 0.25),
        ("1.", 1.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("1.5 S", 1.5),
        ("2m", 120.0),
        ("'1.5'", 1.5),
        ('"""2"""', 2.0),
        ("0.05  # often", 0.05),
        ("3600", 3600.0),
    ],
)
def test_a_time_may_have_a_unit(value, seconds):
    assert parse(f"interval = {value}\nfast = 0.02", "").default.checks[0].interval == seconds


@pytest.mark.parametrize("value", ["yes", "Yes", "true", "on", '"yes"'])
def test_a_switch_has_many_words(value):
    assert parse(f"sysctl = {value}", "").sysctl is True


TIME = "is not a time; write seconds, such as 0.5, or 500ms, 1.5s, 2m"
SERVICE = "in the section of a virtual service"
TOP = "at the top of the file"
MARKERS = "a section is [services], [[tcp 172.25.0.10:80]] or [[[192.168.122.10:80]]]"
BRACKETS = f"has brackets that do not match, or no section above it; {MARKERS}"
NEITHER = f"is neither `setting = value` nor a section; {MARKERS}"
SERVER = "is not a real server; write [[[192.168.122.10:80]]] or [[[[fd00::20]:80]]]"
TWICE = "has a section above this one; join them"
UNNAMED = (
    "is not the name of a virtual service; "
    "write [[tcp 172.25.0.10:80]], [[udp ...]], [[sctp ...]], [[fwmark 5]], [[fwmark 5 ipv6]]"
)


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("interval = 5x", f"interval = 5x {TIME}"),
        ("interval = 1,5", f"interval = 1,5 {TIME}"),
        ("interval =", f"interval =  {TIME}"),
        ("interval = nan", f"interval = nan {TIME}"),
        ("interval = 49ms", "interval = 49ms is out of range; write 0.05 to 3600 seconds"),
        ("interval = 61m", "interval = 61m is out of range; write 0.05 to 3600 seconds"),
        ("timeout = 0", "timeout = 0 is out of range; write 0.01 to 60 seconds"),
        ("timeout = -1", f"timeout = -1 {TIME}"),
        ("fall = 0", "fall = 0 is not a whole number from 1 to 100"),
        ("rise = 101", "rise = 101 is not a whole number from 1 to 100"),
        ("rise = 1.5", "rise = 1.5 is not a whole number from 1 to 100"),
        ("rise = %(HOME)s", "rise = %(HOME)s is not a whole number from 1 to 100"),
        ("check = tpc", "check = tpc is no check; did you mean tcp?"),
        ("on_stop = forget", "on_stop = forget is none of clear, keep"),
        ("sysctl = maybe", "sysctl = maybe is neither yes nor no"),
        ("intervall = 1", "there is no setting intervall; did you mean interval?"),
        ("fast = 2", "fast = 2 is longer than interval = 1; write 1 or less"),
        ("keep_at_least = 101%", "keep_at_least = 101% is no percentage; write 50%"),
        ("keep_at_least = 0.5", "keep_at_least = 0.5 is no percentage; write 50%"),
        ("hysteresis = 1", "hysteresis = 1 is not less than quorum = 1"),
        ("when_empty = sorry", "when_empty = sorry needs sorry, the servers to use"),
        ("sorry = lvs99", "sorry = lvs99 is no address and port; write 192.168.122.99:80"),
        ("services = 1", "services is a section, not a setting; write [services]"),
        ("[drift]", "drift is a setting, not a section; write drift = VALUE"),
        ("[service]", "there is no section [service]; did you mean [services]?"),
        ("sysctl = 'no", "sysctl = 'no has a quote that is not closed, or text after it"),
        ("sysctl = '''no", "sysctl = '''no has a quote that is not closed, or text after it"),
        ("[" * 201, "the line is longer than 200 characters"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_told_with_what_to_write_instead(line, complaint):
    assert wrong("# a remark", "own = rules", line) == [f"lvs-nat.conf:3: {complaint}"]


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("drift = adopt", f"drift cannot stand {SERVICE}; write it {TOP}"),
        ("[[tcp 172.25.0.10:80]]", "[[tcp 172.25.0.10:80]] is given twice; keep one"),
        ("[[TCP 172.25.0.10:080]]", f"the virtual service tcp 172.25.0.10:80 {TWICE}"),
        ("[[tpc 172.25.0.10:80]]", f"'tpc 172.25.0.10:80' {UNNAMED}"),
        ("[[tcp 172.25.0.10]]", f"'tcp 172.25.0.10' {UNNAMED}"),
        ("[[fwmark 0]]", f"'fwmark 0' {UNNAMED}"),
        ("[[fwmark 4294967296]]", f"'fwmark 4294967296' {UNNAMED}"),
        ("[[fwmark]]", f"'fwmark' {UNNAMED}"),
        ("[[__many__]]", f"'__many__' {UNNAMED}"),
        ("[[interval]]", f"'interval' {UNNAMED}"),
        ("[[[fall]]]", "fall is a setting, not a section; write fall = VALUE"),
        ("[[[lvs01:80]]]", f"'lvs01:80' {SERVER}"),
        ("[[udp 1.2.3.4:53]", f"[[udp 1.2.3.4:53] {BRACKETS}"),
        ("[[[[deep]]]]", f"[[[[deep]]]] {BRACKETS}"),
        ("[DEFAULT]", f"there is no section [DEFAULT]; {MARKERS}"),
        ("[tcp 1.2.3.4:80]", f"there is no section [tcp 1.2.3.4:80]; {MARKERS}"),
        ("[[tcp 1.2.3.4:80", f"[[tcp 1.2.3.4:80 {NEITHER}"),
    ],
)  # fmt: skip
def test_a_wrong_line_below_a_service_is_told_with_what_to_write_instead(line, complaint):
    assert wrong("[services]", "[[tcp 172.25.0.10:80]]", line) == [f"lvs-nat.conf:3: {complaint}"]


@pytest.mark.parametrize("name", ["udp 1.2.3.4:53", "sctp 1.2.3.4:9", "fwmark 5"])
def test_a_tcp_check_of_something_else_is_refused_where_it_is_asked_for(name):
    complaint = (
        "check = tcp says nothing about a service that is not TCP; name a port, or write none"
    )

    assert wrong("[services]", f"[[{name}]]", "check = tcp", "[[[1.1.1.1:5]]]", "check = tcp") == [
        f"lvs-nat.conf:3: {complaint}",
        f"lvs-nat.conf:5: {complaint}",
    ]
    assert parse(lines("check = tcp", "[services]", f"[[{name}]]"), "").default == ServiceSetup()


def test_all_problems_are_told_at_once_in_the_order_of_their_lines():
    assert wrong(
        "intervall = 3",
        "fall = x",
        "fall = 3",
        "junk",
        "[services]",
        "interval = 1",
        "[[tcp 172.25.0.10:80]]",
        "  [[[192.168.122.10:80]]]",
        "  remove_after = 3",
        "  [[[192.168.122.10:080]]]",
    ) == [
        "lvs-nat.conf:1: there is no setting intervall; did you mean interval?",
        "lvs-nat.conf:2: fall = x is not a whole number from 1 to 100",
        "lvs-nat.conf:3: fall is given twice; keep one",
        f"lvs-nat.conf:4: the line is neither `setting = value` nor a section; {MARKERS}",
        "lvs-nat.conf:6: interval cannot stand in [services]; write it at the top of the file "
        "or in the section of a virtual service or in the section of a real server",
        "lvs-nat.conf:9: remove_after cannot stand in the section of a real server; "
        "write it at the top of the file or in the section of a virtual service",
        "lvs-nat.conf:10: the real server 192.168.122.10:80 has a section above this one; "
        "join them",
    ]


def test_what_stands_below_a_broken_section_is_not_blamed_on_another():
    assert wrong(
        "[services]",
        "[[tcp 172.25.0.10:80]]",
        "fall = 1",
        "[[tcp 172.25.0.10:443]",
        "fall = 2",
        "[[[192.168.122.10:443]]]",
        "fall = 4",
        "[[tcp 172.25.0.10:25]]",
        "fall = 0",
    ) == [
        "lvs-nat.conf:4: [[tcp 172.25.0.10:443] has brackets that do not match, "
        f"or no section above it; {MARKERS}",
        "lvs-nat.conf:9: fall = 0 is not a whole number from 1 to 100",
    ]


def test_a_text_that_is_no_configuration_at_all_ends_in_a_hundred_complaints():
    assert len(wrong(*["junk"] * 1000)) == 100


def test_a_control_byte_never_reaches_the_terminal():
    assert wrong("a\x1b[2J = 1")[0].startswith(r"lvs-nat.conf:1: there is no setting a\x1b[2J;")


# What may go wrong with a value, and with the line that it stands in.
FAULTY = (
    "{0}", "'{0}", "'{0}' x", "{0}\\", "{0} {0}", "{0}:{0}", "expect ({0} send {0}", "send {0} {0}",
    "0x{0}", "(?P<{0}>a)(?P<{0}>b)", "(?P={0})", '"X {0}" "{0}: x"', "/{0} {0}", "",
)  # fmt: skip
LINES = (
    *(("{key} = " + it,) for it in FAULTY),
    ("{key} {0}",),
    ('{key} "{0}:{0}"',),
    ("{key} = {0}", "{key} = {0}"),
    ("{key} = '{0}", "and {0}"),
    ("{0}", "it {0}"),
    ('"Authorization: Basic {0}="',),
)


def told_of(word, key, value):
    """Return the problems with all of LINES that ask *word*, and hold *value* for *key*."""
    for texts in LINES:
        above = () if key == "check" else (f"check = {word}",)
        try:
            parse(lines(*above, *(it.format(value, key=key) for it in texts)), "")
        except ConfigError as error:
            yield from (problem.message for problem in error.problems)


# Each setting of a question with one check that has a use for it, the others with any.
ASKED = {**dict.fromkeys(KEYS[0], "tcp"), **{it: word for word in USES for it in USES[word]}}


@pytest.mark.parametrize("key", sorted(SECRETIVE))
def test_no_problem_tells_what_may_be_a_secret(key):
    told = list(told_of(ASKED[key], key, "hunter2"))

    assert len(told) > 5
    assert [it for it in told if "hunter2" in it] == []


@pytest.mark.parametrize("key", ASKED)
def test_no_control_byte_reaches_a_terminal_whatever_setting_it_stands_in(key):
    told = list(told_of(ASKED[key], key, "\x1b[2J\x9b\x85"))

    assert len(told) > 5
    assert [it for it in told if not it.isprintable()] == []


words = some.sampled_from(
    ["interval", "fall", "=", " ", "1", "[", "[[", "[[[", "]", "]]", "]]]", "services", "tcp", ":",
     "1.2.3.4:80", "[fd00::1]:80", "fwmark 5", '"', "'''", "#", ",", "\r", "__many__",
     "DEFAULT", "\x00"]
)  # fmt: skip


@pytest.mark.fuzz
@given(some.lists(some.lists(words, max_size=8).map("".join), max_size=8).map("\n".join))
def test_any_text_ends_in_a_setup_or_in_problems_with_lines(text):
    try:
        problems = parse(text, "x") and ()
    except ConfigError as error:
        problems = error.problems

    assert {problem.line for problem in problems} <= set(range(1, text.count("\n") + 2))


def test_settings_for_what_no_rule_has_are_told():
    text = lines(
        "[services]",
        "[[tcp 172.25.0.10:80]]",
        "[[[192.168.122.10:80]]]",
        "[[[192.168.122.20:80]]]",
        "[[tcp 172.25.0.10:8]]",
        "[[fwmark 99]]",
    )
    rules = Ruleset({WEB: Service(WEB, destinations={RS1: Destination(RS1)})})

    assert list(map(str, doubts(text, "lvs-nat.conf", rules))) == [
        "lvs-nat.conf:4: no rule has the real server 192.168.122.20:80 under "
        "tcp 172.25.0.10:80; did you mean 192.168.122.10:80?",
        "lvs-nat.conf:5: no rule has the virtual service tcp 172.25.0.10:8: "
        "its settings do nothing; did you mean tcp 172.25.0.10:80?",
        "lvs-nat.conf:6: no rule has the virtual service fwmark 99: its settings do nothing",
    ]
    assert doubts("", "", rules) == ()


def test_a_section_of_a_sorry_server_sets_its_checks_and_is_none_of_a_stranger():
    text = lines(
        *SECTION,
        "sorry = 192.168.122.99:80",
        "[[[192.168.122.99:80]]]",
        "fall = 7",
        "[[[192.168.122.98:80]]]",
    )
    rules = Ruleset({WEB: Service(WEB, destinations={RS1: Destination(RS1)})})

    assert list(map(str, doubts(text, "conf", rules))) == [
        "conf:6: no rule has the real server 192.168.122.98:80 under tcp 172.25.0.10:80; did you "
        "mean 192.168.122.99:80?"
    ]


@pytest.mark.parametrize("other", ["keep", "refuse", "withdraw"])
@pytest.mark.parametrize("above", [(), SECTION])
def test_sorry_servers_that_could_never_stand_in_are_told(other, above):
    text = (*above, f"when_empty = {other}", "sorry = 192.168.122.99:80")

    assert wrong(*text) == [
        f"lvs-nat.conf:{len(text)}: sorry is of no use here: it belongs to when_empty = sorry"
    ]


def test_a_service_that_does_something_else_when_it_is_empty_has_no_sorry_servers():
    text = lines("sorry = 192.168.122.99:80", *SECTION, "when_empty = keep")
    setup = parse(text, "")

    assert setup.default.sorry == (Endpoint.parse("192.168.122.99:80"),)
    assert setup.services[WEB] == ServiceSetup(when_empty=WhenEmpty.KEEP)


def test_a_service_that_names_sorry_servers_has_them_stand_in_whatever_is_above():
    text = lines("when_empty = keep", *SECTION, "sorry = 192.168.122.99:80")

    assert parse(text, "").services[WEB].when_empty is WhenEmpty.SORRY


CANNOT = "cannot be had: the real servers of tcp 172.25.0.10:80 have a weight of 15 in all"


@pytest.mark.parametrize(
    "text, told",
    [
        (("quorum = 15",), []),
        (("quorum = 12", "hysteresis = 3"), []),
        (("quorum = 16",), [f"1: quorum = 16 {CANNOT}"]),
        (("", *SECTION, "quorum = 16"), [f"4: quorum = 16 {CANNOT}"]),
        (
            ("quorum = 12", *SECTION, "hysteresis = 4"),
            [f"4: quorum = 12 with hysteresis = 4 {CANNOT}"],
        ),
        (
            ("hysteresis = 1", "quorum = 15", *SECTION),
            [f"1: quorum = 15 with hysteresis = 1 {CANNOT}"],
        ),
        (("quorum = 16", *SECTION, "quorum = 9"), []),
    ],
)
def test_a_quorum_that_the_weights_never_come_to_is_told(text, told):
    rows = {it: Destination(it, weight) for it, weight in ((RS1, 5), (RS2, 10))}
    rules = Ruleset({WEB: Service(WEB, destinations=rows)})

    assert list(map(str, doubts(lines(*text), "conf", rules))) == [f"conf:{it}" for it in told]


def test_a_quorum_that_many_services_never_come_to_is_told_once():
    names = [Mark(number) for number in range(1, 4)]
    rules = Ruleset({it: Service(it, destinations={RS1: Destination(RS1)}) for it in names})

    assert list(map(str, doubts("quorum = 2", "conf", rules))) == [
        "conf:1: quorum = 2 cannot be had: the real servers of fwmark 1 have a weight of 1 in all; "
        "so it is with 2 more services"
    ]


def test_the_sample_shows_every_setting_with_its_default():
    assert parse(SAMPLE.read_text(), "") == Setup()

    bared = list(map(uncommented, SAMPLE.read_text().splitlines()))
    setup = parse("\n".join(bared), "")
    assert (setup.default, setup.services) == (
        ServiceSetup(),
        {WEB: ServiceSetup(servers={RS1: (Check(),)})},
    )
    assert setup == Setup(services=setup.services)
    top = bared[: bared.index("[services]")]
    service = bared[bared.index("[services]") : bared.index("[checks]")]
    defaults = [key for key in KEYS[0] if key in given(top)]
    assert given(top) == defaults
    assert given(service) == [key for keys in KEYS[2:] for key in keys if key in defaults]
    silent = {key.split(" =")[0] for key in QUESTION_KEYS} | NO_DEFAULT
    assert set(KEYS[0]) - set(defaults) == silent
    assert silent - {"sorry"} <= set(given(bared[bared.index("[checks]") :]))


NO_DEFAULT = {"down_interval", "port", "address", "interface", "sorry"}


def given(lines):
    """Return the settings that *lines* give a value."""
    return [line.split(" =")[0] for line in lines if " = " in line and not line.startswith("#")]


def test_the_sample_explains_every_setting_of_the_director():
    text = SAMPLE.read_text().splitlines()
    top = text[: text.index("#[services]")]
    settings = [number for number, line in enumerate(top) if uncommented(line) != line]

    for number in settings:
        assert text[number - 1].startswith("# "), text[number]


def uncommented(line):
    return line[1:] if line[:1] == "#" and line[1:2] not in ("", " ") else line
