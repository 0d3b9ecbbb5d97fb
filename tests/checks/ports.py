"""Ports of loopback for tests to ask at."""

import socket
from contextlib import contextmanager

from tests.checks.asking import here

HOSTS = ("127.1.2.3", "::1")


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listening(host="127.1.2.3", backlog=512):
    """Return a server's socket; nobody accepts its connections."""
    return socket.create_server((host, 0), family=family(host), backlog=backlog)


@contextmanager
def reserved(host="127.1.2.3", kind=socket.SOCK_STREAM):
    """Yield the endpoint of a port that is nobody's, and stays so."""
    with socket.socket(family(host), kind) as holder:
        holder.bind((host, 0))
        yield here(holder)
