import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.checks.response import INTERIM, Malformed, Response, usual
from tests.hostile import damaged

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def fed(*pieces, **more):
    """Return whether the response of *pieces* is whole, its status and its body."""
    response = Response(keep=True, **more)
    whole = False
    for piece in pieces:
        assert not whole, "it was whole before"
        whole = response.feed(piece)
    return whole, response.status, response.body


WHOLE = {
    "by length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "a length of nothing": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "the same length twice": (OK + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    "the same length in a list": (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello"),
    "lines that end in LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "an older version": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "a field that goes on": (OK + b"X: a\r\n  b\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "what looks like a field": (
        OK + b"Content-Length: 20\r\n\r\n\nContent-Length: 3\r\n", b"\nContent-Length: 3\r\n",
    ),
    "chunks": (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "chunks with extensions": (CHUNKED + b"3;a=b\r\nhel\r\n2 ; c\r\nlo\r\n0;d\r\n\r\n", b"hello"),
    "chunks and trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\nZ: 0\r\n\r\n", b"hello"),
    "chunks that look like ends": (CHUNKED + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    "chunks of LF": (CHUNKED + b"5\nhello\n0\n\n", b"hello"),
    "chunks, whatever the length": (
        OK + b"Content-Length: 9\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"ok",
    ),
    "after 100 Continue": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * INTERIM + OK + b"Content-Length: 2\r\n\r\nok", b"ok",
    ),
    "after 103 Early Hints": (
        b"HTTP/1.1 103 Early Hints\r\nX: 7\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        b"",
    ),
}  # fmt: skip


@pytest.mark.parametrize("said, body", WHOLE.values(), ids=WHOLE)
def test_a_response_is_whole_when_its_last_byte_has_come_and_not_before(said, body):
    assert fed(said) == (True, 200, body)
    assert fed(*(said[place : place + 1] for place in range(len(said)))) == (True, 200, body)
    for place in range(1, len(said)):
        assert fed(said[:place], said[place:]) == (True, 200, body)


LENGTH = OK + b"Content-Length: 2\r\n"


