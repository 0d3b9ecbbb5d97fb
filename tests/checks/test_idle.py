"""The connection that is kept between questions, and the engine that listens to it."""

import select
import socket
import struct
from contextlib import contextmanager

import pytest

from lvs_nat.checks import idle
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Idle, Tcp
from lvs_nat.core.setup import Check, Target, Way
from tests.builders import at
from tests.checks.asking import ask, here
from tests.checks.ports import HOSTS, listening, reserved
from tests.daemon.test_engine import World

ABORT = struct.pack("ii", 1, 0)


@contextmanager
def serving(host="127.1.2.3"):
    with listening(host) as server:
        server.settimeout(5)
        yield server


@contextmanager
def held(server, **check):
    kept = idle.Held(idle.prepare(Target(here(server), Check(Idle(), **check))))
    try:
        yield kept
    finally:
        kept.close()


def stirs(kept, seconds=5.0):
    """Say what comes of the next event on the connection; None if there is none."""
    with select.epoll() as poll:
        poll.register(kept.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        return kept.stirred() if poll.poll(seconds) else None


def hang_up(server, reset=False):
    connection, _ = server.accept()
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    connection.close()


@pytest.mark.parametrize("host", HOSTS)
def test_the_question_is_a_whole_handshake(host):
    with serving(host) as server:
        assert ask(Idle(), here(server)) == (Outcome.PASS, "connected", None)
        hang_up(server)
    with reserved(host) as endpoint:
        assert ask(Idle(), endpoint) == (Outcome.REFUSED, "connection refused", None)


def test_nothing_is_kept_before_the_server_has_passed():
    with serving() as server, held(server) as kept:
        assert kept.fileno() == -1
        kept.passed()
        assert kept.fileno() >= 0
        hang_up(server)


@pytest.mark.parametrize("reset", [False, True])
def test_the_end_of_the_connection_is_a_reason_to_ask(reset):
    with serving() as server, held(server) as kept:
        kept.passed()
        hang_up(server, reset)

        assert stirs(kept) is True
        assert kept.fileno() == -1


def test_a_refusal_of_the_connection_is_a_reason_to_ask():
    with serving() as server, held(server) as kept:
        server.close()
        kept.passed()

        assert stirs(kept) is True
        assert kept.fileno() == -1


def test_a_greeting_is_no_reason_and_does_not_keep_the_poll_awake():
    with serving() as server, held(server) as kept:
        kept.passed()
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 ready\r\n")

            assert stirs(kept) is False
            assert stirs(kept, 0.05) is None


def test_who_talks_without_end_is_hung_up_on():
    with serving() as server, held(server) as kept:
        kept.passed()
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"." * (idle.GREETING + 1))
            turns = 0
            while not stirs(kept):
                turns += 1

        assert turns <= 2
        assert kept.fileno() == -1


def test_a_server_that_hangs_up_at_once_is_tried_less_and_less_often():
    rests = []
    with serving() as server, held(server) as kept:
        for _ in range(9):
            passes = 0
            while kept.fileno() == -1:
                kept.passed()
                passes += 1
            rests.append(passes - 1)
            hang_up(server)
            assert stirs(kept) is True

    assert rests == [0, 1, 2, 4, 8, 16, 32, 64, 64]


def test_a_connection_that_lasted_is_opened_again_at_once():
    with serving() as server, held(server) as kept:
        for _ in range(3):  # as after some short ones
            while kept.fileno() == -1:
                kept.passed()
            hang_up(server)
            assert stirs(kept) is True
        while kept.fileno() == -1:
            kept.passed()
        for _ in range(idle.SHORT):
            kept.passed()
        hang_up(server)
        assert stirs(kept) is True

        kept.passed()
        assert kept.fileno() >= 0


def test_a_fault_of_our_own_only_leaves_the_server_unwatched():
    not_ours = Way(source=at("192.0.2.1:1").address)
    with serving() as server, held(server, way=not_ours) as kept:
        kept.passed()

        assert kept.fileno() == -1


def test_a_server_that_ends_is_asked_again_long_before_its_time():
    with serving() as server, World() as world:
        slow = {"interval": 3600.0, "timeout": 0.8, "fast": 0.02}
        watched = Target(here(server), Check(Idle(), **slow))
        beside = Target(here(server), Check(Tcp(), **slow))
        world.engine.ask([watched, beside])
        world.wait(0.1)
        asked, _ = server.accept()
        kept, _ = server.accept()
        asked.close()
        server.close()
        kept.close()
        world.wait(0.1)

    assert world.outcomes(watched)[:2] == [Outcome.PASS, Outcome.REFUSED]
    assert world.outcomes(beside)[:2] == [Outcome.PASS, Outcome.REFUSED]


def test_a_server_that_only_hangs_up_goes_on_passing():
    with serving() as server, World() as world:
        watched = Target(here(server), Check(Idle(), interval=1.0, timeout=0.8, fast=0.05))
        server.settimeout(0)
        world.engine.ask([watched])
        taken = 0
        for _ in range(30):
            world.wait(0.1)
            try:
                while True:
                    hang_up(server)
                    taken += 1
            except BlockingIOError:
                pass

    assert set(world.outcomes(watched)) == {Outcome.PASS}
    # Three seconds, asked once in each, and for each connection that was kept in between.
    assert taken <= 12
