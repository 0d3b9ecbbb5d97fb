import os
import signal
import threading

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
    heard = []
    loop.on_signal(signal.SIGUSR1, lambda: (heard.append("the signal"), loop.stop()))
    loop.after("send", 0.001, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    loop.after("too late", 5.0, loop.stop)
    loop.run()
    signal.signal(signal.SIGUSR1, before)

    assert heard == ["the signal"]


def test_a_loop_that_was_stopped_before_it_ran_does_not_run(loop):
    loop.after("never", 0.0, lambda: pytest.fail("it was stopped"))
    loop.stop()
    loop.run()


def test_once_stopped_it_calls_nobody_however_much_is_due(loop):
    pipes = [os.pipe(), os.pipe()]
    seen = []
    for reading, writing in pipes:
        os.write(writing, b"x")
        loop.watch(reading, lambda: (seen.append("descriptor"), loop.stop()))
    loop.after("timer", 0.0, lambda: seen.append("timer"))
    loop.run()
    for fd in (number for pipe in pipes for number in pipe):
        os.close(fd)

    assert seen == ["descriptor"]


def test_a_signal_that_comes_before_the_loop_runs_is_heard_in_it(loop):
    before = signal.getsignal(signal.SIGUSR1)
    loop.on_signal(signal.SIGUSR1, loop.stop)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.after("deadline", 5.0, lambda: pytest.fail("the signal was lost"))
    loop.run()
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_before_the_loop_runs_may_come_to_any_thread(loop):
    before = signal.getsignal(signal.SIGUSR1)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    loop.on_signal(signal.SIGUSR1, loop.stop)
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
    over.set()
    thread.join()
    loop.after("deadline", 5.0, lambda: pytest.fail("the signal was lost"))
    loop.run()
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_was_held_up_while_we_were_replaced_is_heard(loop):
    before = signal.getsignal(signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    loop.on_signal(signal.SIGUSR1, loop.stop)
    loop.after("deadline", 5.0, lambda: pytest.fail("the signal was lost"))
    loop.run()
    signal.signal(signal.SIGUSR1, before)


def test_of_two_signals_the_one_that_stops_is_the_last(loop):
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    seen = []
    for number in before:
        loop.on_signal(number, lambda: (seen.append("signal"), loop.stop()))

    def both():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)

    loop.after("send", 0.0, both)
    loop.run()
    for number, handler in before.items():
        signal.signal(number, handler)

    assert seen == ["signal"]


def test_what_takes_a_closed_descriptors_number_is_not_told_of_its_news(loop):
    pipes = [os.pipe(), os.pipe()]
    seen = []

    def replace(mine, other):
        seen.append("replaced")
        loop.unwatch(other[0])
        loop.unwatch(mine[0])
        for fd in other:
            os.close(fd)
        successor = os.pipe()  # the same numbers, nothing to read
        loop.watch(successor[0], lambda: seen.append(successor[0]))
        loop.after("end", 0.01, loop.stop)

    for mine, other in (pipes, pipes[::-1]):
        os.write(mine[1], b"x")
        loop.watch(mine[0], lambda mine=mine, other=other: replace(mine, other))
    loop.run()
    for fd in (number for pipe in pipes for number in pipe):
        os.close(fd)

    assert seen == ["replaced"]
