import hashlib
import re
import select
import socket
import struct
import threading
import time
from contextlib import closing

import pytest

from lvs_nat.checks import http
from lvs_nat.checks.kind import Answer
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Http
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import ask, serving

OK = b"HTTP/1.1 200 OK\r\n"
LATE = 0.2
FLOOD = 1 << 22


def whole(body=b"", first=OK):
    return first + b"Content-Length: %d\r\n\r\n" % len(body) + body


def request(client):
    """Return the request of *client*, with its body."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += client.recv(65536) or b"\r\n\r\n"
    head, _, body = heard.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.startswith(b"Content-Length: "):
            while len(body) < int(line[16:]):
                body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(answer):
    """Return the conduct of a server that says *answer* to a request, and closes."""

    def conduct(client):
        request(client)
        client.sendall(answer)

    return conduct


def staying(answer):
    """Return the conduct of a server that says *answer*, and stays until the client leaves."""

    def conduct(client):
        request(client)
        client.sendall(answer)
        while client.recv(65536):
            pass

    return conduct


def answer(conduct, question=Http(), timeout=5.0):  # noqa: B008 - frozen
    with serving(conduct) as endpoint:
        return ask(question, endpoint, timeout)


PASSED = Answer(Outcome.PASS, "status 200")


def failed(words):
    return Answer(Outcome.FAIL, words)


def sent(question, endpoint="192.168.122.10:80"):
    """Return the request that *question* makes, as lines."""
    line = http.prepare(Target(at(endpoint), Check(question)))
    return line.begin().outgoing.decode("latin-1").split("\r\n")


@pytest.mark.parametrize(
    "question, endpoint, first, more",
    [
        (Http(), "192.168.122.10:80", "GET / HTTP/1.1", ["Host: 192.168.122.10"]),
        (Http(), "192.168.122.10:8080", "GET / HTTP/1.1", ["Host: 192.168.122.10:8080"]),
        (Http(), "[fd00::10]:80", "GET / HTTP/1.1", ["Host: [fd00::10]"]),
        (Http("/a?b=c", "HEAD"), "10.0.0.1:80", "HEAD /a?b=c HTTP/1.1", ["Host: 10.0.0.1"]),
        (Http("/ä b\r\nX: y"), "10.0.0.1:80", "GET /%C3%A4%20b%0D%0AX:%20y HTTP/1.1", []),
        (Http(host="www.example.org"), "10.0.0.1:80", "GET / HTTP/1.1", ["Host: www.example.org"]),
        (Http(headers=("host: b", "X: y")), "10.0.0.1:80", "GET / HTTP/1.1", ["host: b", "X: y"]),
        (Http(headers=("Accept: a/b",)), "10.0.0.1:80", "GET / HTTP/1.1", ["Accept: a/b"]),
        (
            Http(login="Aladdin:open sesame"), "10.0.0.1:80", "GET / HTTP/1.1",
            ["Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
        ),
        (
            Http(method="POST", body="a=ä"), "10.0.0.1:80", "POST / HTTP/1.1",
            ["Content-Length: 4", "", "a=Ã¤"],
        ),
        (Http(method="POST"), "10.0.0.1:80", "POST / HTTP/1.1", ["Content-Length: 0"]),
    ],
)  # fmt: skip
def test_the_request_says_what_the_settings_say_and_each_field_once(
    question, endpoint, first, more
):
    lines = sent(question, endpoint)
    names = [line.partition(":")[0].lower() for line in lines[1 : lines.index("")]]

    assert lines[0] == first
    assert set(more) <= set(lines)
    assert sorted(names) == sorted(set(names))
    assert {"host", "user-agent", "accept", "connection"} <= set(names)
    assert "Connection: close" in lines


def test_a_request_without_settings_is_this():
    assert sent(Http()) == [
        "GET / HTTP/1.1",
        "Host: 192.168.122.10",
        "User-Agent: lvs-nat",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    ]


def test_the_server_hears_the_whole_request_however_long():
    heard = []

    def conduct(client):
        heard.append(request(client))
        client.sendall(whole())

    question = Http(method="POST", body="x" * 1_000_000)

    assert answer(conduct, question) == PASSED
    assert heard[0].endswith(b"\r\n\r\n" + b"x" * 1_000_000)


@pytest.mark.parametrize(
    "said, verdict",
    [
        (whole(b"hello"), PASSED),
        (OK + b"\r\nuntil the end", PASSED),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", PASSED),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"hello"), PASSED),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(Outcome.PASS, "status 204")),
        (whole(b"x" * FLOOD), PASSED),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", failed("status 503")),
        (b"HTTP/1.1 302 Found\r\nLocation: /in\r\n\r\n", failed("status 302 to '/in'")),
        (b"", failed("connection closed after 0 bytes of its head")),
        (b"HTTP/1.1 200", failed("connection closed after 12 bytes of its head")),
        (
            OK + b"Content-Length: 100000\r\n\r\nhello",
            failed("connection closed after 5 of 100000 bytes of its body"),
        ),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello",
            failed("connection closed after 5 bytes of its body"),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, failed("status 100 again and again")),
        (OK + b"X: y\r\n" * 100_000, failed("no more is read after 65536 bytes of its head")),
        (OK + b"X: " + b"y" * FLOOD, failed("no more is read after 65536 bytes of its head")),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000, PASSED),
        (b"x" * FLOOD, failed(f"no status line of HTTP: '{'x' * 60}'...")),
        (b"\0\x1b[2J", failed(r"no status line of HTTP: '\x00\x1b[2J'")),
    ],
)  # fmt: skip
def test_the_answer_of_a_server_decides(said, verdict):
    assert answer(saying(said)) == verdict


@pytest.mark.parametrize(
    "said", [whole(b"hello"), OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
)
def test_an_answer_is_whole_without_the_end_of_the_connection(said):
    assert answer(staying(said)) == PASSED


def test_the_answer_to_head_is_whole_without_its_body():
    said = staying(OK + b"Content-Length: 1000\r\n\r\n")

    assert answer(said, Http(method="HEAD")) == PASSED


@pytest.mark.parametrize(
    "said, verdict",
    [
        (b"", Answer(Outcome.MUTE, "connected, but no answer in time")),
        (b"HTTP/1.1 200", failed("time is up after 12 bytes of its head")),
        (whole(b"hello")[:-1], failed("time is up after 4 of 5 bytes of its body")),
        (
            OK + b"Content-Length: 1" + b"0" * 16 + b"\r\n\r\nhello",
            failed(f"time is up after 5 of 1{'0' * 16} bytes of its body"),
        ),
        (OK + b"\r\nhello", failed("time is up after 5 bytes of its body")),
    ],
)
def test_the_deadline_is_one_for_all_and_says_how_far_the_answer_came(said, verdict):
    assert answer(staying(said), timeout=LATE) == verdict


def test_a_server_that_drips_is_out_at_the_deadline():
    def conduct(client):
        request(client)
        client.sendall(OK + b"\r\n")
        while not over.wait(0.01):
            client.sendall(b"x")

    over = threading.Event()
    began = time.monotonic()
    verdict = answer(conduct, timeout=LATE)
    over.set()

    assert re.fullmatch("time is up after [1-9][0-9]* bytes of its body", verdict.words)
    assert time.monotonic() - began < LATE + 1.0


@pytest.mark.parametrize(
    "said, words",
    [
        (b"", "connection reset by peer"),
        (b"HTTP/1.1 200", "connection reset by peer after 12 bytes"),
    ],
)
def test_a_reset_is_a_failure(said, words):
    def conduct(client):
        request(client)
        client.sendall(said)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(conduct) as endpoint:
        verdicts = {ask(Http(), endpoint) for _ in range(3)}

    # The reset may overtake what was said.
    assert verdicts <= {failed(words), failed("connection reset by peer")}


def test_a_closed_port_refuses():
    with serving(saying(b"")) as endpoint:
        pass

    assert ask(Http(), endpoint) == (Outcome.REFUSED, "connection refused", None)


def test_an_answer_that_comes_before_the_request_was_read_is_heard():
    def conduct(client):
        client.sendall(whole(b"busy", b"HTTP/1.1 503 Busy\r\n"))
        client.shutdown(socket.SHUT_RDWR)

    assert answer(conduct, Http(method="POST", body="x" * FLOOD)) == failed("status 503")


PAGE = b'{"status": "ok", "nodes": [{"up": true, "load": 0.50}], "a/b": null, "n": 7, "s": "1"}'


@pytest.mark.parametrize(
    "question, verdict",
    [
        (Http(status=((200, 299), (304, 304))), PASSED),
        (Http(status=((404, 404),)), failed("status 200")),
        (Http(text='"status": "ok"'), PASSED),
        (Http(text="down"), failed("its body has no 'down'")),
        (Http(regex='"load": 0\\.[0-6]'), PASSED),
        (Http(regex='"load": [1-9]'), failed("its body does not match '\"load\": [1-9]'")),
        (Http(digest=hashlib.sha256(PAGE).hexdigest()), PASSED),
        (Http(digest=hashlib.md5(PAGE).hexdigest()), PASSED),
        (
            Http(digest="0" * 64),
            failed(f"its body has the digest {hashlib.sha256(PAGE).hexdigest()}"),
        ),
        (Http(json="/status=ok"), PASSED),
        (Http(json="/nodes/0/up=true"), PASSED),
        (Http(json="/nodes/0/load=0.50"), PASSED),
        (Http(json="/a~1b=null"), PASSED),
        (Http(json="/n=7"), PASSED),
        (Http(json="/n=8"), failed("/n is '7'")),
        (Http(json="/status=down"), failed("/status is 'ok'")),
        (Http(json="/nodes/1/up=true"), failed("its JSON has no /nodes/1/up")),
        (Http(json="/nodes/x=true"), failed("its JSON has no /nodes/x")),
        (Http(json="/status/x=true"), failed("its JSON has no /status/x")),
        (Http(text="ok", json="/n=8"), failed("/n is '7'")),
    ],
)
def test_all_that_is_asked_of_the_body_must_hold(question, verdict):
    assert answer(saying(whole(PAGE)), question) == verdict


def test_words_of_json_that_are_no_text_fail():
    """JSON can say one half of what UTF-16 writes in two, which no text can be made of."""
    verdict = answer(saying(whole(b'{"status": "\\ud800"}')), Http(json="/status=ok"))

    assert verdict == failed(r"/status is '\\ud800'")


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 30000, b""])
def test_what_is_no_json_fails(body):
    verdict = answer(saying(whole(body)), Http(json="/status=ok"))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith("its body is no JSON: ")


@pytest.mark.parametrize(
    "question, verdict",
    [
        (Http(text="begin"), PASSED),
        (Http(text="end"), failed("its body has no 'end' in its first 64 KiB")),
        (Http(regex="^begin"), PASSED),
        (Http(regex="end$"), failed("its body does not match 'end$' in its first 64 KiB")),
        (Http(digest="0" * 64), failed("its body is longer than is read (64 KiB)")),
        (Http(json="/a=b"), failed("its body is longer than is read (64 KiB)")),
    ],
)
def test_of_a_long_body_only_the_beginning_is_looked_at(question, verdict):
    page = b"begin" + b"x" * FLOOD + b"end"

    assert answer(saying(whole(page)), question) == verdict


def test_a_regular_expression_that_would_take_for_ever_fails_the_server():
    verdict = answer(saying(whole(b"a" * 40)), Http(regex="(a+)+b"))

    words = "what it sent takes too long to search for the regular expression"
    assert verdict == failed(words)


def test_the_chunks_of_a_body_are_put_together():
    said = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nI a\r\n6\r\nm well\r\n0\r\n\r\n"

    assert answer(saying(said), Http(text="I am well")) == PASSED


class Moved:
    """A server whose pages are answers; it remembers what was asked for."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []

    def __call__(self, client):
        method, path, _ = request(client).decode().split(" ", 2)
        self.asked.append(f"{method} {path}")
        status, location = self.pages.get(path, (200, ""))
        client.sendall(
            f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )


