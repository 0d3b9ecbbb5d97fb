import os
import signal

import pytest

from lvs_nat.daemon.loop import Loop


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def test_timers_run_in_the_order_of_their_times(loop):
    seen = []
    loop.after("late", 0.02, lambda: (seen.append("late"), loop.stop()))
    loop.after("soon", 0.001, lambda: seen.append("soon"))
    loop.run()

    assert seen == ["soon", "late"]


def test_a_timer_set_again_replaces_the_one_before_and_one_set_once_does_not(loop):
    seen = []
    loop.after("a", 0.0, lambda: seen.append("never"))
    loop.after("a", 0.001, lambda: seen.append("a"))
    loop.once("a", 0.0, lambda: seen.append("never"))
    loop.after("end", 0.01, loop.stop)
    loop.run()

    assert seen == ["a"]


def test_a_forgotten_timer_does_not_run(loop):
    loop.after("a", 0.0, lambda: pytest.fail("it was forgotten"))
    loop.forget("a")
    loop.after("end", 0.0, loop.stop)
    loop.run()

    assert not loop.pending("a")


def test_a_descriptor_is_read_when_there_is_something_to_read(loop):
    reading, writing = os.pipe()
    seen = []
    loop.watch(reading, lambda: (seen.append(os.read(reading, 9)), loop.stop()))
    loop.after("write", 0.001, lambda: os.write(writing, b"news"))
    loop.run()
    os.close(reading)
    os.close(writing)

    assert seen == [b"news"]


def test_a_callback_may_close_what_another_ready_one_is_about(loop):
    first, second = os.pipe(), os.pipe()
    seen = []

    def close_other(mine, other):
        seen.append(mine)
        loop.unwatch(other)
        loop.unwatch(mine)
        loop.stop()

    loop.watch(first[0], lambda: close_other(first[0], second[0]))
    loop.watch(second[0], lambda: close_other(second[0], first[0]))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    loop.run()
    for fd in (*first, *second):
        os.close(fd)

    assert len(seen) == 1


def test_a_signal_is_heard_in_the_loop(loop):
    before = signal.getsignal(signal.SIGUSR1)
    loop.on_signal(signal.SIGUSR1, loop.stop)
    loop.after("send", 0.001, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    loop.run()
    signal.signal(signal.SIGUSR1, before)


def test_a_loop_that_was_stopped_before_it_ran_does_not_run(loop):
    loop.after("never", 0.0, lambda: pytest.fail("it was stopped"))
    loop.stop()
    loop.run()
