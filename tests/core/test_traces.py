import pytest

from lvs_nat.core.traces import Trace


@pytest.mark.parametrize(
    "trace, present, left, after",
    [
        (Trace("900", "900"), "900", "100", Trace("900", "100")),
        (Trace("900", "100"), "100", "50", Trace("900", "50", "100")),
        (Trace("900", "50", "100"), "100", "50", Trace("900", "50", "100")),  # it came to nothing
        (Trace("900", "50", "100"), "50", "7", Trace("900", "7", "50")),
        (Trace("900", "100"), "100", "100", Trace("900", "100")),
        (Trace("900", "100"), "900", "50", Trace("900", "50")),
        (Trace("900", "100"), "77", "50", Trace("900", "50")),  # somebody's
    ],
)
def test_before_a_change_both_what_is_there_of_ours_and_what_will_be_are_known(
    trace, present, left, after
):
    assert trace.becoming(left, present) == after
    assert after.ours(left)
    assert after.ours(present) == (present in (left, after.former))