def test_redirects_are_followed_on_the_same_server():
    server = Moved({"/": (301, "/a"), "/a": (307, "b?c=d#e"), "/b?c=d": (302, "/end")})

    assert answer(server, Http(redirects=3)) == PASSED
    assert server.asked == ["GET /", "GET /a", "GET /b?c=d", "GET /end"]


@pytest.mark.parametrize(
    "location", ["http://www.example.org/x", "http://WWW.example.org:80/x", "//www.example.org/x"]
)
def test_the_server_may_call_itself_by_the_host_that_it_was_called(location):
    server = Moved({"/": (302, location)})

    assert answer(server, Http(host="www.example.org", redirects=1)) == PASSED
    assert server.asked == ["GET /", "GET /x"]


def test_the_server_may_call_itself_by_its_address():
    server = Moved({})
    with serving(server) as endpoint:
        server.pages["/"] = (302, f"http://{endpoint}/x")
        assert ask(Http(redirects=1), endpoint) == PASSED


@pytest.mark.parametrize(
    "location",
    [
        "https://www.example.org/", "http://other.example.org/", "http://www.example.org:81/",
        "http://www.example.org@other/", "ftp://www.example.org/", "http://[/",
    ],
)  # fmt: skip
def test_other_servers_are_not_asked(location):
    verdict = answer(Moved({"/": (302, location)}), Http(host="www.example.org", redirects=1))

    assert verdict == failed(f"redirected to another server: '{location}'")


