"""Echo requests on loopback of a lab kernel: whether a group may ping is a setting of all."""

import os
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from lvs_nat.checks import ping
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


@pytest.mark.kernel
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
def test_an_error_in_place_of_an_echo_is_told(may, place, version, error, outcome, words):
    icmp = ("icmp", "--icmp-type") if version == 4 else ("icmpv6", "--icmpv6-type")
    reject = ("-j", "REJECT", "--reject-with", error)
    with rule("INPUT", "-p", *icmp, "echo-request", *reject, version=version):
        answer = ask(Ping(), at(place))

    assert answer == (outcome, words, None)
