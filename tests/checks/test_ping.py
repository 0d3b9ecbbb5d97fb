"""Echo requests on loopback of a lab kernel: whether a group may ping is a setting of all."""

import os
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from lvs_nat.checks import ping, segments
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Ping
from lvs_nat.core.setup import Way
from tests.builders import at
from tests.checks.asking import LATE, ask
from tests.checks.firewall import rule

RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
ANSWERED = (Outcome.PASS, "answered", None)


@pytest.fixture
def may():
    """Let everybody ping."""
    before = RANGE.read_text()
    RANGE.write_text("0 2147483647")
    yield
    RANGE.write_text(before)


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["127.1.2.3:0", "[::1]:0"])
@pytest.mark.parametrize("question", [Ping(), Ping(count=10), Ping(size=0), Ping(size=1400)])
def test_a_host_that_echoes_passes(may, place, question):
    assert ask(question, at(place)) == ANSWERED


@pytest.mark.kernel
def test_a_host_is_asked_from_where_the_check_says(may):
    way = Way(source=at("127.3.2.1:1").address, interface="lo")
    assert ask(Ping(), at("127.1.2.3:0"), way=way) == ANSWERED


@pytest.mark.kernel
def test_a_host_that_ignores_echoes_is_silent(may):
    ignore = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
    ignore.write_text("1")
    try:
        assert ask(Ping(), at("127.1.2.3:0"), 0.1) == (Outcome.SILENT, LATE, None)
    finally:
        ignore.write_text("0")


@pytest.mark.kernel
def test_a_group_that_may_not_ping_is_our_own_fault():
    before = RANGE.read_text()
    RANGE.write_text("1 0")
    try:
        answer = ask(Ping(), at("127.1.2.3:0"))
    finally:
        RANGE.write_text(before)

    assert answer == ping.forbidden(os.getegid())
    assert answer.outcome is Outcome.UNKNOWN
    assert "net.ipv4.ping_group_range" in answer.words


@pytest.mark.parametrize(
    "type_, data, source, answer",
    [
        (0, b"asked", "127.1.2.3", ANSWERED),
        (0, b"asked", "127.9.9.9", None),
        (0, b"other", "127.1.2.3", None),
        (0, b"asked and more", "127.1.2.3", None),
        (8, b"asked", "127.1.2.3", None),
    ],
)
def test_only_an_echo_of_what_was_asked_from_who_was_asked_counts(type_, data, source, answer):
    received = struct.pack("!BBHHH", type_, 0, 0, 1, 0) + data
    kernel = SimpleNamespace(recvfrom=lambda size: (received[:size], (source, 0)))

    assert ping.proceed(ping.Asking(kernel, 0, "127.1.2.3", b"asked"), 0) == answer


def checksum(data):
    return struct.pack("!H", segments.checksum(data))


def icmp(family, kind, code, rest):
    """Return a message of ICMP, without the checksum that the kernel fills in for IPv6."""
    message = struct.pack("!BBH", kind, code, 0) + rest
    return message[:2] + checksum(message) + message[4:] if family == socket.AF_INET else message


@contextmanager
def behind_a_router(host, error, echoes):
    """Have each echo request to *host* bring *error*, a type and code, and then an echo or none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET:
        ignore, raw, request, reply = "net/ipv4/icmp_echo_ignore_all", socket.IPPROTO_ICMP, 8, 0
    else:
        ignore, raw = "net/ipv6/icmp/echo_ignore_all", socket.IPPROTO_ICMPV6
        request, reply = 128, 129
    setting = Path("/proc/sys", ignore)
    setting.write_text("1")
    ended = threading.Event()

    def route(hearing):
        while not ended.is_set():
            with suppress(socket.timeout):
                heard, (client, *_) = hearing.recvfrom(4096)
                if family == socket.AF_INET:
                    header, heard = heard[:20], heard[20:]
                else:  # which the kernel keeps for itself
                    ends = socket.inet_pton(family, client) + socket.inet_pton(family, host)
                    header = struct.pack("!IHBB", 6 << 28, len(heard), raw, 64) + ends
                if heard[0] != request:
                    continue
                told = struct.pack("!I", 1300) + header + heard[:8]
                hearing.sendto(icmp(family, *error, told), (client, 0))
                time.sleep(0.02)
                if echoes:
                    hearing.sendto(icmp(family, reply, 0, heard[4:]), (client, 0))

    with socket.socket(family, socket.SOCK_RAW, raw) as hearing:
        hearing.bind((host, 0))
        hearing.settimeout(0.05)
        thread = threading.Thread(target=route, args=(hearing,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            setting.write_text("0")


@pytest.mark.kernel
@pytest.mark.parametrize(
    "place, error",
    [("127.1.2.4:0", (5, 1)), ("127.1.2.4:0", (3, 4)), ("[::1]:0", (2, 0))],
    ids=["redirect", "fragmentation needed", "packet too big"],
)
@pytest.mark.parametrize(
    "echoes, answer", [(True, ANSWERED), (False, (Outcome.SILENT, LATE, None))], ids=str
)
def test_what_a_router_says_of_the_way_is_no_answer(may, place, error, echoes, answer):
    """Nor is it told more than once: a question that waits costs nothing."""
    told = []

    def proceed(asking, events):
        told.append(events)
        return ping.proceed(asking, events)

    endpoint = at(place)
    with behind_a_router(str(endpoint.address), error, echoes):
        assert ask(Ping(), endpoint, 0.2, kind=ping.KIND._replace(proceed=proceed)) == answer
    assert len(told) <= 3


@pytest.mark.kernel
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "place, version, error, outcome, words",
    [
        ("127.1.2.4:0", 4, "icmp-host-unreachable", Outcome.SILENT, "no route to host"),
        ("127.1.2.4:0", 4, "icmp-admin-prohibited", Outcome.SILENT, "no route to host"),
        ("127.1.2.4:0", 4, "icmp-port-unreachable", Outcome.REFUSED, "connection refused"),
        ("[::1]:0", 6, "icmp6-addr-unreachable", Outcome.SILENT, "no route to host"),
        (
            "[::1]:0", 6, "icmp6-adm-prohibited", Outcome.SILENT,
            "prohibited by a router or a firewall",
        ),
    ],
)  # fmt: skip
def test_an_error_in_place_of_an_echo_is_told(may, count, place, version, error, outcome, words):
    icmp = ("icmp", "--icmp-type") if version == 4 else ("icmpv6", "--icmpv6-type")
    reject = ("-j", "REJECT", "--reject-with", error)
    with rule("INPUT", "-p", *icmp, "echo-request", *reject, version=version):
        answer = ask(Ping(count), at(place))

    assert answer == (outcome, words, None)
