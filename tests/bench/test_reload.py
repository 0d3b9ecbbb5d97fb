"""What a reload costs is told beside what keepalived's costs."""

import pytest

from bench.reload import Cost, tabled

THEIRS = [Cost(20.0, 10.0), Cost(22.0, 10.0), Cost(90.0, 40.0)]


@pytest.mark.parametrize(
    ("ours", "kept"),
    [
        (Cost(1.1, 0.5), [True, True]),
        (Cost(1.2, 0.5), [False, True]),
        (Cost(1.1, 0.6), [True, False]),
    ],
)
def test_a_twentieth_of_the_time_and_of_the_processor_is_promised(ours, kept):
    told = tabled({"lvs-nat": [ours], "keepalived": THEIRS}, 10_000)

    assert told.rows[1] == ("keepalived", 22.0, 10.0)
    assert [promise.kept for promise in told.promises] == kept
