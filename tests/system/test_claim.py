import os
import socket

import pytest

from lvs_nat.system.claim import WAITING, Claim, Claimed

NAME = f"\0lvs-nat/test/{os.getpid()}"


@pytest.fixture
def claim():
    claim = Claim(NAME)
    yield claim
    claim.close()


def test_a_second_director_is_told_the_pid_of_the_first(claim):
    with pytest.raises(Claimed) as caught:
        Claim(NAME)

    assert caught.value.pid == os.getpid()


def test_what_is_given_up_can_be_claimed_again(claim):
    claim.close()
    again = Claim(NAME)
    with pytest.raises(Claimed):
        Claim(NAME)
    again.close()


def test_a_stranger_who_has_the_name_is_no_director(claim):
    with pytest.raises(OSError, match="in use") as caught:
        Claim(NAME, trusted=())

    assert not isinstance(caught.value, Claimed)


def test_whoever_comes_is_turned_away_so_that_the_next_is_heard(claim):
    for _ in range(3 * WAITING):
        with pytest.raises(Claimed):
            Claim(NAME)
        claim.turn_away()
    claim.turn_away()  # nobody is there


def test_a_stranger_who_lets_nobody_ask_is_no_director():
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(NAME)
        with pytest.raises(OSError, match="in use"):
            Claim(NAME)
