"""SYNs through raw sockets: their bytes anywhere, their answers in a lab kernel."""

import select
import socket
import struct
import time
from contextlib import contextmanager

import pytest

from lvs_nat.checks import segments, syn
from lvs_nat.checks.kind import Lent
from lvs_nat.checks.segments import Place, Segment
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Syn
from lvs_nat.core.setup import Check, Target, Way
from lvs_nat.daemon.engine import Engine
from lvs_nat.system import raw
from tests.builders import at
from tests.checks.asking import ask, here
from tests.checks.firewall import rule
from tests.checks.ports import HOSTS, listening, reserved

CONNECTED = (Outcome.PASS, "connected", None)
REFUSED = (Outcome.REFUSED, "connection refused", None)
PROHIBITED = (Outcome.SILENT, "prohibited by a router or a firewall")
V4 = Place(socket.AF_INET, bytes((192, 0, 2, 10)), 80, bytes((192, 0, 2, 1)), 3)
V6 = Place(socket.AF_INET6, bytes(15) + b"\x02", 80, bytes(15) + b"\x01", 3)


@contextmanager
def batch():
    sockets = raw.opened()
    made = syn.kind(Lent(sockets)).batch
    try:
        yield made
    finally:
        made.close()
        for one in sockets:
            one.close()


def target(endpoint, **check):
    return Target(endpoint, Check(Syn(), **check))


def asked(by, *questions, seconds=2.0):
    """Return the answer to each question that has one within *seconds*."""
    answers = dict(by.ask([(question, number) for number, question in enumerate(questions)]))
    deadline = time.monotonic() + seconds
    while len(answers) < len(questions) and (left := deadline - time.monotonic()) > 0:
        for fd in select.select(by.filenos(), [], [], left)[0]:
            answers.update(by.answers(fd))
    for number, question in enumerate(questions):
        if number not in answers:
            by.forget(question)
    return [answers.get(number) for number in range(len(questions))]


def prepared(*endpoints, **check):
    return [syn.prepare(target(endpoint, **check)) for endpoint in endpoints]


@pytest.mark.parametrize("place, largest", [(V4, 1460), (V6, 1440)])
def test_a_segment_is_a_syn_like_any_other(place, largest):
    segment = Segment(place, 40000)
    data = segment._memory.raw[-25:-1]
    pseudo = place.source + place.address + struct.pack("!II", 24, socket.IPPROTO_TCP)
    ours, theirs, number, acknowledged, flags, window, _, urgent = struct.unpack(
        "!HHIIHHHH", data[:20]
    )

    assert (ours, theirs, acknowledged, flags, window, urgent) == (40000, 80, 0, 0x6002, 64240, 0)
    assert segment.acknowledged == (number + 1) % 2**32
    assert data[20:] == struct.pack("!BBH", 2, 4, largest)
    assert segments.checksum(pseudo + data) == 0