@pytest.mark.parametrize(
    "said, found",
    [
        (LENGTH + b"\r\nok", (200, b"ok")),
        (LENGTH + b"\r\nok, and more", (200, b"ok")),
        (OK + b"Server: x\r\nCONTENT-LENGTH:2 \r\nDate: Thu, 26\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.0 206 \r\nContent-Length: 0\r\n\r\n", (206, b"")),
        # All of these are read in full, and so the one way decides for both.
        (LENGTH + b"\r\no", None),
        (LENGTH, None),
        (LENGTH + b"Content-Length: 2\r\n\r\nok", None),
        (LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
        (LENGTH + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n", None),
        (LENGTH + b" 5\r\n\r\nokay!", None),
        (LENGTH + b"X\0: y\r\n\r\nok", None),
        (LENGTH + b"no field\r\n\r\nok", None),
        (OK + b"Content-Length: +2\r\n\r\nok", None),
        (OK + b"Content-Length: 2, 2\r\n\r\nok", None),
        (OK + b"Content-Length: 2\n\r\nok", None),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nok", None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"\r\nok", None),
        (CHUNKED + b"0\r\n\r\n", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
    ],
)
def test_a_usual_response_is_known_at_a_glance_and_says_the_same(said, found):
    assert usual(said) == found
    if found:
        assert fed(said) == (True, *found)


@pytest.mark.parametrize("said", [it[0] for it in WHOLE.values()], ids=WHOLE)
def test_whatever_is_known_at_a_glance_is_what_a_reading_finds(said):
    assert usual(said) in (None, fed(said)[1:])


@pytest.mark.parametrize(
    "said, bare, status",
    [
        (OK + b"Content-Length: 500\r\n\r\n", True, 200),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", True, 200),
        (OK + b"\r\n", True, 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, 204),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", False, 304),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", False, 101),
    ],
)
def test_some_responses_have_no_body_whatever_they_say(said, bare, status):
    assert fed(said, bare=bare) == (True, status, b"")


def test_what_follows_the_body_is_no_part_of_it():
    assert fed(OK + b"Content-Length: 2\r\n\r\nokay") == (True, 200, b"ok")


def test_without_a_length_only_the_end_of_the_connection_ends_the_body():
    response = Response(keep=True)

    assert not response.feed(OK + b"\r\nhello")
    assert response.open_ended
    assert response.body == b"hello"


@pytest.mark.parametrize(
    "said, words",
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "no status line of HTTP: 'SSH-2.0-OpenSSH_9.2p1'"),
        (b"\r\n" + OK, r"no status line of HTTP: ''"),
        (b"HTTP/1.1 OK\r\n\r\n", "no status line of HTTP: 'HTTP/1.1 OK'"),
        (
            b"HTTP/1.1 2000000000000 OK\r\n\r\n",
            "no status line of HTTP: 'HTTP/1.1 2000000000000 OK'",
        ),
        (b"HTTP/1.1 2\x000 OK\r\n\r\n", r"no status line of HTTP: 'HTTP/1.1 2\x000 OK'"),
        (b"HTTP/2 200 OK\r\n\r\n", "no status line of HTTP: 'HTTP/2 200 OK'"),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 200 O\0K", "NUL bytes in its head"),
        (OK + b"X: \0\r\n\r\n", "NUL bytes in its head"),
        (OK + b"no field\r\n\r\n", "its head has a line that is no field"),
        (b"HTTP/1.1 000 OK\r\n\r\n", "status 000"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM + 1), "status 100 again and again"),
        (OK + b"Content-Length: -1\r\n\r\n", "Content-Length is '-1'"),
        (OK + b"Content-Length: 1e3\r\n\r\n", "Content-Length is '1e3'"),
        (OK + b"Content-Length:\r\n\r\n", "Content-Length is ''"),
        (OK + b"Content-Length: 1" + b"0" * 23 + b"\r\n\r\n", f"Content-Length is '1{'0' * 23}'"),
        (OK + b"Content-Length: 4, 5\r\n\r\n", "Content-Length is '4, 5'"),
        (OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n", "Content-Length is 4 and 5"),
        (CHUNKED + b"size\r\n", "chunk without a size: 'size'"),
        (CHUNKED + b"-1\r\n", "chunk without a size: '-1'"),
        (CHUNKED + b"1" + b"0" * 14, None),
        (CHUNKED + b"1" + b"0" * 15, f"chunk without a size: '1{'0' * 15}'"),
        (CHUNKED + b"1;" + b"x" * 256, f"chunk without a size: '1;{'x' * 58}'..."),
        (CHUNKED + b"2\r\nhello", "chunk without a size: 'llo'"),
    ],
)
def test_what_is_no_response_is_told_as_soon_as_it_shows(said, words):
    if words is None:
        assert not fed(said)[0]
        return
    with pytest.raises(Malformed) as caught:
        fed(said)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "said, progress",
    [
        (b"HTTP/1.1 200 OK\r\n", "17 bytes of its head"),
        (OK + b"Content-Length: 100\r\n\r\nhello", "5 of 100 bytes of its body"),
        (CHUNKED + b"ff\r\nhello", "5 bytes of its body"),
        (OK + b"\r\n", "0 bytes of its body"),
    ],
)
def test_how_far_it_has_come_can_be_told(said, progress):
    response = Response()
    response.feed(said)

    assert response.progress == progress


@pytest.mark.limit(20)
@pytest.mark.parametrize(
    "pieces",
    [
        [OK, *[b"X-Header: of many\r\n"] * 3000],
        [OK + b"X: ", *[b"x"] * 30000],
        [OK + b"Location:" + b" " * 60000 + b"x\r\n\r\n"],
        [OK + b":" * 60000 + b"\r\n\r\n"],
        [b"HTTP/1.1 200 " + b"x" * 60000],
        [CHUNKED, *[b"1\r\nx\r\n"] * 10000],
        [CHUNKED, b"1;" + b"x" * 250, *[b"\r\nx\r\n1;" + b"x" * 250] * 200],
        [CHUNKED, b"0\r\n", *[b"x"] * 30000],
        [CHUNKED, b"0\r\n", *[b"x: y\r\n"] * 10000],
        [OK + b"Content-Length: " + b"5, " * 20000 + b"5\r\n\r\n"],
    ],
)
def test_no_response_of_64_kib_takes_long_however_it_comes(pieces):
    """It takes milliseconds; with a mistake of the usual kind it would take minutes."""
    response = Response(keep=True)
    for piece in pieces:
        response.feed(piece)


@pytest.mark.fuzz
@given(st.sampled_from([said for said, _ in WHOLE.values()]).flatmap(damaged), st.data())
def test_what_comes_ends_in_a_response_or_is_malformed_the_same_however_it_is_cut(said, data):
    def end(pieces):
        response = Response(keep=True)
        try:
            for piece in pieces:
                if response.feed(piece):
                    return response.status, response.body
        except Malformed:
            return "malformed"
        return "more is wanted"

    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=4)))
    places = [0, *cuts, len(said)]
    pieces = [said[start:stop] for start, stop in zip(places, places[1:]) if stop > start]
    body = end([said])

    assert end(pieces) == body
    assert len(body[1]) <= len(said) if isinstance(body, tuple) else True
