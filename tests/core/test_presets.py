import re

import pytest

from lvs_nat.core import presets
from lvs_nat.core.questions import Tls, Verb

LOGINS = ("smtp", "submission", "pop3", "imap", "ftp", "nntp", "redis", "ldap")
NAMED_ONLY = ("mysql", "pgsql")  # a user, but no password
NONE = ("memcached", "sip", "rtsp")
# Those that begin in plain text, and go over to TLS in their own way.
UPGRADING = ("smtp", "submission", "pop3", "imap", "ftp", "nntp", "ldap", "mysql", "pgsql")


def said(made):
    return b"".join(step.data for step in made.steps if step.verb is Verb.SEND)


def verbs(made):
    return [step.verb.value for step in made.steps]


def test_every_conversation_is_known_by_how_it_takes_a_login():
    plain = {presets.SECURE.get(name, name) for name in presets.NAMES}

    assert plain == {*LOGINS, *NAMED_ONLY, *NONE}


@pytest.mark.parametrize("name", presets.NAMES)
@pytest.mark.parametrize("tls", [None, Tls(server_name="www.example.org")])
def test_every_conversation_expects_something_and_every_expectation_is_an_expression(name, tls):
    made = presets.conversation(name, tls=tls)
    expected = [step.data for step in made.steps if step.verb is Verb.EXPECT]

    assert made.name == name
    assert made.tls is tls
    assert expected
    for text in expected:
        re.compile(text)


@pytest.mark.parametrize("name", presets.NAMES)
def test_tls_begins_at_once_or_by_the_protocols_own_word(name):
    plain, secure = (presets.conversation(name, tls=tls) for tls in (None, Tls()))

    assert "tls" not in verbs(plain)
    assert not plain.immediate
    assert verbs(secure).count("tls") == (name in UPGRADING)
    assert secure.immediate is (name not in UPGRADING)


@pytest.mark.parametrize("name", [*LOGINS, *presets.SECURE])
@pytest.mark.parametrize("tls", [None, Tls()])
def test_a_login_is_said_inside_tls_where_there_is_tls(name, tls):
    made = presets.conversation(name, "someone", "geheim", tls)
    places = verbs(made)
    with_password = [
        place
        for place, step in enumerate(made.steps)
        if b"geheim" in step.data or b"AHNvbWVvbmUAZ2VoZWlt" in step.data
    ]

    assert len(with_password) == 1
    assert with_password[0] > (places.index("tls") if "tls" in places else -1)


@pytest.mark.parametrize("name", NAMED_ONLY)
def test_some_take_a_user_without_a_password(name):
    assert b"someone" in said(presets.conversation(name, "someone"))
    with pytest.raises(ValueError, match="write USER: without one"):
        presets.conversation(name, "someone", "geheim")


@pytest.mark.parametrize("name", NONE)
def test_some_have_no_login(name):
    with pytest.raises(ValueError, match="is of no use: this conversation has no login"):
        presets.conversation(name, "someone")


@pytest.mark.parametrize("name", [*LOGINS, *NAMED_ONLY])
@pytest.mark.parametrize("user, password", [("a\r\nQUIT", ""), ("a", "b\n")])
def test_a_login_cannot_hold_a_line_of_its_own(name, user, password):
    with pytest.raises(ValueError, match=r"control character|without one"):
        presets.conversation(name, user, password)


