import socket
from contextlib import closing

import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Connect
from tests.checks.asking import LATE, ask, here
from tests.checks.ports import HOSTS, listening, reserved

CONNECTED = (Outcome.PASS, "connected", None)


@pytest.mark.parametrize("host", HOSTS)
def test_the_application_sees_a_connection_that_ends_in_good_order(host):
    with listening(host) as server:
        assert ask(Connect(), here(server)) == CONNECTED
        connection, _ = server.accept()
    with closing(connection):
        connection.settimeout(5)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("host", HOSTS)
def test_the_application_sees_a_reset_where_that_is_wanted(host):
    with listening(host) as server:
        assert ask(Connect(reset=True), here(server)) == CONNECTED
        connection, _ = server.accept()
    connection.settimeout(5)
    with closing(connection), pytest.raises(ConnectionResetError):
        connection.recv(1)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("reset", [False, True])
def test_a_closed_port_refuses(host, reset):
    with reserved(host) as endpoint:
        refused = (Outcome.REFUSED, "connection refused", None)
        assert ask(Connect(reset), endpoint) == refused


def test_a_server_that_takes_no_more_connections_is_silent():
    with listening("127.1.2.3", backlog=0) as full, socket.create_connection(full.getsockname()):
        silent = (Outcome.SILENT, LATE, None)
        assert ask(Connect(), here(full), 0.05) == silent