def test_no_two_segments_can_be_guessed_from_one_another():
    assert len({Segment(V4, 40000).acknowledged for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "data, summed",
    [(b"", 0xFFFF), (b"\xff\xff", 0), (bytes.fromhex("0001f203f4f5f6f7"), 0xFFFF ^ 0xDDF2)],
)
def test_the_checksum_is_that_of_rfc_1071(data, summed):
    assert segments.checksum(data) == summed


def test_without_a_raw_socket_nobody_is_asked():
    assert ask(Syn(), at("127.0.0.1:80")) == syn.NO_SOCKET
    assert syn.NO_SOCKET.outcome is Outcome.UNKNOWN
    assert "CAP_NET_RAW" in syn.NO_SOCKET.words


@pytest.mark.kernel
@pytest.mark.parametrize("host", HOSTS)
def test_a_server_passes_and_its_application_sees_none_of_200_probes(host):
    with listening(host) as server, batch() as by:
        server.setblocking(False)
        (question,) = prepared(here(server))
        for _ in range(200):
            assert asked(by, question) == [CONNECTED]

        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.kernel
@pytest.mark.parametrize("host", HOSTS)
def test_a_closed_port_refuses(host):
    with reserved(host) as endpoint, batch() as by:
        assert asked(by, *prepared(endpoint)) == [REFUSED]


@pytest.mark.kernel
def test_a_server_that_takes_no_more_connections_is_silent():
    full = listening(backlog=0)
    with full, socket.create_connection(full.getsockname()), batch() as by:
        assert asked(by, *prepared(here(full)), seconds=0.1) == [None]


@pytest.mark.kernel
@pytest.mark.parametrize(
    "host, version, error, outcome, words",
    [
        ("127.1.2.3", 4, "icmp-host-unreachable", Outcome.SILENT, "no route to host"),
        ("127.1.2.3", 4, "icmp-net-unreachable", Outcome.SILENT, "network is unreachable"),
        ("127.1.2.3", 4, "icmp-admin-prohibited", Outcome.SILENT, "no route to host"),
        ("127.1.2.3", 4, "icmp-port-unreachable", *REFUSED[:2]),
        ("::1", 6, "icmp6-addr-unreachable", Outcome.SILENT, "no route to host"),
        ("::1", 6, "icmp6-no-route", Outcome.SILENT, "network is unreachable"),
        ("::1", 6, "icmp6-adm-prohibited", *PROHIBITED),
        ("::1", 6, "icmp6-policy-fail", *PROHIBITED),
        ("::1", 6, "icmp6-reject-route", *PROHIBITED),
        ("::1", 6, "icmp6-port-unreachable", *REFUSED[:2]),
    ],
)
def test_an_error_in_place_of_an_answer_is_told(host, version, error, outcome, words):
    with listening(host) as server, batch() as by:
        port = str(server.getsockname()[1])
        reject = ("-p", "tcp", "--dport", port, "-j", "REJECT", "--reject-with", error)
        with rule("INPUT", *reject, version=version):
            assert asked(by, *prepared(here(server))) == [(outcome, words, None)]


@pytest.mark.kernel
def test_a_packet_filter_on_our_own_way_out_is_our_own_fault():
    with listening() as server, batch() as by:
        port = str(server.getsockname()[1])
        with rule("OUTPUT", "-p", "tcp", "--dport", port, "-j", "DROP"):
            (answer,) = asked(by, *prepared(here(server)))

    words = "this director could not ask: operation not permitted"
    assert answer == (Outcome.UNKNOWN, words, None)


@pytest.mark.kernel
def test_a_server_is_asked_from_where_the_check_says():
    with listening() as server, batch() as by:
        ours = Way(source=at("127.3.2.1:1").address, interface="lo")
        port = str(server.getsockname()[1])
        others = ("-p", "tcp", "--dport", port, "!", "-s", "127.3.2.1", "-j", "DROP")
        with rule("INPUT", *others):
            assert asked(by, *prepared(here(server), way=ours)) == [CONNECTED]
            assert asked(by, *prepared(here(server)), seconds=0.1) == [None]


@pytest.mark.kernel
@pytest.mark.parametrize(
    "way, why",
    [
        (Way(source=at("192.0.2.1:1").address), "cannot assign requested address"),
        (Way(interface="nowhere7"), "no such device"),
    ],
)
def test_a_way_that_is_not_there_is_our_own_fault(way, why):
    with listening() as server, batch() as by:
        (answer,) = asked(by, *prepared(here(server), way=way))

    assert answer.outcome is Outcome.UNKNOWN
    assert why in answer.words


@pytest.mark.kernel
@pytest.mark.parametrize("host", HOSTS)
def test_one_server_may_be_asked_several_questions_at_once(host):
    with listening(host) as server, batch() as by:
        questions = prepared(*[here(server)] * 5)
        for _ in range(3):
            assert asked(by, *questions) == [CONNECTED] * 5


@pytest.mark.kernel
def test_half_a_connection_that_the_server_has_kept_is_in_nobodys_way():
    with listening() as server, batch() as by:
        before, question = prepared(here(server), here(server))
        with rule("OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"):
            for _ in range(syn.TURNS):
                assert asked(by, before) == [CONNECTED]
        for _ in range(syn.TURNS):  # from the same ports, with other numbers
            assert asked(by, question) == [CONNECTED]
            assert question.repeated


@pytest.mark.kernel
@pytest.mark.parametrize("flags", [0x12, 0x14, 0x10, 0x11])
def test_who_does_not_know_the_number_is_not_believed(flags):
    forger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    full = listening(backlog=0)
    with forger, full, socket.create_connection(full.getsockname()), batch() as by:
        (question,) = prepared(here(full))
        by.ask([(question, "asker")])
        forger.bind(("127.1.2.3", 0))
        theirs, ours = struct.unpack("!HH", question.segment.key[-4:])
        for number in (question.segment.acknowledged - 1, 0, 12345):
            parts = (theirs, ours, 1, number & 0xFFFFFFFF, 0x5000 | flags, 1000, 0, 0)
            forger.sendto(struct.pack("!HHIIHHHH", *parts), ("127.0.0.1", 0))
        while select.select(by.filenos(), [], [], 0.1)[0]:
            assert [it for fd in by.filenos() for it in by.answers(fd)] == []


@pytest.mark.kernel
@pytest.mark.limit(60)
def test_an_engine_asks_thousands_in_one_go():
    outcomes = {}
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as server, reserved() as closed:
        port = server.getsockname()[1]
        places = [at(f"127.1.{n >> 8}.{n & 255}:{port}") for n in range(3000)]
        sockets = raw.opened()
        engine = Engine(
            lambda probe, _: outcomes.setdefault(probe.target.endpoint, probe.verdict),
            10_000,
            lent=Lent(sockets),
        )
        engine.ask([target(place, interval=5.0, timeout=2.0) for place in [*places, closed]])
        deadline = time.monotonic() + 30
        while len(outcomes) <= len(places) and time.monotonic() < deadline:
            engine.turn(0.1)
        engine.ask([])
        assert engine.in_flight == 0
        engine.close()
        for one in sockets:
            one.close()

    assert {outcomes[place].outcome for place in places} == {Outcome.PASS}
    assert outcomes[closed].outcome is Outcome.REFUSED
    assert min(verdict.latency for verdict in outcomes.values()) >= 0.0


@pytest.mark.kernel
def test_a_silent_server_is_told_at_its_deadline_and_goes_on_being_asked():
    seen = []
    full = listening(backlog=0)
    with full, socket.create_connection(full.getsockname()):
        sockets = raw.opened()
        engine = Engine(lambda probe, _: seen.append(probe.verdict), 10, lent=Lent(sockets))
        engine.ask([target(here(full), interval=0.2, timeout=0.1, fast=0.05)])
        deadline = time.monotonic() + 10
        while len(seen) < 4 and time.monotonic() < deadline:
            engine.turn(0.1)
        engine.ask([])
        assert engine.in_flight == 0
        engine.close()
        for one in sockets:
            one.close()

    assert [(verdict.outcome, verdict.words) for verdict in seen[:4]] == (
        [(Outcome.SILENT, "no answer within 0.1 s")] * 4
    )


@pytest.mark.kernel
def test_ports_are_given_back():
    with listening() as server:
        with batch() as by:
            (question,) = prepared(here(server))
            asked(by, question)
            _, port = struct.unpack("!HH", question.segment.key[-4:])
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
