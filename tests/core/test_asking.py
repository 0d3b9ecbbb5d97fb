"""What lvs-nat.conf says about checks, as the questions it comes to."""

import pytest

from lvs_nat.core.config import parse
from lvs_nat.core.presets import NAMES
from lvs_nat.core.questions import (
    Agent,
    Connect,
    Dns,
    Expect,
    File,
    Grpc,
    Http,
    Idle,
    Nothing,
    Ping,
    Radius,
    Script,
    Step,
    Style,
    Syn,
    Tcp,
    Tls,
    Udp,
    Verb,
    Verify,
)
from lvs_nat.core.setup import Check
from lvs_nat.errors import ConfigError
from tests.builders import RS1, VIP, tcp


def questions(*lines):
    return [check.question for check in parse("\n".join(lines), "").default.checks]


def wrong(*lines):
    with pytest.raises(ConfigError) as caught:
        parse("\n".join(lines), "x")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "lines, question",
    [
        (("check = tcp",), Tcp()),
        (("check = none",), Nothing()),
        (("check = syn",), Syn()),
        (("check = idle",), Idle()),
        (("check = connect", "reset = yes"), Connect(reset=True)),
        (("check = tls", "server_name = a.example", "verify = name"),
         Tls("a.example", Verify.NAME)),
        (("check = http",), Http()),
        (("check = https", "min_days = 14"), Http(tls=Tls(min_days=14))),
        (("check = https", "host = a.example:8443"),
         Http(host="a.example:8443", tls=Tls("a.example"))),
        (("check = https", "host = a.example", "server_name = b.example"),
         Http(host="a.example", tls=Tls("b.example"))),
        (("check = https", "host = 192.0.2.1"), Http(host="192.0.2.1", tls=Tls())),
        (("check = https", "host = [fd00::1]:443"), Http(host="[fd00::1]:443", tls=Tls())),
        (("check = http", "tls = yes", "alpn = http/1.1"), Http(tls=Tls(alpn="http/1.1"))),
        (("check = http", "status = 200-299, 304"), Http(status=((200, 299), (304, 304)))),
        (("check = http", 'headers = "A: b" "C: d"'), Http(headers=("A: b", "C: d"))),
        (("check = http", "digest = " + "AB" * 16), Http(digest="ab" * 16)),
        (("check = http", "contains = 'all is well'"), Http(text="all is well")),
        (("check = http", r"matches = 'load: \d+ # of 9'"), Http(regex=r"load: \d+ # of 9")),
        (("check = http", "json = /a/b=ok"), Http(json="/a/b=ok")),
        (("check = grpc", "grpc_service = shop"), Grpc("shop")),
        (("check = dns", "query = a.example", "type = aaaa"), Dns("a.example", "AAAA")),
        (("check = udp", "send = 0x0001ff"), Udp(b"\x00\x01\xff")),
        (("check = udp", r"send = ping\r\n", "receive = po"), Udp(b"ping\r\n", True, b"po")),
        (("check = radius", "secret = s3cret"), Radius("s3cret")),
        (("check = ping", "count = 3", "size = 0"), Ping(3, 0)),
        (("check = agent", r"send = state\n"), Agent(b"state\n")),
        (("check = script", "program = /bin/x -H %h '-p 1'", "style = nagios"),
         Script(("/bin/x", "-H", "%h", "-p 1"), Style.NAGIOS)),
        (("check = file", "file = /etc/w/%h", "absent = unknown"), File("/etc/w/%h", False)),
        (("check = expect", r'talk = expect ^220 tls send "QUIT\r\n"'),
         Expect((Step(Verb.EXPECT, b"^220"), Step(Verb.TLS), Step(Verb.SEND, b"QUIT\r\n")),
                tls=Tls())),
        (("check = expect", "talk = expect ^220", "tls = yes"),
         Expect((Step(Verb.EXPECT, b"^220"),), tls=Tls(), immediate=True)),
    ],
)  # fmt: skip
def test_settings_become_a_question(lines, question):
    assert questions(*lines) == [question]


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_that_is_known_has_a_name(name):
    (question,) = questions(f"check = {name}")

    secure = name in ("smtps", "pop3s", "imaps", "ldaps", "ftps")
    assert (question.name, question.immediate) == (name, secure)
    assert question.steps
    assert (question.tls is None) is not question.immediate


def test_each_path_is_a_question_and_so_is_each_word():
    assert questions("check = http, tcp", "path = /a /b") == [
        Http("/a"), Http("/b"), Tcp(),
    ]  # fmt: skip


def test_what_is_asked_has_more_time_than_a_connection():
    checks = parse("check = tcp http", "").default.checks

    assert [check.timeout for check in checks] == [0.8, 3.0]
    assert {it.timeout for it in parse("check = tcp http\ntimeout = 2", "").default.checks} == {2.0}


