import pytest

from lvs_nat.core.timeouts import noted, ours, returning, staying
from lvs_nat.core.traces import Trace
from lvs_nat.model import Timeouts

KERNELS = Timeouts(900, 120, 300)


@pytest.mark.parametrize(
    "record, present, wanted, found",
    [
        ({}, KERNELS, Timeouts(100, 0, 0), {"tcp": Trace("900", "100")}),
        (
            {},
            KERNELS,
            Timeouts(1, 2, 3),
            {"tcp": Trace("900", "1"), "tcp_fin": Trace("120", "2"), "udp": Trace("300", "3")},
        ),
        ({}, KERNELS, Timeouts(900, 0, 300), {}),
        ({}, Timeouts(900, 120, 0), Timeouts(0, 0, 3), {}),  # a kernel that balances no UDP
        # What stands there by now is a director's, or somebody's after it.
        (
            {"tcp": Trace("900", "100")},
            Timeouts(100, 120, 300),
            Timeouts(50, 0, 0),
            {"tcp": Trace("900", "50", "100")},  # a crash may come before the change
        ),
        (
            {"tcp": Trace("900", "50", "100")},
            Timeouts(100, 120, 300),
            Timeouts(50, 0, 0),
            {"tcp": Trace("900", "50", "100")},
        ),
        (
            {"tcp": Trace("900", "100")},
            Timeouts(77, 120, 300),
            Timeouts(50, 0, 0),
            {"tcp": Trace("900", "50")},
        ),
        (
            {"tcp": Trace("900", "100")},
            Timeouts(100, 120, 300),
            Timeouts(100, 60, 0),
            {"tcp": Trace("900", "100"), "tcp_fin": Trace("120", "60")},
        ),
    ],
)
def test_what_is_about_to_change_is_recorded_as_it_first_was(record, present, wanted, found):
    assert noted(record, present, wanted) == found


RECORD = {"tcp": Trace("900", "100"), "tcp_fin": Trace("120", "20")}


@pytest.mark.parametrize(
    "present, restored, lines",
    [
        (
            Timeouts(100, 20, 7),
            Timeouts(900, 120, 0),
            [
                "the idle timeout tcp is restored to 900 s",
                "the idle timeout tcpfin is restored to 120 s",
            ],
        ),
        (
            Timeouts(55, 20, 300),
            Timeouts(0, 120, 0),
            [
                "the idle timeout tcp is left at 55 s: somebody set it, where we had set 100",
                "the idle timeout tcpfin is restored to 120 s",
            ],
        ),
        (KERNELS, Timeouts(), []),  # a crash came before the write
    ],
)
def test_what_still_is_as_we_set_it_returns_and_nothing_else(present, restored, lines):
    assert returning(RECORD, present) == (restored, lines)


@pytest.mark.parametrize(
    "present, lines",
    [
        (
            Timeouts(100, 55, 300),
            ["the idle timeout tcp stays at 100 s with the table; it was 900"],
        ),
        (KERNELS, []),
    ],
)
def test_what_a_kept_table_keeps_is_said(present, lines):
    assert staying(RECORD, present) == lines


@pytest.mark.parametrize(
    "name, trace, own",
    [
        ("udp", Trace("300", "30"), True),
        ("icmp", Trace("300", "30"), False),
        ("udp", Trace("-1", "30"), False),
        ("udp", Trace("300", "nonsense"), False),
    ],
)
def test_a_record_that_no_director_wrote_is_not_ours(name, trace, own):
    assert ours(name, trace) is own
