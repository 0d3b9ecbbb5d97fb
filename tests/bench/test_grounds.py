"""Faults in the lab are seen from beginning to end; who is faster is not for a test to say."""

from math import inf

import pytest

from bench.contenders import Contender
from bench.faults import FAULTS
from bench.trials import Grounds
from lvs_nat.lab.topology import Lab

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("name", ["killed", "errors", "hang", "half"])
def test_a_fault_is_followed_until_all_are_served_again(name):
    fault = FAULTS[name]
    with Lab() as lab:
        grounds = Grounds(lab, fault.servers)
        [trial] = grounds.trials(Contender("lvs-nat", "default"), fault, 1, load=True)

        assert len(grounds.servers) == fault.servers
        assert len(grounds.hit) == fault.servers // 2
        assert 0 < trial.shunned <= trial.gone
        assert trial.shunned < inf
        assert 0 < trial.back < inf
        assert trial.failed + trial.late
        assert grounds.weights() == {}