def test_a_check_with_a_name_has_its_own_settings_and_the_times_of_its_place():
    text = "\n".join(
        (
            "interval = 4",
            "[checks]",
            "[[page]]",
            "check = http",
            "path = /up",
            "fall = 5",
            "[services]",
            f"[[tcp {VIP}]]",
            "check = page, tcp",
            "fall = 3",
            "path = /elsewhere",
            f"[[[{RS1.endpoint}]]]",
            "check = http",
        )
    )
    service = parse(text, "").services[tcp(VIP)]

    assert service.checks == (
        Check(Http("/up"), interval=4.0, timeout=3.0, fall=5),
        Check(interval=4.0, fall=3),
    )
    assert service.servers == {
        RS1.endpoint: (Check(Http("/elsewhere"), interval=4.0, timeout=3.0, fall=3),)
    }


WORDS = (
    "check = tcp, connect, syn, idle, tls, http, https, grpc, dns, udp, radius, ping, expect, "
    "agent, script, file, bfd, none, "
)


@pytest.mark.parametrize(
    "lines, complaint",
    [
        (("check = htp",), "1: check = htp is no check; did you mean http?"),
        (("check = tcp, none",), "1: check has none beside others; leave it out"),
        (("check =",), "1: check =  is empty"),
        (("path = /x",), "1: path is of no use here: it belongs to check = http, https"),
        (("check = http", "path = x"), "2: path has one that does not begin with /"),
        (("check = http", "status = 99"),
         "2: status = 99 is no list of status codes; write 200-299,304"),
        (("check = http", "matches = ("), "2: matches is no regular expression: "),
        (("check = http", "digest = abc"),
         "2: digest is neither an MD5 (32 hex digits) nor a SHA-256 (64)"),
        (("check = http", "json = x"), "2: json is no JSON pointer and value; write /status=ok"),
        (("check = http", "login = me"), "2: login is no user and password; write USER:PASSWORD"),
        (("check = http", "headers = X"), "2: headers has what is no header; write \"Name"),
        (("check = tls", "verify = name"), "2: verify name needs server_name, "),
        (("check = tls", "certificate = /x"), "2: certificate needs the other of certificate and"),
        (("check = tls", "ca = x.pem"), "2: ca is not an absolute path"),
        (("check = udp", "mask = 0xff"), "2: mask has 1 bytes, receive has 0"),
        (("check = udp", "receive = x", "reply = no"), "3: reply cannot be no where receive"),
        (("check = udp", r"send = \q"), r"2: send has an escape that is not known; known are"),
        (("check = udp", "send = 0x1"), "2: send is no row of hex digits, two for each"),
        (("check = udp", "least = 9", "most = 8"), "2: least is greater than most"),
        (("check = radius",), "1: secret is needed for check = radius"),
        (("check = expect",), "1: talk is needed for check = expect, such as: expect ^220"),
        (("check = expect", "talk = say x"), "2: talk needs a step to begin at word 1; write"),
        (("check = expect", "talk = send"), "2: talk ends with send and nothing behind"),
        (("check = script",), "1: program is needed for check = script"),
        (("check = script", "program = x"), "2: program is not an absolute path"),
        (("check = script", "program = '"), "2: program = ... has a quote that is not closed"),
        (("check = file",), "1: file is needed for check = file: the file to read"),
        (("check = memcached", "login = a:b"), "2: login is of no use: this conversation has no"),
        (("check = dns", "type = A B"), "2: type = A B is not one word"),
        (("check = tcp", "from = here"),
         "2: from = here is none of auto, none, virtual, and no IP address"),
        (("check = tcp", "address = x"), "2: address = x is not an IP address"),
        (("check = tcp", "interface = aaaaaaaaaaaaaaaa"),
         "2: interface = aaaaaaaaaaaaaaaa is not the name of an interface"),
        (("[checks]", "[[tcp]]", "check = connect"),
         "2: tcp is a check of its own; choose another name"),
        (("[checks]", "[[page]]", "path = /"),
         "2: [[page]] does not say what it asks; write check = http"),
        (("[checks]", "[[page]]", "check = http", "remove_after = 3"),
         "4: remove_after cannot stand in [checks]; write it at the top"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_told_with_its_line(lines, complaint):
    assert any(line.startswith(f"x:{complaint}") for line in wrong(*lines)), wrong(*lines)


def test_an_unknown_check_is_told_with_all_that_are_known():
    (line,) = wrong("check = zzzzzz")

    assert line.startswith(f"x:1: check = zzzzzz is no check; known: {WORDS[8:]}")
