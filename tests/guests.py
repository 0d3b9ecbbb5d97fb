"""Tests that need IPVS, run in lab kernels by pytests of their own, reported as this session's."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _pytest.reports import TestReport

ROOT = Path(__file__).parent.parent
REPORTS = "LVS_NAT_TEST_REPORTS"  # in a guest: the folder to take orders from and report to
REQUIRED = "LVS_NAT_TEST_REQUIRED"  # set, in guests too, where nothing may be left out
LOOK = 0.05  # seconds between two looks at what the guests report
BOOT = 60  # seconds that a guest may take beside its tests; a busy machine needs 10


class Guest:
    """One lab kernel with a pytest that runs *items*; boots again if a test takes it down.

    A guest has one processor: *number* is for the next one to have another.
    """

    def __init__(self, items, limit, number):
        self.left = {item.nodeid: item for item in items}
        self._limit = limit
        processors = sorted(os.sched_getaffinity(0))
        self._processor = processors[number % len(processors)]
        self._begin()

    def _begin(self):
        self._folder = Path(tempfile.mkdtemp(prefix="lvs-nat-tests."))
        (self._folder / "tests").write_text("\n".join(self.left))
        self._reports = (self._folder / "reports").open("a+")
        self._running = None
        self._ran = False
        seconds = BOOT + sum(self._limit(item) for item in self.left.values())
        files = sorted({str(item.path) for item in self.left.values()})
        # A guest whose session was killed is of no use to anybody.
        bound = ("setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", self._processor)
        lab = (*map(str, bound), sys.executable, "-m", "lvs_nat.lab")
        # A guest's root may not look into the folder that this machine's root has for pytest.
        own = ("-p", "no:cacheprovider", "--basetemp", f"{self._folder}.tmp")
        pytest = (sys.executable, "-m", "pytest", "-q", *own)
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [*lab, *("-t", str(seconds), "-w", self._folder, "--"), *pytest, *files],
                cwd=ROOT,
                env={**os.environ, REPORTS: str(self._folder), "PYTEST_ADDOPTS": ""},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def news(self, config):
        """Give the item and report of each phase of a test that has ended by now."""
        if not self.left:
            return
        over = self._process.poll() is not None  # asked first: no line comes after it
        for line in self._lines():
            event, value = json.loads(line)
            if event == "start":
                self._running, self._ran = value, True
            elif event == "finish":
                self._running = None
                del self.left[value]
            else:
                report = config.hook.pytest_report_from_serializable(config=config, data=value)
                if isinstance(report.longrepr, list):  # JSON has no tuples
                    report.longrepr = tuple(report.longrepr)
                yield self.left[report.nodeid], report
        if over and self.left:
            yield from self._ended_early()

    def _lines(self):
        while line := self._reports.readline():
            if not line.endswith("\n"):  # half written: it is read when it is whole
                self._reports.seek(self._reports.tell() - len(line.encode()))
                return
            yield line

    def _ended_early(self):
        """Blame the test that ran, and go on with the others; without one, all have failed."""
        lost = [self._running] if self._running else list(self.left)
        text = f"the lab's kernel ended with status {self._process.returncode}:\n" + "".join(
            path.read_text(errors="replace")
            for path in (self._folder / "output", self._folder / "stack")
            if path.exists()
        )
        when = "call" if self._running else "setup"
        for name in lost:
            item = self.left.pop(name)
            yield item, TestReport(name, item.location, {}, "failed", text, when)
        self.stop()
        if self.left:
            self._begin()

    def stop(self):
        """End the guest, whatever it does; nothing if it has been stopped."""
        if self._reports.closed:
            return
        self._process.terminate()
        self._process.wait()
        self._reports.close()
        shutil.rmtree(self._folder)


class Guests:
    """The plugin of a session on a machine without a lab kernel."""

    def __init__(self, config, remote, limit):
        self._config = config
        self._remote = remote
        self._limit = limit
        self._guests = []

    def pytest_runtestloop(self, session):
        """Boot the guests; they work while this machine runs its own tests."""
        items = [item for item in session.items if self._remote(item)]
        if items and not session.config.option.collectonly:
            # What a guest compiles is lost with it.
            subprocess.run(
                [sys.executable, "-m", "compileall", "-q", ROOT / "lvs_nat"], capture_output=True
            )
            parts = enumerate(shares(items))
            self._guests = [Guest(part, self._limit, number) for number, part in parts]

    def pytest_runtest_protocol(self, item):
        """Report what comes from the guests until *item* is among it."""
        if not self._remote(item):
            return None
        while any(item.nodeid in guest.left for guest in self._guests):
            news = [new for guest in self._guests for new in guest.news(self._config)]
            for other, report in news:
                self._report(other, report)
                if item.session.shouldfail or item.session.shouldstop:
                    return True
            if not news:
                time.sleep(LOOK)
        return True

    @staticmethod
    def _report(item, report):
        name, place = item.nodeid, item.location
        if report.when == "setup":
            item.ihook.pytest_runtest_logstart(nodeid=name, location=place)
        item.ihook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            item.ihook.pytest_runtest_logfinish(nodeid=name, location=place)

    def pytest_sessionfinish(self):
        """End the guests, also those that -x or the keyboard made superfluous."""
        for guest in self._guests:
            guest.stop()


class Reporter:
    """The plugin of the session in a guest: runs the tests it was told, reports each phase."""

    def __init__(self, config, folder):
        self._config = config
        self._wanted = {
            name: place for place, name in enumerate((folder / "tests").read_text().split("\n"))
        }
        self._file = (folder / "reports").open("a")

    def pytest_collection_modifyitems(self, items):
        """Leave only what this guest was told to run."""
        items[:] = [item for item in items if item.nodeid in self._wanted]
        items.sort(key=lambda item: self._wanted[item.nodeid])

    def pytest_runtest_logstart(self, nodeid):
        """Tell that a test begins."""
        self._tell("start", nodeid)

    def pytest_runtest_logreport(self, report):
        """Tell how a phase of a test ended."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._tell("report", data)

    def pytest_runtest_logfinish(self, nodeid):
        """Tell that no more will be heard of a test."""
        self._tell("finish", nodeid)

    def pytest_unconfigure(self):
        """Close the file."""
        self._file.close()

    def _tell(self, event, value):
        self._file.write(json.dumps([event, value]) + "\n")
        self._file.flush()


def shares(items, number=2):
    """Return *items* as at most *number* lists of about equal work; a file's tests stay together.

    The longest come first, so that none of the lists ends in one of them.
    """
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    parts = [[] for _ in range(number)]
    work = [0] * number
    for tests in sorted(files.values(), key=lambda tests: sum(map(seconds, tests)), reverse=True):
        least = work.index(min(work))
        parts[least] += tests
        work[least] += sum(map(seconds, tests))
    return [part for part in parts if part]


def seconds(item):
    """Return about how long *item* takes: a lab takes long to stand, and some say so themselves."""
    limit = item.get_closest_marker("limit")
    if limit:
        return limit.args[0] / 10
    return 5 if item.get_closest_marker("lab") else 1
