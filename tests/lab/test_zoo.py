"""Each animal of the zoo does what its name says, to a client that is no check of ours."""

import http.client
import os
import selectors
import smtplib
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest

from lvs_nat.lab.animals import datagrams, tls
from lvs_nat.lab.animals.http import BOMB, LARGE, PAGE, SLOW, TEXT
from lvs_nat.lab.zoo import ANIMALS, Zoo

MOST = 1 << 19  # bytes after which a client has seen enough
LONG = 10.0  # seconds that nothing takes
CLOSED, RESET, OPEN, DRIP, ENDLESS = "closed", "reset", "open", "drip", "endless"
REFUSED, SILENT = "refused", "silent"

OK = b"HTTP/1.1 200 OK\r\n"
WELL = OK + b"Content-Length: 11\r\n\r\nI am well.\n"
UNKNOWN = b"502 Command not implemented\r\n"
GREETING = b"220 mail.zoo.example ESMTP\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LONG_BODY = OK + b"Content-Length: 100000\r\n\r\n"

# What a client sees that sends a request of HTTP: all that comes, and the end.  Of those that
# never end only how they begin, which for a drip are its first two bytes.
STREAMS = {
    "tcp-well": (b"", OPEN),
    "tcp-closes": (b"", CLOSED),
    "tcp-resets": (b"", RESET),
    "tcp-refuses": (b"", REFUSED),
    "tcp-silent": (b"", SILENT),
    "smtp-well": (GREETING + UNKNOWN * 2, OPEN),
    "smtp-slow": (GREETING + UNKNOWN * 2, OPEN),
    "smtp-by-bits": (GREETING + UNKNOWN * 2, OPEN),
    "smtp-two-lines": (b"220-Welcome\r\n" + GREETING + UNKNOWN * 2, OPEN),
    "smtp-closed": (b"554 No mail here\r\n" + UNKNOWN * 2, OPEN),
    "smtp-busy": (b"421 Too busy\r\n", CLOSED),
    "smtp-no-helo": (GREETING + UNKNOWN * 2, OPEN),
    "smtp-mute": (b"", OPEN),
    "smtp-drip": (b"220 xx", DRIP),
    "smtp-endless-line": (b"220 xxxx", ENDLESS),
    "smtp-endless-lines": (b"220-x\r\n220-x\r\n", ENDLESS),
    "smtp-closes": (b"", CLOSED),
    "smtp-resets": (GREETING[:9], RESET),
    "smtp-garbage": (b"\0\xff\r\n" * 20, OPEN),
    "http-well": (WELL, CLOSED),
    "http-slow": (WELL, CLOSED),
    "http-by-bits": (WELL, CLOSED),
    "http-chunked": (CHUNKED + b"4\r\nI am\r\n7\r\n well.\n\r\n0\r\n\r\n", CLOSED),
    "http-until-close": (b"HTTP/1.0 200 OK\r\n\r\nI am well.\n", CLOSED),
    "http-keep-alive": (WELL, OPEN),
    "http-continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + WELL, CLOSED),
    "http-large": (LARGE[:MOST], ENDLESS),
    "http-error": (WELL.replace(b"200 OK", b"500 Internal Server Error"), CLOSED),
    "http-overloaded": (WELL.replace(b"200 OK", b"503 Service Unavailable"), CLOSED),
    "http-other-page": (WELL.replace(PAGE, b"Index of /\n"), CLOSED),
    "http-redirect-to-itself": (
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        CLOSED,
    ),
    "http-mute": (b"", OPEN),
    "http-drip": (b"HT", DRIP),
    "http-drip-body": (LONG_BODY + b"xx", DRIP),
    "http-endless-headers": (OK + b"X-Header: of many\r\nX-Header: of many\r\n", ENDLESS),
    "http-endless-header": (OK + b"X: xxxx", ENDLESS),
    "http-endless-body": (OK + b"\r\nxxxx", ENDLESS),
    "http-endless-chunks": (CHUNKED + b"1\r\nx\r\n1\r\nx\r\n", ENDLESS),
    "http-endless-continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2, ENDLESS),
    "http-no-code": (WELL.replace(b"200 OK", b"OK"), CLOSED),
    "http-nul-in-code": (WELL.replace(b"200", b"2\x000"), CLOSED),
    "http-long-code": (WELL.replace(b"200", b"2000000000000"), CLOSED),
    "http-negative-length": (WELL.replace(b": 11", b": -1"), CLOSED),
    "http-huge-length": (WELL.replace(b": 11", b": 100000000000000000000000"), OPEN),
    "http-two-lengths": (WELL.replace(b": 11", b": 4\r\nContent-Length: 11"), CLOSED),
    "http-body-too-short": (LONG_BODY + PAGE, CLOSED),
    "http-body-too-long": (WELL.replace(b": 11", b": 4"), CLOSED),
    "http-chunk-without-size": (CHUNKED + b"size\r\nI am well.\n\r\n\r\n", CLOSED),
    "http-chunk-too-short": (CHUNKED + b"1000\r\nI am well.\n", CLOSED),
    "http-gzip-bomb": (BOMB, CLOSED),
    "http-no-header": (b"I am well.\n", CLOSED),
    "http-not-http": (b"SSH-2.0-OpenSSH_9.2p1\r\n", OPEN),
    "http-closes": (b"", CLOSED),
    "http-half-closed": (b"", CLOSED),
    "http-reset-at-once": (b"", RESET),
    "http-reset-after-request": (b"", RESET),
    "http-reset-in-header": (OK, RESET),
    "http-reset-in-body": (LONG_BODY + PAGE, RESET),
    "http-refuses": (b"", REFUSED),
    "http-silent": (b"", SILENT),
    "tls-mute": (b"", OPEN),
    "tls-drip": (b"\x16\x03\x03\x40\x00\x02\x02", DRIP),
    "tls-garbage": (bytes(range(256)) * 4, OPEN),
    "tls-plain": (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 25\r\n\r\nThis port speaks no TLS.\n",
        OPEN,
    ),
    "tls-alert": (b"\x15\x03\x03\x00\x02\x02\x28", CLOSED),
    "tls-closes": (b"", CLOSED),
    "tls-reset": (b"\x16\x03\x03\x40\x00", RESET),
    "tls-refuses": (b"", REFUSED),
    "tls-silent": (b"", SILENT),
}


