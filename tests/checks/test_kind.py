"""What an errno says, of the server or of this director: as a table, and in a lab kernel."""

import errno
import subprocess
from contextlib import contextmanager

import pytest

from lvs_nat.checks.kind import judge, unasked
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Connect, Dns, Http, Tcp, Udp
from tests.builders import at
from tests.checks.asking import ask
from tests.checks.firewall import rule

PROHIBITED = (Outcome.SILENT, "prohibited by a router or a firewall", None)
BY_UDP = [Dns(), Udp(send=b"x", reply=True)]
QUESTIONS = [Tcp(), Connect(), Http(), *BY_UDP]


def named(question):
    return type(question).__name__


@pytest.mark.parametrize(
    "number, asked, not_asked",
    [
        (errno.ECONNREFUSED, Outcome.REFUSED, Outcome.REFUSED),
        (errno.EHOSTUNREACH, Outcome.SILENT, Outcome.SILENT),
        (errno.ENETUNREACH, Outcome.SILENT, Outcome.UNKNOWN),
        (errno.EACCES, Outcome.SILENT, Outcome.UNKNOWN),
        (errno.EPERM, Outcome.SILENT, Outcome.UNKNOWN),
        (errno.ETIMEDOUT, Outcome.SILENT, Outcome.SILENT),
        (errno.ECONNRESET, Outcome.FAIL, Outcome.FAIL),
        (errno.ENOPROTOOPT, Outcome.FAIL, Outcome.FAIL),
        (errno.EMFILE, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (errno.ENFILE, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (errno.ENOBUFS, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (errno.ENOMEM, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (errno.EADDRNOTAVAIL, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (errno.ENETDOWN, Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
    ids=lambda it: errno.errorcode[it] if isinstance(it, int) else it.name,
)
def test_an_errno_says_whose_fault_it_is(number, asked, not_asked):
    assert judge(number).outcome is asked
    assert unasked(number).outcome is not_asked


@pytest.mark.kernel
@pytest.mark.parametrize("question", QUESTIONS, ids=named)
@pytest.mark.parametrize("how", ["icmp6-adm-prohibited", "icmp6-policy-fail", "icmp6-reject-route"])
def test_who_is_prohibited_on_the_way_by_ipv6_is_not_there(question, how):
    """IPv4 has no errno of its own for that: it is "no route to host"."""
    protocol = "udp" if question in BY_UDP else "tcp"
    reject = ("-p", protocol, "--dport", "4321", "-j", "REJECT", "--reject-with", how)
    with rule("INPUT", *reject, version=6):
        assert ask(question, at("[::1]:4321")) == PROHIBITED


@contextmanager
def route(*words):
    subprocess.run(["ip", "route", "add", *words], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *words], check=True)


@pytest.mark.kernel
@pytest.mark.parametrize("question", QUESTIONS, ids=named)
@pytest.mark.parametrize("place", ["192.0.2.1:4321", "[2001:db8::1]:4321"])
def test_a_route_of_ours_that_prohibits_is_our_own_fault(question, place):
    endpoint = at(place)
    with route("prohibit", str(endpoint.address)):
        answer = ask(question, endpoint)

    assert answer == (Outcome.UNKNOWN, "this director could not ask: permission denied", None)


@pytest.mark.kernel
@pytest.mark.parametrize("question", BY_UDP, ids=named)
@pytest.mark.parametrize("place, version", [("127.1.2.3:4321", 4), ("[::1]:4321", 6)])
def test_a_packet_filter_on_our_own_way_out_is_our_own_fault(question, place, version):
    with rule("OUTPUT", "-p", "udp", "--dport", "4321", "-j", "DROP", version=version):
        answer = ask(question, at(place))

    words = "this director could not ask: operation not permitted"
    assert answer == (Outcome.UNKNOWN, words, None)
