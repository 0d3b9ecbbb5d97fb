"""The director's one loop: descriptors, named timers, signals."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from types import FrameType

# What it returns is for other callers.
Callback = Callable[[], object]


class Loop:
    """Calls back when a descriptor is ready, a timer is due or a signal has come.

    A timer has a name; setting it again replaces it.  Callbacks run one at a time and must
    not block.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: dict[str, tuple[float, Callback]] = {}
        self._signals: dict[int, Callback] = {}
        self._stopped = False
        self._wakeup: tuple[int, int, int] | None = None  # reading, writing, who was woken before

    def watch(self, fd: int, callback: Callback, *, writing: bool = False) -> None:
        """Call *callback* whenever *fd* can be read, or written."""
        events = selectors.EVENT_WRITE if writing else selectors.EVENT_READ
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def after(self, name: str, seconds: float, callback: Callback) -> None:
        """Call *callback* once in *seconds*, instead of what the timer *name* was to do."""
        self._timers[name] = (self._clock() + seconds, callback)

    def once(self, name: str, seconds: float, callback: Callback) -> None:
        """Like `after`, but a timer of that name that is already set stays as it is."""
        if not self.pending(name):
            self.after(name, seconds, callback)

    def pending(self, name: str) -> bool:
        """Say whether the timer *name* is set."""
        return name in self._timers

    def forget(self, name: str) -> None:
        """Stop the timer *name*, if it is set."""
        self._timers.pop(name, None)

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call *callback* from the loop when signal *number* has come, be it before `run`."""
        self._signals[number] = callback
        if self._wakeup is None:
            reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
            self._wakeup = reading, writing, before
            self.watch(reading, lambda: self._hear_signals(reading))
        signal.signal(number, _nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))  # held up while we were replaced

    def run(self) -> None:
        """Serve until `stop` is called; not at all if that was before."""
        try:
            while not self._stopped:
                self._turn()
        finally:
            self._hear_no_more()

    def stop(self) -> None:
        """End `run` once the callback that calls this returns; no other one is called."""
        self._stopped = True

    def close(self) -> None:
        self._selector.close()

    def _turn(self) -> None:
        now = self._clock()
        soonest = min((when for when, _ in self._timers.values()), default=now + 3600)
        for key, _ in self._selector.select(max(0.0, soonest - now)):
            # A callback before this one may have closed what this one is about, and opened
            # something else that has its number now.
            if not self._stopped and self._selector.get_map().get(key.fd) is key:
                key.data()
        now = self._clock()
        for name, (when, callback) in list(self._timers.items()):
            due = when <= now and self._timers.get(name) == (when, callback)
            if due and not self._stopped:
                del self._timers[name]
                callback()

    def _hear_signals(self, reading: int) -> None:
        for number in os.read(reading, 512):
            if number in self._signals and not self._stopped:
                self._signals[number]()

    def _hear_no_more(self) -> None:
        if self._wakeup is not None:
            reading, writing, before = self._wakeup
            self._wakeup = None
            signal.set_wakeup_fd(before)
            self.unwatch(reading)
            os.close(reading)
            os.close(writing)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells the loop."""
