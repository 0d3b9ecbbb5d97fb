import socket
from contextlib import closing

import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Connect
from tests.checks.asking import ask, here, reserved

HOSTS = ["127.1.2.3", "::1"]
CONNECTED = (Outcome.PASS, "connected", None)


def listening(host, backlog=512):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=backlog)


@pytest.mark.parametrize("host", HOSTS)
def test_the_application_sees_a_connection_that_ends_in_good_order(host):
    with listening(host) as server:
        assert ask(here(server), Connect()) == CONNECTED
        connection, _ = server.accept()
    with closing(connection):
        connection.settimeout(5)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("host", HOSTS)
def test_the_application_sees_a_reset_where_that_is_wanted(host):
    with listening(host) as server:
        assert ask(here(server), Connect(reset=True)) == CONNECTED
        connection, _ = server.accept()
    connection.settimeout(5)
    with closing(connection), pytest.raises(ConnectionResetError):
        connection.recv(1)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("reset", [False, True])
def test_a_closed_port_refuses(host, reset):
    with reserved(host) as endpoint:
        refused = (Outcome.REFUSED, "connection refused", None)
        assert ask(endpoint, Connect(reset)) == refused


def test_a_server_that_takes_no_more_connections_is_silent():
    with listening("127.1.2.3", backlog=0) as full, socket.create_connection(full.getsockname()):
        silent = (Outcome.SILENT, "no answer within 0.05 s", None)
        assert ask(here(full), Connect(), 0.05) == silent
