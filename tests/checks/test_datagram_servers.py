"""Questions over UDP to real servers: BIND and FreeRADIUS, which log what they do not like."""

import os
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Dns, Radius, Udp
from lvs_nat.lab.topology import until
from tests.checks.asking import LATE, ask
from tests.checks.servers import HOST, Place, endpoint, found, free_ports, program

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("packages")]
SECRET = "xyzzy5461"
# More addresses than a datagram of 512 bytes has room for.
MANY = [f"192.0.2.{number}" for number in range(1, 101)]
ZONE = f"""\
$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
@ MX 10 mail
ns A 127.0.0.1
www CNAME web
web A 192.0.2.7
web AAAA 2001:db8::7
text TXT "a b" "c"
{"".join(f"many A {address}" + chr(10) for address in MANY)}
"""


@contextmanager
def named():
    (port,) = free_ports(1)
    with Place() as place:
        zone = place.file("zone", ZONE)
        conf = place.file("named.conf", f"""
            options {{
                directory "{place.path}";
                pid-file "{place / "pid"}";
                session-keyfile "{place / "session.key"}";
                listen-on port {port} {{ {HOST}; }};
                listen-on-v6 {{ none; }};
                recursion no;
                dnssec-validation no;
                minimal-responses yes;
            }};
            controls {{ }};
            zone "example.org" {{ type primary; file "{zone}"; }};
        """)  # fmt: skip
        command = (program("named"), "-g", "-n", "1", "-c", conf)
        with place.running(*command, ports=[port], ready="running") as server:
            yield SimpleNamespace(place=place, server=server, port=endpoint(port))


@contextmanager
def freeradius():
    login, accounts = free_ports(2)
    modules = found("rlm_pap.so", "usr/lib/freeradius", "usr/lib64/freeradius").parent
    words = found("dictionary", "usr/share/freeradius").parent
    with Place() as place:
        place.libraries.append(modules)
        place.file("dictionary", "")
        place.file("radiusd.conf", f"""
            raddbdir = {place.path}
            run_dir = {place.path}
            logdir = {place.path}
            libdir = {modules}
            correct_escapes = true
            log {{ destination = stdout }}
            security {{ reject_delay = 0, status_server = yes, allow_vulnerable_openssl = yes }}
            proxy_requests = no
            thread pool {{ start_servers = 1, max_servers = 2 }}
            client here {{
                ipaddr = {HOST}
                secret = {SECRET}
                require_message_authenticator = yes
            }}
            modules {{
                pap {{
                }}
            }}
            server default {{
                listen {{ type = auth, ipaddr = {HOST}, port = {login} }}
                listen {{ type = acct, ipaddr = {HOST}, port = {accounts} }}
                authorize {{
                    if (&User-Name == "nemo") {{
                        update control {{ &Cleartext-Password := "arctangent" }}
                    }}
                    pap
                }}
                authenticate {{
                    pap
                }}
            }}
        """)  # fmt: skip
        command = (
            *(program("freeradius"), "-f", "-l", "stdout", "-x"),
            *("-n", "radiusd", "-d", place.path, "-D", words),
        )
        with place.running(*command, ports=[], ready="Ready to process requests") as server:
            yield SimpleNamespace(
                place=place, server=server, login=endpoint(login), accounts=endpoint(accounts)
            )


@pytest.fixture(scope="module")
def bind():
    with named() as server:
        yield server


