"""The rule language held to ipvsadm itself: one table in the kernel, whoever loads the rules."""

import os
import pty
import subprocess
import tty

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lvs_nat.core import rules
from lvs_nat.core.listing import listing
from lvs_nat.core.plan import plan
from lvs_nat.core.spelling import spell
from lvs_nat.model import Ruleset
from lvs_nat.system.ipvs import Ipvs
from tests.differences import DIFFERENCES, REFUSED, as_ipvsadm
from tests.rulesets import tables, variants

pytestmark = pytest.mark.kernel
patient = {
    "deadline": None,
    "database": None,
    # Making a failing rule set smaller takes longer than a test may.
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


class Restorer:
    """One `ipvsadm -R` for any number of rule sets, since it is slow to start.

    It obeys listing commands too, and its output is a terminal so that it writes them at once.
    """

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._process:
            self._process.stdin.close()
            self._process.wait(10)
            os.close(self._output)

    def load(self, text):
        """Load *text* into the empty table and return what is saved of it."""
        return self.ask(f"-C\n{text}-S -n\n")

    def ask(self, text):
        if not self._process or self._process.poll() is not None:
            self._start()
        self._process.stdin.write(f"{text}-L --timeout\n".encode())
        said = b""
        while b"Timeout (tcp tcpfin udp)" not in said or not said.endswith(b"\n"):
            try:
                said += os.read(self._output, 65536)
            except OSError:
                pytest.fail(f"ipvsadm -R ended: {said.decode()}")
        return said.decode().rpartition("Timeout (")[0]

    def _start(self):
        self._output, slave = pty.openpty()
        tty.setraw(slave)
        self._process = subprocess.Popen(
            ["ipvsadm", "-R"], stdin=subprocess.PIPE, stdout=slave, stderr=slave, bufsize=0
        )
        os.close(slave)


@pytest.fixture
def table():
    with Ipvs() as ipvs:
        ipvs.flush()
        yield ipvs
        ipvs.flush()


@pytest.fixture
def ipvsadm():
    with Restorer() as restorer:
        yield restorer


def load_by_us(table, text):
    table.flush()
    assert table.apply(plan(rules.parse(text, "rules").ruleset, Ruleset())) == ()


def same_by_both(table, ipvsadm, text, wanted):
    """Load *text* by ipvsadm and by us; compare tables and spelling."""
    saved = ipvsadm.load(text).splitlines(keepends=True)
    theirs = table.read()

    assert theirs.services == wanted.services
    assert as_ipvsadm(theirs) == saved
    assert sorted(as_ipvsadm(wanted)) == sorted(saved)

    load_by_us(table, text)
    ours = table.read()

    assert ours.services == wanted.services
    assert as_ipvsadm(ours) == saved


@pytest.mark.limit(300)
@given(wanted=tables())
@settings(max_examples=1000, **patient)
def test_a_thousand_rule_sets_make_the_same_table_by_ipvsadm_and_by_us(table, ipvsadm, wanted):
    same_by_both(table, ipvsadm, spell(wanted), wanted)


@pytest.mark.limit(300)
@given(data=st.data())
@settings(max_examples=100, **patient)
def test_any_way_of_writing_rules_makes_the_same_table_by_ipvsadm_and_by_us(table, ipvsadm, data):
    wanted = data.draw(tables())

    same_by_both(table, ipvsadm, data.draw(variants(wanted, comments=False)), wanted)


@given(wanted=tables())
@settings(max_examples=100, **patient)
def test_a_table_is_listed_as_ipvsadm_lists_it(table, ipvsadm, wanted):
    load_by_us(table, spell(wanted))
    snapshot, info = table.snapshot(), table.info()

    listed = listing(snapshot.ruleset.services, snapshot.counters, info.version, info.size)

    assert listed == ipvsadm.ask("-L -n\n")


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: repr(difference.rules))
def test_where_we_differ_ipvsadm_does_what_the_table_says(table, ipvsadm, difference):
    done = subprocess.run(
        ["ipvsadm", "-R"], input=difference.rules + "\n", capture_output=True, text=True
    )
    saved = ipvsadm.ask("-S -n\n")

    if difference.theirs == REFUSED:
        assert done.returncode != 0
        # What stood before the refused line is in the table nevertheless.
        assert len(saved.splitlines()) == difference.rules.count("\n")
    else:
        assert saved == difference.theirs
