"""One question put to one server as the engine puts it: started, waited on, closed."""

import math
import select
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress

from lvs_nat.checks import kinds
from lvs_nat.checks.effort import LIMIT, TooSlow, patience
from lvs_nat.checks.kind import Answer, unasked
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Check, Target
from lvs_nat.model import Endpoint
from tests.builders import at

LATE = "no answer in time"  # where the engine says how long it has waited


def ask(question, endpoint, timeout=5.0, kind=None, **more):
    """Return the answer to *question*, asked once within *timeout* seconds.

    *more* is what else its Check says; kind how it is asked, if not as the product would.  Raises
    what its kind raises where it cannot be prepared.
    """
    kind = kind or kinds.load(question.kind)
    prepared = kind.prepare(Target(endpoint, Check(question, timeout=timeout, **more)))
    return ask_by(kind, prepared, timeout)


def ask_by(kind, prepared, timeout):
    """Return the answer to what *kind* has *prepared*, asked with patience."""
    try:
        with patience():
            return _ask(kind, prepared, timeout)
    except TooSlow as error:
        return Answer(Outcome.FAIL, str(error))


def _ask(kind, prepared, timeout):
    deadline = time.monotonic() + timeout
    try:
        asking = kind.start(prepared)
        while type(asking) is not Answer:
            asking = _wait(kind, asking, deadline)
    except OSError as error:
        return unasked(error.errno or 0)
    return asking


def _wait(kind, asking, deadline):
    """Return the answer to *asking*, or the question that goes on in its place."""
    with select.epoll() as poll, closing(asking):
        registered = None
        while True:
            wanted = asking.events if kind.steps else select.EPOLLOUT
            if registered is None:
                poll.register(asking.fileno(), wanted)
            elif wanted != registered:
                poll.modify(asking.fileno(), wanted)
            registered = wanted
            ready = poll.poll(max(0.0, math.ceil((deadline - time.monotonic()) * 100) / 100))
            if not ready:
                overdue = kind.overdue(asking) if kind.overdue else None
                return overdue or Answer(Outcome.SILENT, LATE)
            following = kind.proceed(asking, ready[0][1])
            if following is not None:
                return following


@contextmanager
def sparing():
    """Fail if what is done inside takes much of the processor's time, in this thread."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < 5 * LIMIT


def here(server):
    """Return the endpoint at which *server*, a socket, listens."""
    host, port = server.getsockname()[:2]
    return Endpoint(at(f"[{host}]:1" if ":" in host else f"{host}:1").address, port)


@contextmanager
def serving(conduct, address="127.0.0.1"):
    """Serve TCP: *conduct* is called with each connection, in a thread of its own."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=512) as server:
        faults = []

        def live(client):
            with client, suppress(ConnectionError):
                try:
                    conduct(client)
                except ConnectionError:
                    raise
                except Exception as error:
                    faults.append(error)

        def accept():
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=live, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield here(server)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes accept()
    assert faults == []
