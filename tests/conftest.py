"""Where each test runs, and for how long it may."""

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lvs_nat.lab import kernel
from tests.guests import REPORTS, REQUIRED, Guests, Reporter

LIMIT = 120  # seconds for a test without a mark of its own
CAMPAIGN = 1800  # seconds for one that make fuzz tries thousands of times
GRACE = 5  # seconds more, or twice that, until its process is killed
# The guests would compile every test anew.
sys.dont_write_bytecode = False
# What make fuzz takes; a finding is kept as an example of its test.
settings.register_profile(
    "fuzz", max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck)
)
# What one example takes tells how busy the machine is; Limits below sees to what hangs.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption(
        "--require-kernel",
        action="store_true",
        help="fail unless tests marked kernel, lab and servers have run, and none was skipped",
    )
    parser.addoption(
        "--require-boot",
        action="store_true",
        help="fail unless tests marked boot have run, and none was skipped",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "outside: a test of the lab that runs on this machine")
    config.addinivalue_line("markers", "limit(seconds): how long it may run, instead of 120 s")
    config.pluginmanager.register(Limits())
    if config.getoption("numprocesses", None) and "not lab" not in config.option.markexpr:
        raise pytest.UsageError("-n is for tests without a guest: -m 'not kernel and not lab'")
    if os.environ.get(REPORTS):
        config.pluginmanager.register(Reporter(config, Path(os.environ[REPORTS])))
    elif not kernel.inside():
        config.pluginmanager.register(Guests(config, remote, limit))
    if config.option.require_kernel:
        config.pluginmanager.register(Census("kernel", "lab", "servers"))
        os.environ[REQUIRED] = "yes"
    if config.option.require_boot:
        config.pluginmanager.register(Census("boot"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Let this machine's own tests come first: the guests boot meanwhile."""
    items.sort(key=remote)


def remote(item):
    """Whether a test is for a lab kernel, seen from a session that has none."""
    marks = {mark.name for mark in item.iter_markers()}
    return bool(marks & {"kernel", "lab"}) and "outside" not in marks


def limit(item):
    """Return the seconds that each phase of *item* may take."""
    if item.get_closest_marker("fuzz") and item.config.getoption("--hypothesis-profile") == "fuzz":
        return CAMPAIGN
    mark = item.get_closest_marker("limit")
    return mark.args[0] if mark else LIMIT


class Limits:
    """Fails a test that takes too long, and kills its process if even that does not end it.

    The latter is wound up once for many tests: each time stops a thread and starts another.
    """

    def __init__(self):
        # The last words of a process that has to be killed.
        folder = os.environ.get(REPORTS)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._stacks = os.open(Path(folder, "stack"), flags, 0o644) if folder else os.dup(2)
        self._end = 0.0

    def _within(self, item):
        seconds = limit(item)

        def late(number, frame):
            pytest.fail(f"no end within {seconds} s")

        self._wind_up(seconds)
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _wind_up(self, seconds):
        left = self._end - time.monotonic()
        if not seconds + GRACE <= left <= seconds + 2 * GRACE:
            faulthandler.dump_traceback_later(seconds + 2 * GRACE, exit=True, file=self._stacks)
            self._end = time.monotonic() + seconds + 2 * GRACE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        return (yield from self._within(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        return (yield from self._within(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item):
        return (yield from self._within(item))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        if remote(item) and not kernel.inside():  # its guest is wound up for it
            self._let_go()

    def pytest_exception_interact(self):
        self._let_go()  # as pytest does, for those who debug

    def pytest_sessionfinish(self):
        self._let_go()

    def _let_go(self):
        faulthandler.cancel_dump_traceback_later()
        self._end = 0.0


# What a run of the tests that bear a mark says of itself.
RAN = {
    "kernel": "on a kernel with IPVS",
    "lab": "on a kernel with IPVS",
    "servers": "against real servers",
    "boot": "with the packages that were built",
}


class Census:
    """Counts the tests that had what they need, so that a run without it cannot pass."""

    def __init__(self, *marks):
        self._ran = dict.fromkeys(marks, 0)
        self._skipped = []

    def pytest_runtest_logreport(self, report):
        marks = (
            self._ran.keys() & report.keywords.keys() if "outside" not in report.keywords else ()
        )
        if marks and report.skipped:
            self._skipped.append(report.nodeid)
        if report.when == "call" and not report.skipped:
            for mark in marks:
                self._ran[mark] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        if self._skipped or not all(self._ran.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for mark, number in self._ran.items():
            terminalreporter.write_line(f"{number} tests marked {mark} ran {RAN[mark]}")
        for name in self._skipped:
            terminalreporter.write_line(f"skipped, and must not be: {name}", red=True)