def test_a_redirect_in_a_circle_ends():
    server = Moved({"/": (302, "/")})

    assert answer(server, Http(redirects=2)) == failed("redirected more than 2 times, to '/'")
    assert server.asked == ["GET /"] * 3


@pytest.mark.parametrize(
    "status, method, then",
    [
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_a_redirect_says_how_the_next_is_asked_for(status, method, then):
    server = Moved({"/": (status, "/x")})

    assert answer(server, Http(method=method, body="b", redirects=1)) == PASSED
    assert server.asked == [f"{method} /", f"{then} /x"]


def test_the_request_comes_with_the_handshakes_last_packet():
    # Which is put off for a fifth of a second at most: a machine that stands still may miss it.
    assert any(accepted_before_the_request() == 0 for _ in range(5))


def accepted_before_the_request():
    """Return how many connections a server has whose client is connected and says nothing yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        prepared = http.prepare(Target(at("{}:{}".format(*server.getsockname())), Check(Http())))
        with closing(http.KIND.start(prepared)) as asking, select.epoll() as poll:
            poll.register(asking.fileno(), asking.events)
            [(_, events)] = poll.poll(5.0)
            try:
                client, _ = server.accept()
            except BlockingIOError:
                assert http.KIND.proceed(asking, events) is None
                client, _ = server.accept()
                with client:
                    assert client.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
                return 0
            client.close()
            return 1
