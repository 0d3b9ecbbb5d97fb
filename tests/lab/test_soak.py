"""Two minutes of the soak; make soak does half an hour of it."""

import random

import pytest

from tests.lab.soak import Soak

pytestmark = [pytest.mark.lab, pytest.mark.limit(600)]


def test_two_minutes_of_random_faults_end_in_no_difference_from_the_model():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}; again: make soak SEED={seed}")

    Soak(seed).run(120)
