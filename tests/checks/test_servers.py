"""Checks against real servers, which must find them well or ill, and leave no complaints."""

import os
import signal
from functools import partial

import pytest

from lvs_nat.checks.kind import Answer
from lvs_nat.core.health import Outcome
from lvs_nat.core.presets import conversation
from lvs_nat.core.questions import Grpc, Http, Tcp, Tls, Verify
from tests.checks import daemons
from tests.checks.asking import ask
from tests.checks.certificates import NAME, Authority
from tests.checks.daemons import ADMIN, PASSWORD, USER

pytestmark = pytest.mark.servers
ANY = Tls()
LATE = 0.3


@pytest.fixture(scope="module")
def authority(packages, tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def running(start):
    """Return the fixture of a server that *start* starts once for all tests."""

    @pytest.fixture(scope="module")
    def server(authority):
        with start(authority) as server:
            yield server

    return server


nginx = running(daemons.nginx)
exim = running(daemons.exim)
dovecot = running(daemons.dovecot)
vsftpd = running(daemons.vsftpd)
redis = running(daemons.redis)
guarded_redis = running(lambda authority: daemons.redis(authority, "--requirepass", PASSWORD))
memcached = running(lambda _: daemons.memcached())
mariadb = running(daemons.mariadb)
postgresql = running(partial(daemons.postgresql, secure=False))
secure_postgresql = running(partial(daemons.postgresql, secure=True))
slapd = running(daemons.slapd)


def passed(words):
    return Answer(Outcome.PASS, words)


def failed(words):
    return Answer(Outcome.FAIL, words)


OK = passed("status 200")


@pytest.mark.parametrize(
    "question, verdict",
    [
        (Http(), OK),
        (Http(text="well"), OK),
        (Http(text="ill"), failed("its body has no 'ill'")),
        (Http(method="HEAD"), OK),
        (Http("/page.shtml", text="page.shtml is made in chunks"), OK),
        (Http("/large", text="begin"), OK),
        (Http("/large", text="end"), failed("its body has no 'end' in its first 64 KiB")),
        (Http("/state.json", json="/queue/1=1"), OK),
        (Http("/state.json", json="/state=down"), failed("/state is 'ok'")),
        (Http("/nowhere"), failed("status 404")),
        (Http("/nowhere", status=((404, 404),)), passed("status 404")),
        (Http("/ill"), failed("status 503")),
        (Http("/nothing"), passed("status 204")),
        (Http("/moved", redirects=1, text="well"), OK),
        (
            Http("/elsewhere", redirects=1),
            failed("redirected to another server: 'https://www.example.org/'"),
        ),
        (Http(method="POST", body="a=b"), failed("status 405")),
        (Http("/private"), failed("status 401")),
        (Http("/private", login=f"{USER}:{PASSWORD}"), OK),
        (Http("/private", login=f"{USER}:x"), failed("status 401")),
        (Http(headers=("X: " + "y" * 20_000,)), failed("status 400")),
    ],
)
def test_nginx_is_asked_for_a_page(nginx, question, verdict):
    # The address in a redirect without a host of its own is the one that was asked.
    assert ask(question, nginx.plain) == verdict


def test_nginx_is_asked_inside_tls_as_far_as_it_is_trusted(nginx, authority):
    trusted = Tls(NAME, Verify.NAME, authority.path)
    another = Tls("a.example", Verify.NAME, authority.path)

    assert ask(Http(tls=trusted, text="well"), nginx.secure) == OK
    assert ask(Http(tls=trusted, text="well"), nginx.old) == OK
    assert ask(Http(tls=ANY), nginx.expired).outcome is Outcome.PASS
    assert ask(Http(tls=ANY), nginx.expired).words.startswith("status 200; certificate expired on ")
    assert ask(Http(tls=another), nginx.secure) == failed(f"certificate is for other names: {NAME}")
    assert ask(Http(tls=trusted), nginx.expired).words.startswith("certificate expired on ")
    assert ask(Http(tls=ANY), nginx.plain).words.startswith("speaks no TLS: 'HTTP/1.1 400 Bad Requ")


@pytest.mark.parametrize(
    "port, question, verdict",
    [
        ("secure", Tls(), passed("TLSv1.3 handshake")),
        ("secure", Tls(alpn="h2"), passed("TLSv1.3 handshake")),
        ("old", Tls(), passed("TLSv1.2 handshake")),
        ("old", Tls(alpn="h2"), failed("TLS: tlsv1 alert no application protocol")),
    ],
)
def test_nginx_shakes_hands(nginx, port, question, verdict):
    assert ask(question, getattr(nginx, port)) == verdict


GOOD, WRONG = (USER, PASSWORD), (USER, "falsch")


@pytest.mark.parametrize(
    "server, port, name, login, tls, refusal",
    [
        ("exim", "plain", "smtp", (), None, ""),
        ("exim", "plain", "smtp", (), ANY, ""),
        ("exim", "plain", "submission", GOOD, ANY, ""),
        ("exim", "plain", "submission", GOOD, None, ""),
        ("exim", "plain", "submission", WRONG, ANY, "^235, got '535 Incorrect authentication"),
        ("exim", "secure", "smtps", (), ANY, ""),
        ("exim", "secure", "smtps", GOOD, ANY, ""),
        ("dovecot", "imap", "imap", (), None, ""),
        ("dovecot", "imap", "imap", (), ANY, ""),
        ("dovecot", "imap", "imap", GOOD, ANY, ""),
        ("dovecot", "imaps", "imaps", GOOD, ANY, ""),
        ("dovecot", "pop3", "pop3", (), None, ""),
        ("dovecot", "pop3", "pop3", (), ANY, ""),
        ("dovecot", "pop3", "pop3", GOOD, ANY, ""),
        ("dovecot", "pop3s", "pop3s", GOOD, ANY, ""),
        ("dovecot", "imap", "imap", WRONG, None, "^b OK, got 'b NO [AUTHENTICATIONFAILED]"),
        ("vsftpd", "plain", "ftp", (), None, ""),
        ("vsftpd", "plain", "ftp", (), ANY, ""),
        ("vsftpd", "plain", "ftp", ("anonymous", "a@b"), None, ""),
        ("vsftpd", "plain", "ftp", ("anonymous", "a@b"), ANY, ""),
        ("vsftpd", "plain", "ftp", GOOD, None, "^(?:230|331), got '530 This FTP server is anony"),
        ("redis", "plain", "redis", (), None, ""),
        ("redis", "secure", "redis", (), ANY, ""),
        ("guarded_redis", "plain", "redis", (), None, r"^\+PONG, got '-NOAUTH Authentication"),
        ("guarded_redis", "plain", "redis", ("default", PASSWORD), None, ""),
        ("guarded_redis", "secure", "redis", ("default", PASSWORD), ANY, ""),
        ("guarded_redis", "plain", "redis", ("default", "x"), None, r"^\+OK, got '-WRONGPASS"),
        ("guarded_redis", "plain", "redis", ("another", "x"), None, r"^\+OK, got '-WRONGPASS"),
        ("memcached", "plain", "memcached", (), None, ""),
        ("mariadb", "plain", "mysql", (), None, ""),
        ("mariadb", "plain", "mysql", (), ANY, ""),
        ("mariadb", "plain", "mysql", ("check",), None, ""),
        ("mariadb", "plain", "mysql", ("check",), ANY, ""),
        ("mariadb", "plain", "mysql", (USER,), None, r"^(?s:.){4}\x00, got "),
        ("postgresql", "plain", "pgsql", (), None, ""),
        ("postgresql", "plain", "pgsql", (USER,), None, ""),
        ("postgresql", "plain", "pgsql", (), ANY, "^S, got 'N'"),
        ("secure_postgresql", "plain", "pgsql", (), None, ""),
        ("secure_postgresql", "plain", "pgsql", (), ANY, ""),
        ("secure_postgresql", "plain", "pgsql", (USER,), None, ""),
        ("secure_postgresql", "plain", "pgsql", (USER,), ANY, ""),
        ("slapd", "plain", "ldap", (), None, ""),
        ("slapd", "plain", "ldap", (), ANY, ""),
        ("slapd", "plain", "ldap", (ADMIN, PASSWORD), ANY, ""),
        ("slapd", "secure", "ldaps", (ADMIN, PASSWORD), ANY, ""),
        ("slapd", "plain", "ldap", (ADMIN, "x"), None, r"^\x30"),
    ],
)
def test_a_conversation_tells_who_is_let_in(request, server, port, name, login, tls, refusal):
    endpoint = getattr(request.getfixturevalue(server), port)
    verdict = ask(conversation(name, *login, tls=tls), endpoint)

    if refusal:
        assert verdict.outcome is Outcome.FAIL
        assert verdict.words.startswith(f"expected {refusal}")
    else:
        assert verdict == passed(f"{name} conversation complete")


@pytest.mark.parametrize(
    "daemon, asked, complaints",
    [
        (
            daemons.nginx,
            {
                "plain": [Http(), Http("/nowhere"), Http("/page.shtml"), Http(method="HEAD")],
                "secure": [Http(tls=ANY), Tls(), Tls(alpn="h2")],
                "old": [Http(tls=ANY), Tls()],
            },
            ["reset by peer", "broken", "prematurely"],
        ),
        (
            daemons.exim,
            {
                "plain": [conversation("smtp"), conversation("submission", *GOOD, tls=ANY)],
                "secure": [conversation("smtps", tls=ANY), Tls()],
            },
            ["error", "reset", "lost connection", "non-properly"],
        ),
        (
            daemons.dovecot,
            {
                "imap": [conversation("imap"), conversation("imap", *GOOD, tls=ANY)],
                "pop3": [conversation("pop3"), conversation("pop3", *GOOD, tls=ANY)],
                "imaps": [conversation("imaps", tls=ANY)],
            },
            ["SSL_accept", "SSL_read", "reset"],
        ),
        (
            daemons.redis,
            {"plain": [conversation("redis")], "secure": [conversation("redis", tls=ANY), Tls()]},
            ["Error"],
        ),
        (
            partial(daemons.postgresql, secure=False),
            {"plain": [conversation("pgsql"), conversation("pgsql", USER)]},
            ["could not", "FATAL", "unexpected"],
        ),
        (
            partial(daemons.postgresql, secure=True),
            {"plain": [conversation("pgsql", tls=ANY), conversation("pgsql", USER, tls=ANY)]},
            ["could not", "FATAL", "unexpected"],
        ),
        (
            daemons.mariadb,
            {"plain": [conversation("mysql", "check"), conversation("mysql", "check", tls=ANY)]},
            ["Aborted connection", "denied"],
        ),
        (
            daemons.slapd,
            {
                "plain": [conversation("ldap"), conversation("ldap", ADMIN, PASSWORD, tls=ANY)],
                "secure": [conversation("ldaps", tls=ANY)],
            },
            ["connection lost"],
        ),
    ],
    ids=[
        "nginx",
        "exim",
        "dovecot",
        "redis",
        "postgresql",
        "postgresql in TLS",
        "mariadb",
        "slapd",
    ],
)
def test_a_server_that_is_asked_has_nothing_to_complain_of(authority, daemon, asked, complaints):
    """What it logs once a second is what its administrator sees of us."""
    with daemon(authority) as server:
        for port, questions in asked.items():
            for question in questions:
                heard = ask(question, getattr(server, port))
                assert heard.outcome not in {Outcome.SILENT, Outcome.MUTE}
        server.place.end(server.server)
        log = server.place.log()

    assert [line for line in log.splitlines() if any(it in line for it in complaints)] == []


def test_a_server_that_hangs_is_silent_though_it_can_be_connected_to(redis):
    """What TCP alone can never find."""
    asked = conversation("redis")
    os.kill(redis.server.pid, signal.SIGSTOP)
    try:
        hung, connected = ask(asked, redis.plain, LATE), ask(Tcp(), redis.plain, LATE)
    finally:
        os.kill(redis.server.pid, signal.SIGCONT)

    assert hung == (Outcome.MUTE, "connected, but no answer in time", None)
    assert connected.outcome is Outcome.PASS
    assert ask(asked, redis.plain).outcome is Outcome.PASS


STATES = {"": "SERVING", "shop.Cart": "SERVING", "shop.Till": "NOT_SERVING", "x" * 300: "SERVING"}


@pytest.mark.parametrize(
    "service, verdict",
    [
        ("", passed("SERVING")),
        ("shop.Cart", passed("SERVING")),
        ("shop.Till", failed("NOT_SERVING")),
        ("x" * 300, passed("SERVING")),
        ("shop.Nothing", failed("gRPC status '5': no such service")),
    ],
)
def test_a_grpc_service_passes_while_it_is_serving(authority, service, verdict):
    with daemons.grpcio(authority, **STATES) as server:
        assert ask(Grpc(service), server.plain) == verdict
        assert ask(Grpc(service, Tls(NAME, Verify.NAME, authority.path)), server.secure) == verdict


def test_a_grpc_server_without_the_health_protocol_fails(authority):
    with daemons.grpcio(authority) as server:
        assert ask(Grpc(), server.plain) == failed("gRPC status '12': no health service")
        assert ask(Grpc(), server.secure).outcome is Outcome.FAIL
