import signal
import time
from contextlib import suppress

import pytest

from lvs_nat.checks.effort import LIMIT, READING, Effort, TooSlow


def work_on(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return "done"


def wrapping():
    try:
        work_on(60)
    except Exception as error:
        raise KeyError("an error of its own") from error


def ended_too_late():
    try:
        work_on(60)
    except TooSlow:
        return "done all the same"


def test_work_that_is_quick_is_done():
    assert Effort(READING).spend(work_on, 0.0) == "done"


@pytest.mark.parametrize(
    "work, given",
    [(work_on, (60,)), (wrapping, ()), (ended_too_late, ())],
    ids=["plain", "in an error of its own", "answered all the same"],
)
def test_work_that_takes_too_long_is_ended_whatever_it_makes_of_that(work, given):
    began = time.thread_time()
    with pytest.raises(TooSlow, match="what it sent takes too long to read"):
        Effort(READING).spend(work, *given)
    assert time.thread_time() - began < 5 * LIMIT


def test_work_that_goes_on_after_its_end_is_ended_again():
    ends = []

    def stubborn():
        for _ in range(3):
            try:
                work_on(60)
            except TooSlow:
                ends.append(1)

    with pytest.raises(TooSlow):
        Effort(READING).spend(stubborn)
    assert len(ends) == 3


def test_all_pieces_of_work_together_have_the_time_of_one():
    effort = Effort(READING)
    assert effort.spend(work_on, LIMIT / 4) == "done"
    for _ in range(4):
        with suppress(TooSlow):
            effort.spend(work_on, LIMIT / 4)
    with pytest.raises(TooSlow):
        effort.spend(work_on, 0.0)


def test_an_error_of_the_work_is_told_as_it_is():
    with pytest.raises(ZeroDivisionError):
        Effort(READING).spend(lambda: 1 / 0)


def test_nothing_is_left_of_the_timer():
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TooSlow):
        Effort(READING).spend(work_on, 60)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) is before
