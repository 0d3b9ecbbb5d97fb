import signal
import time
from contextlib import nullcontext, suppress

import pytest

from lvs_nat.checks import effort
from lvs_nat.checks.effort import LIMIT, MOMENT, READING, SHORT, Effort, TooSlow, patience


@pytest.fixture(params=[False, True], ids=["for a moment", "with patience"])
def limit(request):
    """Return what may be spent; some of the tests are for both, some for patience alone."""
    with patience() if request.param else nullcontext():
        yield LIMIT if request.param else MOMENT


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
def test_work_that_takes_too_long_is_ended_whatever_it_makes_of_that(work, given, limit):
    began = time.thread_time()
    with pytest.raises(TooSlow, match="what it sent takes too long to read"):
        Effort(READING).spend(work, *given)
    assert time.thread_time() - began < 5 * limit


def test_work_that_goes_on_after_its_end_is_ended_again(limit):
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
    with patience():
        assert effort.spend(work_on, LIMIT / 4) == "done"
        for _ in range(4):
            with suppress(TooSlow):
                effort.spend(work_on, LIMIT / 4)
        with pytest.raises(TooSlow):
            effort.spend(work_on, 0.0)


def test_many_short_pieces_of_work_have_a_moment_together():
    effort = Effort(READING)
    ended = 0
    while ended < 100:
        try:
            effort.spend(work_on, MOMENT / 10)
        except TooSlow:
            break
        ended += 1
    assert ended <= 10


def test_what_is_long_has_a_moment_to_be_read_and_what_is_short_is_read():
    def work(data):
        return work_on(5 * MOMENT)

    assert effort.read(work, b"-" * SHORT) == "done"
    with pytest.raises(TooSlow):
        effort.read(work, b"-" * (SHORT + 1))


def test_an_error_of_the_work_is_told_as_it_is():
    with pytest.raises(ZeroDivisionError):
        Effort(READING).spend(lambda: 1 / 0)


def test_whoever_had_the_timer_has_it_again(limit):
    before = signal.getsignal(signal.SIGALRM)
    left, _ = signal.getitimer(signal.ITIMER_REAL)  # that of the limit of each test
    with pytest.raises(TooSlow):
        Effort(READING).spend(work_on, 60)

    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(left, abs=10 * LIMIT)
    assert signal.getsignal(signal.SIGALRM) is before
