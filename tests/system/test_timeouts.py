"""The idle timeouts over the lives of directors, in a table in memory and in the kernel's."""

import json

import pytest

from lvs_nat.core.plan import SetTimeouts
from lvs_nat.errors import KernelError
from lvs_nat.model import Timeouts
from lvs_nat.system.ipvs import Ipvs
from lvs_nat.system.timeouts import TimeoutRecord
from tests.fakes import FakeIpvs

KERNELS = Timeouts(900, 120, 300)
OURS = Timeouts(100, 20, 0)
MIXED = Timeouts(100, 20, 300)


class Noting(FakeIpvs):
    """A table in memory that tells its record what is about to change, as the kernel's does."""

    def __init__(self, record):
        super().__init__()
        self.record = record

    def apply(self, operations):
        for operation in operations:
            self.record.note(self.read().timeouts, operation.timeouts)
        return super().apply(operations)


@pytest.fixture(params=[Noting, pytest.param(Ipvs, marks=pytest.mark.kernel)])
def kernel(request, tmp_path):
    with request.param(TimeoutRecord(tmp_path / "timeouts.json")) as opened:
        opened.apply([SetTimeouts(KERNELS)])
        (tmp_path / "timeouts.json").unlink(missing_ok=True)
        yield opened
        opened.apply([SetTimeouts(KERNELS)])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "timeouts.json"


def somebody_sets(kernel, timeouts):
    """Set *timeouts* as ipvsadm does, of which no record is kept."""
    if isinstance(kernel, FakeIpvs):
        FakeIpvs.apply(kernel, [SetTimeouts(timeouts)])
    else:
        with Ipvs() as theirs:
            theirs.apply([SetTimeouts(timeouts)])


def test_what_rules_set_is_taken_back(kernel, path):
    assert kernel.apply([SetTimeouts(OURS)]) == ()
    assert kernel.read().timeouts == MIXED

    assert TimeoutRecord(path).restore(kernel) == [
        "the idle timeout tcp is restored to 900 s",
        "the idle timeout tcpfin is restored to 120 s",
    ]
    assert kernel.read().timeouts == KERNELS
    assert not path.exists()
    assert TimeoutRecord(path).restore(kernel) == []


def test_what_somebody_set_meanwhile_is_left_and_said(kernel, path):
    kernel.apply([SetTimeouts(OURS)])
    somebody_sets(kernel, Timeouts(tcp=55))

    assert TimeoutRecord(path).restore(kernel) == [
        "the idle timeout tcp is left at 55 s: somebody set it, where we had set 100",
        "the idle timeout tcpfin is restored to 120 s",
    ]
    assert kernel.read().timeouts == Timeouts(55, 120, 300)


def test_what_was_first_there_outlives_directors_and_their_crashes(kernel, path):
    for timeouts in (OURS, Timeouts(50, 0, 5), Timeouts(60, 60, 60)):
        kernel.apply([SetTimeouts(timeouts)])

    TimeoutRecord(path).restore(kernel)

    assert kernel.read().timeouts == KERNELS


@pytest.mark.parametrize("sets", [(OURS, Timeouts(50, 0, 5)), (OURS, Timeouts(50, 0, 5), OURS)])
def test_what_a_director_noted_and_was_killed_before_it_set_is_taken_back_too(kernel, path, sets):
    for timeouts in sets[:-1]:
        kernel.apply([SetTimeouts(timeouts)])
    TimeoutRecord(path).note(kernel.read().timeouts, sets[-1])  # and is killed

    TimeoutRecord(path).restore(kernel)

    assert kernel.read().timeouts == KERNELS


def test_a_kept_table_keeps_its_own_and_a_later_stop_takes_them_back(kernel, path):
    kernel.apply([SetTimeouts(OURS)])

    assert TimeoutRecord(path).keep(kernel) == [
        "the idle timeout tcp stays at 100 s with the table; it was 900",
        "the idle timeout tcpfin stays at 20 s with the table; it was 120",
    ]
    assert kernel.read().timeouts == MIXED
    TimeoutRecord(path).restore(kernel)
    assert kernel.read().timeouts == KERNELS


@pytest.mark.kernel
def test_the_kernel_is_not_changed_before_the_record_is_on_disk(tmp_path):
    record = TimeoutRecord(tmp_path / "missing/timeouts.json")
    with Ipvs(record) as kernel:
        before = kernel.read()
        (refusal,) = kernel.apply([SetTimeouts(Timeouts(tcp=77))])

        assert str(refusal.error) == (
            "timeouts: what they are cannot be written down before: No such file or directory"
        )
        assert kernel.read() == before
        assert kernel.writes == 0


@pytest.mark.parametrize("text", ["", "{", '{"boot": "", "values": {"tcp": ["1; rm", "2"]}}'])
def test_a_record_that_cannot_be_one_is_said_once_and_not_used(path, text):
    path.write_text(text)
    kernel = FakeIpvs()

    assert TimeoutRecord(path).restore(kernel) == [
        f"{path} cannot be used: what the idle timeouts were before is not known"
    ]
    assert TimeoutRecord(path).restore(kernel) == []
    assert kernel.writes == 0


def test_the_record_of_another_boot_is_dropped(path):
    kernel = FakeIpvs()
    kernel.apply([SetTimeouts(OURS)])
    path.write_text(json.dumps({"boot": "another", "values": {"tcp": ["900", "100"]}}))

    assert TimeoutRecord(path).restore(kernel) == []
    assert kernel.read().timeouts == MIXED


def test_a_kernel_that_does_not_answer_keeps_the_record_for_a_later_stop(path):
    kernel = Noting(TimeoutRecord(path))
    kernel.apply([SetTimeouts(OURS)])
    kernel.broken = KernelError("the kernel's answer was lost")

    said = TimeoutRecord(path).restore(kernel)
    kernel.broken = None

    assert said == ["the idle timeouts are not restored: the kernel's answer was lost"]
    TimeoutRecord(path).restore(kernel)
    assert kernel.read().timeouts == KERNELS