@pytest.fixture(scope="module")
def zoo():
    with Zoo() as zoo:
        yield zoo


class Client:
    """One visitor of a stream, who writes down what he sees."""

    def __init__(self, place):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(place)
        self.asked = False
        self.heard = b""
        self.end = SILENT

    def look(self):
        """See what there is; say whether more is to come."""
        try:
            if not self.asked:
                self.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.asked, self.end = True, OPEN
            self.heard += self.socket.recv(MOST) or self._ended(CLOSED)
        except BlockingIOError:
            return True
        except ConnectionRefusedError:
            self._ended(REFUSED)
        except ConnectionError:
            self._ended(RESET)
        if len(self.heard) >= MOST:
            self._ended(ENDLESS)
        return self.end is OPEN

    @property
    def seen(self):
        return self.heard, self.end

    def _ended(self, end):
        self.end = end
        return b""


@pytest.fixture(scope="module")
def seen(zoo):
    """What clients see who come to all streams at once and stay until no more is to come."""
    clients = {name: Client((str(zoo[name].address), zoo[name].port)) for name in STREAMS}
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for client in clients.values():
            selector.register(client.socket, selectors.EVENT_WRITE, client)

        def wanting():
            return not all(like(name, client.seen) for name, client in clients.items())

        while time.monotonic() < began + (LONG if wanting() else 2 * SLOW):
            for key, _ in selector.select(0.05):
                if key.data.look():
                    selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                else:
                    selector.unregister(key.fileobj)
    for client in clients.values():
        client.socket.close()
    return {name: client.seen for name, client in clients.items()}