@pytest.mark.parametrize(
    "name, user, password, words",
    [
        ("smtp", "", "", b"EHLO lvs-nat.localdomain\r\nQUIT\r\n"),
        ("imap", 'a"b', "c\\d", b'b LOGIN "a\\"b" "c\\\\d"\r\nc LOGOUT\r\n'),
        ("redis", "", "", b"PING\r\nQUIT\r\n"),
        ("redis", "default", "x", b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\nPING\r\nQUIT\r\n"),
        ("redis", "me", "x", b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$1\r\nx\r\nPING\r\nQUIT\r\n"),
        ("pgsql", "", "", bytes.fromhex("0000000804d2162f")),
        ("ldap", "", "", bytes.fromhex("300c020102600702010304008000 3005020103 4200")),
        (
            "ldap", "cn=a", "x" * 200,
            bytes.fromhex("308200dc 020102 608200d5 020103 0404636e3d61 808200c8")
            + b"x" * 200 + bytes.fromhex("3005020103 4200"),
        ),
    ],
)  # fmt: skip
def test_what_is_said_is_what_the_protocol_wants(name, user, password, words):
    assert said(presets.conversation(name, user, password)) == words


REPLIES = {
    # conversation: (well, whole; ill) for the first thing that it expects
    "smtp": (
        [b"220 a ESMTP\r\n", b"220\r\n", b"220-a\r\n220 b\r\n"],
        [b"554 no\r\n", b"421-a\r\n421 b\r\n"],
    ),
    "pop3": ([b"+OK\r\n", b"+OK ready <1@a>\r\n"], [b"-ERR busy\r\n"]),
    "imap": ([b"* OK [CAPABILITY] hi\r\n", b"* PREAUTH hi\r\n"], [b"* BYE busy\r\n"]),
    "ftp": ([b"220 hi\r\n", b"220-a\r\n b\r\n220 c\r\n", b"120 a\r\n220 b\r\n"], [b"421 busy\r\n"]),
    "nntp": ([b"200 hi\r\n", b"201 no posting\r\n"], [b"400 busy\r\n", b"502 no\r\n"]),
    "redis": ([b"+PONG\r\n"], [b"-NOAUTH Authentication required.\r\n", b"-LOADING\r\n"]),
    "memcached": ([b"VERSION 1.6.18\r\n"], [b"ERROR\r\n", b"SERVER_ERROR out of memory\r\n"]),
    "mysql": (
        [
            b"\x4a\0\0\0\x0a8.0.36\0" + bytes(31),
            b"\x4a\0\0\0\x0a5.5.5-10.11.6-MariaDB-log\0" + bytes(60),
        ],
        [b"\x17\0\0\0\xff\x10\x04Too many connections", b"\x45\0\0\1\xff\x6a\x04Host"],
    ),
    "pgsql": ([b"S", b"N"], [b"E\0\0\0\x20", b"HTTP/1.1 400 Bad Request\r\n"]),
    "sip": (
        [b"SIP/2.0 200 OK\r\n", b"SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\n"],
        [b"SIP/2.0 503 Service Unavailable\r\n"],
    ),
    "rtsp": ([b"RTSP/1.0 200 OK\r\n"], [b"RTSP/1.0 454 Session Not Found\r\n"]),
    "ldap": (
        [
            bytes.fromhex("300c02010261070a010004000400"),
            bytes.fromhex("308400000010020102618400000007 0a010004000400"),
        ],
        [bytes.fromhex("300c02010261070a013004000400")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
def test_a_well_server_is_told_from_an_ill_one_by_the_end_of_its_reply(name):
    well, ill = REPLIES[name]
    steps = presets.conversation(name).steps
    pattern = re.compile(next(step.data for step in steps if step.verb is Verb.EXPECT))

    for reply in well:
        match = pattern.search(reply)
        assert match, reply
        assert match.groupdict().get("fail") is None, reply
        assert match.end() == len(reply) or name in ("sip", "rtsp", "memcached", "ldap"), reply
    for reply in ill:
        match = pattern.search(reply)
        assert match, reply
        assert match["fail"] is not None, reply


@pytest.mark.parametrize(
    "name, part",
    [("smtp", b"220-mail.example.org\r\n"), ("smtp", b"220 mail"), ("ftp", b"220-a\r\n 220 b\r\n"),
     ("mysql", b"\x4a\0\0\0\x0a8.0.36\0" + bytes(30)), ("imap", b"* OK")],
)  # fmt: skip
def test_half_a_reply_is_waited_for(name, part):
    """Who answers a mail server's first line of many is taken for one who sends spam."""
    steps = presets.conversation(name).steps

    assert not re.search(steps[0].data, part)


OK, DENIED = b"\x07\0\0{}\0\0\0\2\0\0\0", b"\x48\0\0{}\xff\x15\x04#28000Access denied"
SWITCH = b"\x2c\0\0{}\xfecaching_sha2_password\0" + bytes(20) + b"\0"
NO_ROOM = b"\x17\0\0{}\xff\x10\x04Too many connections"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "user, replies, well",
    [
        ("", [OK], True),
        ("", [DENIED], True),
        ("", [SWITCH, OK], True),
        ("", [SWITCH, DENIED], True),
        ("", [b"\x01\0\0{}\xfe", DENIED], True),
        ("", [NO_ROOM], False),
        ("", [SWITCH, NO_ROOM], False),
        ("check", [OK], True),
        ("check", [SWITCH, OK], True),
        ("check", [DENIED], False),
        ("check", [SWITCH, DENIED], False),
    ],
)
def test_a_server_of_mysql_is_left_only_after_it_has_let_us_in_or_denied_us(
    user, replies, well, tls
):
    conversation = presets.conversation("mysql", user, tls=Tls() if tls else None)
    steps = [step for step in conversation.steps if step.verb is not Verb.TLS][1:]
    if tls:
        steps = steps[1:]  # the request for it
    number, sent = 1 + tls, []
    for reply in replies:
        sent.append(steps.pop(0).data)
        assert sent[-1][3] == number
        packet = reply.replace(b"{}", bytes([number + 1]))
        match = re.search(steps.pop(0).data, packet)
        assert match
        if match.groupdict().get("fail") is not None:
            assert not well
            return
        if match.groupdict().get("done") is not None:
            del steps[:2]
        else:
            assert match.end() == len(packet) or reply is replies[-1]
        number += 2
    assert well
    assert (user or "lvs-nat").encode() + b"\0\0mysql_native_password\0" in sent[0]
    assert [step.data for step in steps] == [b"\1\0\0\0\1"]


@pytest.mark.parametrize("lacking", [1, 20, 43])
def test_a_switch_that_has_not_come_whole_is_waited_for(lacking):
    expected = presets.conversation("mysql").steps[2].data
    whole = SWITCH.replace(b"{}", b"\2")

    assert re.search(expected, whole)
    assert not re.search(expected, whole[:-lacking])