@pytest.fixture(scope="module")
def radius():
    with freeradius() as server:
        yield server


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    "question, outcome, words",
    [
        (Dns("example.org"), Outcome.PASS, "answered NOERROR"),
        (Dns("Example.ORG", "NS", "ns.example.org"), Outcome.PASS, "answered NOERROR"),
        (Dns("example.org", "MX", "10 mail.example.org"), Outcome.PASS, "answered NOERROR"),
        (Dns("www.example.org", "A", "192.0.2.7"), Outcome.PASS, "answered NOERROR"),
        (Dns("www.example.org", "CNAME", "web.example.org"), Outcome.PASS, "answered NOERROR"),
        (Dns("web.example.org", "AAAA", "2001:db8::7"), Outcome.PASS, "answered NOERROR"),
        (Dns("text.example.org", "TXT", '"a b" "c"'), Outcome.PASS, "answered NOERROR"),
        (
            Dns("web.example.org", "A", "192.0.2.8"), Outcome.FAIL,
            "answered 192.0.2.7, not 192.0.2.8",
        ),
        (Dns("no.example.org"), Outcome.FAIL, "answered NXDOMAIN, not NOERROR"),
        (Dns("no.example.org", rcode="NXDOMAIN"), Outcome.PASS, "answered NXDOMAIN"),
        (Dns("elsewhere.net"), Outcome.FAIL, "answered REFUSED, not NOERROR"),
        # Cut short over UDP, whole over TCP.
        (Dns("many.example.org", "A"), Outcome.PASS, "answered NOERROR"),
        (Dns("many.example.org", "A", MANY[-1]), Outcome.PASS, "answered NOERROR"),
    ],
)  # fmt: skip
def test_bind_is_asked_for_a_name(bind, question, outcome, words, tcp):
    assert ask(replace(question, tcp=tcp), bind.port) == (outcome, words, None)


@pytest.mark.parametrize(
    "question, port, outcome, words",
    [
        (Radius(SECRET), "login", Outcome.PASS, "answered Access-Accept"),
        (Radius(SECRET), "accounts", Outcome.PASS, "answered Accounting-Response"),
        (Radius(SECRET, "nemo:arctangent"), "login", Outcome.PASS, "answered Access-Accept"),
        (Radius(SECRET, "nemo:wrong"), "login", Outcome.FAIL, "answered Access-Reject"),
        (Radius(SECRET, "nobody:" + "p" * 128), "login", Outcome.FAIL, "answered Access-Reject"),
    ],
)
def test_freeradius_is_asked_for_its_health_or_a_login(radius, question, port, outcome, words):
    assert ask(question, getattr(radius, port)) == (outcome, words, None)


def test_freeradius_tells_nothing_to_who_does_not_know_the_secret(radius):
    for question in (Radius("guessed"), Radius("guessed", "nemo:arctangent")):
        assert ask(question, radius.login, 0.3) == (Outcome.SILENT, LATE, None)


def test_a_datagram_without_meaning_is_not_answered_by_either(bind, radius):
    """Which says nothing, where no answer is wanted."""
    unchecked = (Outcome.PASS, "nothing refused it: not checked", None)
    for port in (bind.port, radius.login):
        assert ask(Udp(send=b"?"), port, 0.1) == unchecked
        assert ask(Udp(send=b"?", reply=True), port, 0.1) == (Outcome.SILENT, LATE, None)


def stopped(pid):
    states = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(text.rpartition(")")[2].split()[0] == "T" for text in states)


@pytest.mark.parametrize(
    "daemon, question, port",
    [(named, Dns("example.org"), "port"), (freeradius, Radius(SECRET), "login")],
)
def test_a_server_that_hangs_is_silent_and_one_that_has_ended_refuses(daemon, question, port):
    with daemon() as server:
        os.kill(server.server.pid, signal.SIGSTOP)
        until(lambda: stopped(server.server.pid), 5, "all of its threads to stand still")
        try:
            assert ask(question, getattr(server, port), 0.3) == (Outcome.SILENT, LATE, None)
        finally:
            os.kill(server.server.pid, signal.SIGCONT)
        assert ask(question, getattr(server, port)).outcome is Outcome.PASS
        server.place.end(server.server)
        refused = (Outcome.REFUSED, "connection refused", None)
        assert ask(question, getattr(server, port)) == refused


def test_neither_has_anything_to_complain_of():
    with named() as bind, freeradius() as radius:
        for server, port, questions in (
            (bind, bind.port, (Dns("example.org"), Dns("www.example.org", "A", "192.0.2.7"))),
            (radius, radius.login, (Radius(SECRET), Radius(SECRET, "nemo:arctangent"))),
        ):
            before = server.place.log()
            for question in questions:
                assert ask(question, port).outcome is Outcome.PASS
            said = server.place.log()[len(before) :].lower()
            assert not [word for word in ("error", "warn", "blastradius") if word in said], said
