"""Against servers of h2 that answer as they are told; test_servers.py asks a real one."""

import socket
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.checks import kinds
from lvs_nat.checks.grpc import Asked, Call, state
from lvs_nat.checks.kind import Answer
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import CheckKind, Grpc
from tests.builders import at
from tests.checks.asking import ask, serving

LATE = 0.2
SERVING = Answer(Outcome.PASS, "SERVING")


def failed(words):
    return Answer(Outcome.FAIL, words)


class Told:
    """A server of HTTP/2 that answers a call with *fields*, *data* and *trailers*."""

    def __init__(self, data=b"", trailers=(("grpc-status", "0"),), status="200", act=None):
        self._fields = [(":status", status), ("content-type", "application/grpc")]
        self._data = data
        self._trailers = trailers
        self._act = act
        self.asked = []

    def __call__(self, client):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        while data := client.recv(65536):
            for event in http.receive_data(data):
                self.asked.append(event)
                if isinstance(event, h2.events.StreamEnded):
                    self._answer(http)
            client.sendall(http.data_to_send())

    def _answer(self, http):
        if self._act:
            self._act(http)
            return
        http.send_headers(1, self._fields)
        if self._data:
            http.send_data(1, self._data)
        http.send_headers(1, self._trailers, end_stream=True)


def told(*more, **fields):
    with serving(Told(*more, **fields)) as endpoint:
        return ask(Grpc(), endpoint)


def message(content):
    return b"\0" + len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    "data, verdict",
    [
        (message(b"\x08\x01"), SERVING),
        (message(b"\x12\x02hi\x08\x01\x20\x05"), SERVING),  # fields that are not known
        (message(b""), failed("UNKNOWN")),
        (message(b"\x08\x00"), failed("UNKNOWN")),
        (message(b"\x08\x02"), failed("NOT_SERVING")),
        (message(b"\x08\x03"), failed("SERVICE_UNKNOWN")),
        (message(b"\x08\x81\x01"), failed("status 129")),
    ],
)
def test_the_message_decides(data, verdict):
    assert told(data) == verdict


@pytest.mark.parametrize(
    "data, shown",
    [
        (b"", ""),
        (b"\1" + message(b"\x08\x01")[1:], r"\x01\x00\x00\x00\x02\x08\x01"),  # compressed
        (message(b"\x08\x01") + b"x", r"\x00\x00\x00\x00\x02\x08\x01x"),
        (message(b"\x08"), r"\x00\x00\x00\x00\x01\x08"),
        (message(b"\x0b"), r"\x00\x00\x00\x00\x01\x0b"),
    ],
)
def test_what_is_no_message_of_the_health_protocol_fails(data, shown):
    assert told(data) == failed(f"no answer of the health protocol: '{shown}'")


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"status": "503"}, "status '503'"),
        ({"trailers": [("grpc-status", "14")]}, "gRPC status '14': unavailable"),
        ({"trailers": [("grpc-status", "99")]}, "gRPC status '99': an error"),
        ({"trailers": [("x", "y")]}, "gRPC status '': an error"),
        (
            {"act": lambda http: http.reset_stream(1, 7)},
            "HTTP/2 stream reset with error 7",
        ),
        (
            {"act": lambda http: http.close_connection(11)},
            "HTTP/2 connection ended with error 11",
        ),
    ],
)
def test_what_is_said_beside_the_message_counts_too(fields, words):
    assert told(message(b"\x08\x01"), **fields) == failed(words)


def test_the_request_is_one_of_the_health_protocol_with_our_deadline():
    server = Told(message(b"\x08\x01"))
    with serving(server) as endpoint:
        ask(Grpc("a"), endpoint, 2.5)
    request = next(it for it in server.asked if isinstance(it, h2.events.RequestReceived))
    said = next(it for it in server.asked if isinstance(it, h2.events.DataReceived))
    fields = [
        tuple(x.decode() if isinstance(x, bytes) else x for x in it) for it in request.headers
    ]

    assert fields == [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", str(endpoint)),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "lvs-nat"),
        ("grpc-timeout", "2500m"),
    ]
    assert said.data == message(b"\x0a\x01a")


PING = bytes.fromhex("000008 06 00 00000000") + bytes(8)
SETTINGS = bytes.fromhex("000000 04 00 00000000")


@pytest.mark.parametrize(
    "said, words",
    [
        (b"", "connection closed before the answer was complete"),
        (SETTINGS, "connection closed before the answer was complete"),
        (b"HTTP/1.1 400 Bad Request\r\n", "speaks no HTTP/2: 'HTTP/1.1 400 Bad Request'"),
        (b"\0" * 100, "speaks no HTTP/2: "),
        (SETTINGS + SETTINGS[:3] + bytes(6), "HTTP/2: "),  # data on no stream
        (SETTINGS + PING * 100_000, "no more is read after 16384 bytes"),
    ],
)
def test_what_is_no_answer_fails(said, words):
    def conduct(client):
        client.recv(65536)
        with suppress(ConnectionError):  # it has read enough
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):  # to close before would reset the connection
                pass

    with serving(conduct) as endpoint:
        verdict = ask(Grpc(), endpoint)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith(words)


@pytest.mark.parametrize(
    "said, verdict",
    [
        (b"", Answer(Outcome.MUTE, "connected, but no answer in time")),
        (SETTINGS, failed("time is up before the answer was complete")),
    ],
)
def test_a_server_that_hangs_is_told_from_one_that_is_silent(said, verdict):
    def conduct(client):
        client.sendall(said)
        while client.recv(65536):
            pass

    with serving(conduct) as endpoint:
        assert ask(Grpc(), endpoint, LATE) == verdict


def test_a_closed_port_refuses():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = at("{}:{}".format(*reserved.getsockname()))
        assert ask(Grpc(), endpoint) == (Outcome.REFUSED, "connection refused", None)


@pytest.mark.fuzz
@given(st.binary(max_size=20))
def test_any_message_has_a_status_or_none(content):
    try:
        assert state(message(content)) >= 0
    except ValueError:
        return


ASKED = Asked(((":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")), b"")


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=200).map(lambda data: SETTINGS + data), max_size=5))
def test_whatever_comes_is_an_answer_or_not_yet(pieces):
    call = Call(ASKED)
    for piece in pieces:
        if piece and (answer := call.hear(piece)):
            assert answer.outcome is Outcome.FAIL
            return


def test_what_must_be_installed_is_said_before_anybody_is_asked():
    """Here everything is installed."""
    assert {kind: kinds.missing(kind) for kind in CheckKind} == dict.fromkeys(CheckKind, "")