def like(name, seen):
    """Say whether what was seen of an animal is what STREAMS says."""
    (begins, end), (heard, ended) = STREAMS[name], seen
    if end is DRIP:
        return heard.startswith(begins) and len(heard) < len(begins) + LONG and ended is OPEN
    return heard.startswith(begins) if end is ENDLESS else (heard, ended) == (begins, end)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_says_what_it_is_to_say_and_ends_as_it_is_to_end(seen, name):
    assert like(name, seen[name]), (seen[name], STREAMS[name])


@pytest.fixture
def trusting(zoo):
    return ssl.create_default_context(cafile=zoo.authority)


def wrapped(place, context):
    plain = socket.create_connection((str(place.address), place.port), LONG)
    return context.wrap_socket(plain, server_hostname=tls.NAME)


@pytest.mark.parametrize(
    "name, words",
    [
        ("expired", "certificate has expired"),
        ("other-name", "Hostname mismatch"),
        ("foreign", "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_is_wrong_in_one_way(zoo, trusting, name, words):
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        wrapped(zoo[f"tls-{name}"], trusting)


def test_the_well_certificate_is_trusted(zoo, trusting):
    with wrapped(zoo["tls-well"], trusting) as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")


def page(zoo, name, **more):
    """Return the status and the text of the web server *name*."""
    place = zoo[name]
    kind = http.client.HTTPSConnection if more else http.client.HTTPConnection
    with closing(kind(str(place.address), place.port, timeout=LONG, **more)) as connection:
        connection.request("GET", "/")
        with connection.getresponse() as response:
            return response.status, response.read().decode()


@pytest.mark.parametrize(
    "name", [name for name, animal in ANIMALS.items() if animal.well and animal.kind == "http"]
)
def test_a_well_web_server_is_well_to_any_client(zoo, name):
    status, text = page(zoo, name)

    assert status == 200
    assert TEXT in text


def test_web_servers_serve_inside_tls(zoo, trusting):
    # They have NAME; the client of the library asks for the address it connects to.
    trusting.check_hostname = False

    assert page(zoo, "https-well", context=trusting) == (200, PAGE.decode())
    assert page(zoo, "https-error", context=trusting)[0] == 500
    with pytest.raises(http.client.IncompleteRead):
        page(zoo, "https-body-too-short", context=trusting)


@pytest.mark.parametrize(
    "name, refused",
    [
        ("smtp-well", None),
        ("smtp-slow", None),
        ("smtp-by-bits", None),
        ("smtp-two-lines", None),
        ("smtp-closed", 554),
        ("smtp-busy", 421),
        ("smtp-no-helo", 502),
    ],
)
def test_a_mail_server_serves_or_refuses(zoo, name, refused):
    place = zoo[name]
    try:
        with smtplib.SMTP(str(place.address), place.port, timeout=LONG) as client:
            client.ehlo_or_helo_if_needed()
            code = None
    except smtplib.SMTPResponseException as refusal:
        code = refusal.smtp_code

    assert code == refused


NUMBER = b"\x12\x34"
ASKED = b"\3www\3zoo\7example\0\0\1\0\1"
QUERY = NUMBER + b"\1\0\0\1\0\0\0\0\0\0" + ASKED
WELL_REPLY = (
    NUMBER + b"\x81\x80\0\1\0\1\0\0\0\0" + ASKED + b"\xc0\x0c\0\1\0\1\0\0\0<\0\4\xc0\0\2\x50"
)
NO_REPLY = WELL_REPLY[:7] + b"\0" + WELL_REPLY[8:33]
AT = 33  # where the answer begins

# What is answered: from the port that was asked, and from another one.
DATAGRAMS = {
    "udp-well": ([b"I am well."], []),
    "udp-mute": ([], []),
    "udp-other": ([b"I am ill."], []),
    "udp-empty": ([b""], []),
    "udp-short": ([b"I "], []),
    "udp-elsewhere": ([], [b"I am well."]),
    "udp-crowd": ([b"I am well."], [b"I am ill."]),
    "dns-well": ([WELL_REPLY], []),
    "dns-other-address": ([WELL_REPLY[:-1] + b"\x51"], []),
    "dns-no-address": ([NO_REPLY], []),
    "dns-no-such-name": ([NO_REPLY.replace(b"\x81\x80", b"\x81\x83")], []),
    "dns-ill": ([NO_REPLY.replace(b"\x81\x80", b"\x81\x82")], []),
    "dns-unwilling": ([NO_REPLY.replace(b"\x81\x80", b"\x81\x85")], []),
    "dns-truncated": ([NO_REPLY.replace(b"\x81\x80", b"\x83\x80")], []),
    "dns-other-question": ([WELL_REPLY.replace(ASKED, b"\5other\7example\0\0\1\0\1")], []),
    "dns-other-number": ([b"\x12\x35" + WELL_REPLY[2:]], []),
    "dns-elsewhere": ([], [WELL_REPLY]),
    "dns-echo": ([QUERY], []),
    "dns-loop": ([WELL_REPLY.replace(b"\xc0\x0c", bytes([0xC0, AT]))], []),
    "dns-two-loops": (
        [
            WELL_REPLY[:AT]
            + bytes([0xC0, AT + 12])
            + WELL_REPLY[AT + 2 : -4]
            + bytes([0xC0, AT] * 2)
        ],
        [],
    ),
    "dns-beyond": ([WELL_REPLY.replace(b"\xc0\x0c", b"\xff\xff")], []),
    "dns-endless-label": ([WELL_REPLY.replace(b"\xc0\x0c", b"\x3f")], []),
    "dns-garbage": ([NUMBER + b"\xff" * 60], []),
    "dns-half": ([QUERY[:7]], []),
    "dns-mute": ([], []),
}


@pytest.mark.parametrize("name", DATAGRAMS)
def test_a_datagram_is_answered_as_it_is_to_be(zoo, name):
    place = str(zoo[name].address), zoo[name].port
    same, other = DATAGRAMS[name]
    heard = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LONG)
        client.sendto(QUERY if name.startswith("dns") else datagrams.ASKED, place)
        heard = [client.recvfrom(512) for _ in same + other]
        client.settimeout(0.02)
        with pytest.raises(socket.timeout):
            client.recvfrom(512)

    assert [data for data, source in heard if source == place] == same
    assert [data for data, source in heard if source != place] == other


@pytest.mark.parametrize("name", ["udp-refuses", "dns-refuses"])
def test_nobody_is_behind_a_closed_port_of_udp(zoo, name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LONG)
        client.connect((str(zoo[name].address), zoo[name].port))
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(512)


def test_every_animal_is_tried():
    tried = {*STREAMS, *DATAGRAMS, "udp-refuses", "dns-refuses"}
    inside = {name for name in ANIMALS if name.startswith("https-")}

    assert ANIMALS.keys() - tried - inside == {
        "tls-well", "tls-expired", "tls-other-name", "tls-foreign",
    }  # fmt: skip
    assert len(ANIMALS) >= 25


def test_a_client_that_has_left_leaves_nothing_behind():
    with Zoo(["http-mute", "http-endless-body", "http-keep-alive"]) as zoo:
        folder = Path(f"/proc/{zoo.pid}/fd")
        before = len(os.listdir(folder))
        for name in ("http-mute", "http-endless-body", "http-keep-alive") * 20:
            with socket.create_connection((str(zoo[name].address), zoo[name].port), LONG) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + LONG
        while len(os.listdir(folder)) > before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_zoo_is_open_at_any_address_and_ends_with_its_visit():
    with Zoo(["http-well"], "::1") as zoo:
        assert str(zoo["http-well"]).startswith("[::1]:")
        assert page(zoo, "http-well") == (200, PAGE.decode())

    assert not Path(f"/proc/{zoo.pid}").exists()
