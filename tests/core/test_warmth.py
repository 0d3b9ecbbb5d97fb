import pytest

from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.warmth import LAST, Warmth


def passed(latency):
    return Verdict(Outcome.PASS, "connected", latency)


def test_the_last_probes_are_marks_oldest_first():
    warmth = Warmth()
    for outcome in (Outcome.PASS, Outcome.SILENT, Outcome.REFUSED, Outcome.FAIL, Outcome.UNKNOWN):
        warmth = warmth.after(Verdict(outcome, "", 0.001))

    assert warmth.marks == "+---?"
    assert warmth.after(passed(0.001), times=5).marks == "+---?+++++"
    assert len(warmth.after(passed(0.001), times=99).marks) == LAST


def test_latencies_are_those_of_passed_probes():
    warmth = Warmth().after(passed(0.004)).after(passed(0.012)).after(passed(0.002))
    failed = warmth.after(Verdict(Outcome.SILENT, "", 0.8))

    assert (warmth.least, warmth.most) == (0.002, 0.012)
    assert warmth.mean == pytest.approx(0.004625)
    assert (failed.mean, failed.least, failed.most) == (warmth.mean, 0.002, 0.012)
