import gc
import re
import socket
import ssl
import struct

import pytest

from lvs_nat.checks import kinds, tls
from lvs_nat.checks.kind import Answer
from lvs_nat.checks.secure import Layer
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Http, Tls, Verify
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import ask, ask_by, serving
from tests.checks.certificates import NAME, Authority, day, inside
from tests.checks.test_http import PASSED, saying, staying, whole

LATE = 0.3
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue()


def answer(conduct, question=Tls(), timeout=5.0):  # noqa: B008 - frozen
    with serving(conduct) as endpoint:
        return ask(question, endpoint, timeout)


def failed(words):
    return Answer(Outcome.FAIL, words)


def trusting(authority, **more):
    return Tls(**{"server_name": NAME, "verify": Verify.NAME, "ca": authority.path, **more})


versions = pytest.mark.parametrize("version", [V1_2, V1_3], ids=["1.2", "1.3"])


@versions
def test_a_handshake_passes_and_says_its_version(authority, certificate, version):
    context = authority.server(certificate, maximum_version=version)

    words = "TLSv1.2 handshake" if version is V1_2 else "TLSv1.3 handshake"
    assert answer(inside(context)) == (Outcome.PASS, words, None)


@versions
def test_a_server_whose_certificate_is_good_passes_and_says_until_when(authority, version):
    context = authority.server(authority.issue(ends=100), maximum_version=version)
    verdict = answer(inside(context), trusting(authority, min_days=90))

    assert verdict.outcome is Outcome.PASS
    assert verdict.words.endswith(f" handshake, certificate valid until {day(100):%Y-%m-%d}")


