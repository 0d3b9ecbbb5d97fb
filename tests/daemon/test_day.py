"""An eighth of the day of tests/daemon/day.py."""

import random

import pytest

from tests.daemon import day

pytestmark = [pytest.mark.lab, pytest.mark.outside]


def test_a_days_work_leaves_memory_and_descriptors_as_they_were():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    early, late = day.run(day.DAY // 8, seed)

    assert day.flat(early, late)
