import select
import socket
from contextlib import closing

import pytest

from lvs_nat.checks import sockets, tcp
from lvs_nat.checks.kind import Answer, unasked
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Check, Target
from lvs_nat.model import Endpoint
from tests.builders import at


def ask(endpoint, seconds=5.0):
    """Return the answer to one question, None if there is none within *seconds*."""
    try:
        asking = tcp.start(sockets.where(Target(endpoint, Check())))
    except OSError as error:
        return unasked(error.errno)
    with closing(asking), select.epoll() as poll:
        poll.register(asking, select.EPOLLOUT)
        for _, events in poll.poll(seconds):
            return tcp.proceed(asking, events)
    return None


def here(server):
    host, port = server.getsockname()[:2]
    return Endpoint(at(f"[{host}]:1" if ":" in host else f"{host}:1").address, port)


@pytest.mark.parametrize("host, family", [("127.1.2.3", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_server_passes_and_its_application_sees_none_of_200_probes(host, family):
    with socket.create_server((host, 0), family=family, backlog=512) as server:
        server.setblocking(False)
        for _ in range(200):
            assert ask(here(server)) == tcp.CONNECTED

        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("host, family", [("127.1.2.3", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_closed_port_refuses(host, family):
    with socket.socket(family) as reserved:
        reserved.bind((host, 0))

        assert ask(here(reserved)) == Answer(Outcome.REFUSED, "connection refused")


def test_a_server_that_takes_no_more_connections_is_silent():
    full = socket.create_server(("127.1.2.3", 0), backlog=0)
    with full, socket.create_connection(full.getsockname()):
        assert ask(here(full), 0.05) is None


def test_no_route_is_not_the_servers_fault():
    assert ask(at("255.255.255.255:80")) == Answer(
        Outcome.UNKNOWN, "this director has no route to it"
    )