@versions
@pytest.mark.parametrize(
    "made, asked, words",
    [
        ({"begins": -9, "ends": -2}, {}, f"certificate expired on {day(-2):%Y-%m-%d}"),
        ({"begins": 2}, {}, f"certificate is not valid before {day(2):%Y-%m-%d}"),
        (
            {"names": ("a.example", "10.0.0.1")},
            {},
            "certificate is for other names: a.example, 10.0.0.1",
        ),
        (
            {"names": ("a.example", "b.example", "c.example", "d.example")},
            {},
            "certificate is for other names: a.example, b.example, c.example and 1 more",
        ),
        ({}, {"server_name": "10.0.0.1"}, f"certificate is for other names: {NAME}"),
        (
            {"ends": 10},
            {"min_days": 30},
            f"certificate expires on {day(10):%Y-%m-%d}, in 10 days",
        ),
        (
            {"ends": 10},
            {"min_days": 30, "verify": Verify.NONE},
            f"certificate expires on {day(10):%Y-%m-%d}, in 10 days",
        ),
        (
            {"begins": -9, "ends": -2},
            {"min_days": 1, "verify": Verify.NONE},
            f"certificate expired on {day(-2):%Y-%m-%d}",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_certificate_is_said(authority, version, made, asked, words):
    names = made.get("names", ())
    dates = {key: value for key, value in made.items() if key != "names"}
    context = authority.server(authority.issue(*names, **dates), maximum_version=version)

    assert answer(inside(context), trusting(authority, **asked)) == failed(words)


@pytest.mark.parametrize(
    "made, asked",
    [
        ({"names": ("a.example",)}, {"verify": Verify.CHAIN}),
        ({"names": ("*.example.org",)}, {}),
        ({"names": ("10.0.0.1",)}, {"server_name": "10.0.0.1"}),
        ({"begins": -9, "ends": -2}, {"verify": Verify.NONE}),
    ],
)
def test_a_certificate_is_believed_as_far_as_is_asked(authority, made, asked):
    names = made.pop("names", ())
    context = authority.server(authority.issue(*names, **made))

    assert answer(inside(context), trusting(authority, **asked)).outcome is Outcome.PASS


@versions
@pytest.mark.parametrize(
    "made, verify, words",
    [
        ({"begins": -9, "ends": -2}, Verify.NONE, f"; certificate expired on {day(-2):%Y-%m-%d}"),
        (
            {"ends": 10},
            Verify.NONE,
            f"; certificate expires on {day(10):%Y-%m-%d}, in 10 days",
        ),
        (
            {"ends": 10},
            Verify.NAME,
            f"; certificate expires on {day(10):%Y-%m-%d}, in 10 days",
        ),
        ({"ends": 100}, Verify.NONE, ""),
    ],
)
@pytest.mark.parametrize("http", [False, True], ids=["tls", "https"])
def test_a_certificate_too_old_for_others_is_said_where_its_dates_do_not_decide(
    authority, version, made, verify, words, http
):
    context = authority.server(authority.issue(**made), maximum_version=version)
    question = trusting(authority, verify=verify)
    if http:
        server = inside(context, lambda tls: tls.sendall(b"HTTP/1.0 200 OK\r\n\r\n"))
        verdict = answer(server, Http(tls=question))
    else:
        verdict = answer(inside(context), question)

    assert verdict.outcome is Outcome.PASS
    assert verdict.words == verdict.words.partition(";")[0] + words


def test_a_certificate_of_somebody_else_is_not_trusted(authority, tmp_path):
    stranger = Authority(tmp_path)
    context = stranger.server(stranger.issue())
    verdict = answer(inside(context), trusting(authority))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith("certificate is not trusted: ")


def test_without_an_authority_of_ones_own_the_systems_are_believed(authority, certificate):
    verdict = answer(inside(authority.server(certificate)), trusting(authority, ca=""))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith("certificate is not trusted: ")


@pytest.mark.parametrize("issuer", ["ours", "a stranger"])
def test_a_refused_certificate_leaves_nothing_for_the_collector(authority, tmp_path, issuer):
    """A connection of TLS is 100 kB; a server that is refused for days is asked every second."""
    issuer = authority if issuer == "ours" else Authority(tmp_path)
    context = issuer.server(issuer.issue("a.example"))
    gc.disable()
    try:
        verdict = answer(inside(context), trusting(authority))
        left = [it for it in gc.get_objects() if isinstance(it, Layer)]
    finally:
        gc.enable()

    assert verdict.outcome is Outcome.FAIL
    assert left == []


def test_the_second_look_at_a_refused_certificate_may_come_to_nothing(authority):
    """The server shows its certificate once, and never again."""
    context = authority.server(authority.issue("a.example"))
    seen = []

    def conduct(client):
        seen.append(client)
        if len(seen) == 1:
            inside(context)(client)
        else:
            client.recv(65536)

    verdict = answer(conduct, trusting(authority))

    assert len(seen) == 2
    assert verdict.outcome is Outcome.FAIL
    assert verdict.words.startswith("certificate is not trusted: Hostname mismatch")


@versions
def test_a_server_that_wants_our_certificate_gets_it(authority, certificate, version):
    context = authority.server(certificate, maximum_version=version, verify_mode=ssl.CERT_REQUIRED)
    ours = authority.file("ours", authority.issue("client.example.org"))

    verdict = answer(inside(context), Tls(certificate=ours, key=ours))
    assert verdict.outcome is Outcome.PASS


@versions
def test_a_server_that_does_not_let_us_in_fails(authority, certificate, version, tmp_path):
    """In TLS 1.3 that is told only once our own side of the handshake is over."""
    stranger = Authority(tmp_path)
    theirs = stranger.file("theirs", stranger.issue())
    context = authority.server(certificate, maximum_version=version, verify_mode=ssl.CERT_REQUIRED)
    without = answer(inside(context))
    with_another = answer(inside(context), Tls(certificate=theirs, key=theirs))

    assert without.outcome is with_another.outcome is Outcome.FAIL
    assert re.fullmatch("TLS: .*alert (certificate required|handshake failure)", without.words)
    assert with_another.words == "TLS: tlsv1 alert unknown ca"


@versions
def test_a_server_that_says_nothing_more_has_nothing_against_us(authority, certificate, version):
    context = authority.server(certificate, maximum_version=version)

    def stay(tls):
        with socket.socket(fileno=tls.detach()) as bare:
            while bare.recv(65536):
                pass

    assert answer(inside(context, stay), timeout=LATE).outcome is Outcome.PASS


def test_a_reset_after_the_handshake_is_no_news(authority, certificate):
    context = authority.server(certificate)

    def reset(tls):
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tls.recv(1)
        socket.socket(fileno=tls.detach()).close()

    assert answer(inside(context, reset)).outcome is Outcome.PASS


def test_what_the_server_says_first_is_not_listened_to(authority, certificate):
    context = authority.server(certificate)

    verdict = answer(inside(context, lambda tls: tls.sendall(b"220 mail.example.org\r\n")))
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize("name", [NAME, ""])
def test_the_name_of_the_server_is_told_to_it(authority, certificate, name):
    context = authority.server(certificate)
    told = []
    context.sni_callback = lambda tls, name, context: told.append(name)

    assert answer(inside(context), Tls(server_name=name)).outcome is Outcome.PASS
    assert told == [name or None]


@pytest.mark.parametrize(
    "spoken, words",
    [
        (["h2", "http/1.1"], ""),
        (["http/1.1"], "the server does not speak h2 (ALPN)"),
        ([], "the server does not speak h2 (ALPN)"),
    ],
)
def test_a_protocol_can_be_wanted(authority, certificate, spoken, words):
    context = authority.server(certificate)
    if spoken:
        context.set_alpn_protocols(spoken)
    verdict = answer(inside(context), Tls(alpn="h2"))

    assert verdict.outcome is (Outcome.FAIL if words else Outcome.PASS)
    assert words in verdict.words


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_servers_pass_where_their_certificate_is_not_looked_at(authority, certificate, version):
    context = authority.server(certificate)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = getattr(ssl.TLSVersion, version)
    context.set_ciphers("ALL:@SECLEVEL=0")

    assert answer(inside(context)).words == f"{version.replace('_', '.')} handshake"
    assert answer(inside(context), trusting(authority)).outcome is Outcome.FAIL


@pytest.mark.parametrize("verify", [Verify.NONE, Verify.CHAIN])
def test_no_server_can_have_us_calculate_in_a_group_of_its_own(authority, verify):
    context = tls.secure.Secure(Tls(verify=verify, ca=authority.path)).context
    exchanges = {cipher["kea"] for cipher in context.get_ciphers()}

    assert "kx-ecdhe" in exchanges
    assert "kx-dhe" not in exchanges


RECORD = b"\x16\x03\x03\x40\x00"  # the header of a handshake record of 16,384 bytes


@pytest.mark.parametrize(
    "said, verdict",
    [
        (b"", failed("connection closed before the TLS handshake was complete")),
        (RECORD, failed("connection closed before the TLS handshake was complete")),
        (b"HTTP/1.1 400 Bad Request\r\n", failed("speaks no TLS: 'HTTP/1.1 400 Bad Request'")),
        (b"\0\1\2", failed(r"speaks no TLS: '\x00\x01\x02'")),
        (b"\x15\x03\x03\x00\x02\x02\x28", failed("TLS: sslv3 alert handshake failure")),
        (RECORD + bytes(1 << 20), failed("TLS: wrong version number")),
    ],
)
def test_what_is_no_handshake_fails(said, verdict):
    def conduct(client):
        client.recv(65536)
        client.sendall(said)

    assert answer(conduct) == verdict


@pytest.mark.parametrize(
    "said, verdict",
    [
        (b"", Answer(Outcome.MUTE, "connected, but no TLS handshake in time")),
        (RECORD, failed("time is up before the TLS handshake was complete")),
    ],
)
def test_a_handshake_that_is_not_over_in_time_fails(said, verdict):
    def conduct(client):
        client.sendall(said)
        while client.recv(65536):
            pass

    assert answer(conduct, timeout=LATE) == verdict


def test_a_handshake_that_never_ends_is_given_up(authority):
    """Warnings that mean nothing may come for ever."""
    warning = b"\x15\x03\x03\x00\x02\x01\x5a"

    def conduct(client):
        client.recv(65536)
        while True:
            client.sendall(warning * 1000)

    assert answer(conduct).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "question, words",
    [
        (Tls(verify=Verify.CHAIN, ca="/nowhere/ca.pem"), "/nowhere/ca.pem"),
        (Tls(certificate="/nowhere/c.pem", key="/nowhere/k.pem"), "/nowhere/c.pem"),
        (Tls(verify=Verify.CHAIN, ca=__file__), f"ca = {__file__}: no certificate or crl found"),
        (Tls(certificate=__file__, key=__file__), f"certificate = {__file__}, key = {__file__}: "),
        (Tls(server_name="."), "server_name = ."),
        (Tls(server_name="a" * 300), "server_name = aaa"),
    ],
)
def test_settings_that_cannot_be_used_are_known_before_anybody_is_asked(question, words):
    with pytest.raises((OSError, ValueError), match=re.escape(words)):
        tls.prepare(Target(at("127.0.0.1:1"), Check(question)))


def test_one_context_serves_all_and_a_changed_file_makes_another(authority):
    question = trusting(authority)
    one, two = (tls.secure.Secure(question).context for _ in range(2))
    assert one is two

    with open(authority.path, "a") as file:
        file.write("\n")
    assert tls.secure.Secure(question).context is not one


def test_authorities_are_those_of_the_file_as_it_is_whenever_a_server_is_asked(
    authority, certificate, tmp_path
):
    another, believed = Authority(tmp_path), tmp_path / "believed.pem"
    believed.write_text(another.text)
    broken = f"; going on with the former files: ca = {believed}: no certificate or crl found"
    missing = f"; going on with the former files: {believed}: No such file or directory"
    with serving(inside(authority.server(certificate))) as endpoint:
        question = trusting(authority, ca=str(believed))
        prepared = tls.prepare(Target(endpoint, Check(question)))
        for text, outcome, words in [
            (another.text, Outcome.FAIL, ""),
            ("half of a certif", Outcome.FAIL, broken),
            (authority.text, Outcome.PASS, ""),
            ("half of a certif", Outcome.PASS, broken),
            (None, Outcome.PASS, missing),
            ("half of a certif", Outcome.PASS, broken),
            (authority.text, Outcome.PASS, ""),
        ]:
            if text is None:
                believed.unlink()
            else:
                believed.write_text(text)
            found = ask_by(kinds.load(question.kind), prepared, 5.0)

            assert found.outcome is outcome
            assert "".join(found.words.partition("; going on")[1:]) == words


def test_bad_files_are_read_once_not_for_every_probe(authority, tmp_path):
    believed = tmp_path / "believed.pem"
    believed.write_text(authority.text)
    secure = tls.secure.Secure(trusting(authority, ca=str(believed)))
    believed.write_text("half of a certif")
    secure.renew()
    before = tls.secure._context.cache_info().misses
    for _ in range(3):
        secure.renew()

    assert tls.secure._context.cache_info().misses == before
    assert "no certificate or crl found" in secure.outdated
    believed.chmod(0o640)  # who has mended no more than the permissions has changed it, too
    secure.renew()
    assert tls.secure._context.cache_info().misses == before + 1


@versions
def test_http_goes_on_inside_tls(authority, certificate, version):
    context = authority.server(certificate, maximum_version=version)
    page = whole(b"I am well" + b"." * 40_000)

    assert (
        answer(inside(context, saying(page)), Http(text="well", tls=trusting(authority))) == PASSED
    )


def test_no_more_is_read_inside_tls_than_outside(authority, certificate):
    conduct = inside(authority.server(certificate), saying(whole(b"." * (1 << 22) + b"end")))

    assert answer(conduct, Http(tls=Tls())) == PASSED
    assert answer(conduct, Http(tls=Tls(), text="end")) == failed(
        "its body has no 'end' in its first 64 KiB"
    )


def test_a_web_server_whose_certificate_is_bad_is_told_nothing(authority):
    heard = []
    context = authority.server(authority.issue("a.example"))
    verdict = answer(
        inside(context, lambda tls: heard.append(tls.recv(1))), Http(tls=trusting(authority))
    )

    assert verdict == failed("certificate is for other names: a.example")
    assert not any(heard)


@pytest.mark.parametrize(
    "said, verdict",
    [
        (b"", failed("connection closed after 0 bytes of its head")),
        (b"HTTP/1.1 503 Busy\r\n\r\n", failed("status 503")),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            failed("connection closed after 5 of 9 bytes of its body"),
        ),
    ],
)
def test_a_web_server_inside_tls_is_judged_as_any(authority, certificate, said, verdict):
    conduct = inside(authority.server(certificate), saying(said))

    assert answer(conduct, Http(tls=Tls())) == verdict


def test_a_silent_web_server_inside_tls_is_silent(authority, certificate):
    verdict = answer(inside(authority.server(certificate), staying(b"")), Http(tls=Tls()), LATE)

    assert verdict == (Outcome.MUTE, "connected, but no answer in time", None)
