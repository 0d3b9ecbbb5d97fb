"""Random faults for two minutes; `make soak` does them for half an hour."""

import os
import random

import pytest

from tests.lab.soak import Soak

SECONDS = 120


@pytest.mark.lab
@pytest.mark.limit(420)
def test_a_director_under_random_faults_is_what_a_model_says():
    """LVS_NAT_SOAK_SEED makes the faults of an earlier run again."""
    seed = int(os.environ.get("LVS_NAT_SOAK_SEED") or random.randrange(1 << 32))
    print(f"LVS_NAT_SOAK_SEED={seed}")
    soak = Soak(seed)
    soak.run(SECONDS)

    assert sum(soak.done.values()) >= 10
