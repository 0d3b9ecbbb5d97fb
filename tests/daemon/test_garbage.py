"""Garbage is looked for again, however what was not to be disturbed ends."""

import gc

import pytest

from lvs_nat.daemon.garbage import undisturbed


@pytest.fixture(autouse=True)
def as_before():
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_garbage_is_looked_for_afterwards_as_it_was_before(before, fails):
    (gc.enable if before else gc.disable)()
    try:
        with undisturbed():
            meanwhile = gc.isenabled()
            if fails:
                raise OSError
    except OSError:
        pass

    assert (meanwhile, gc.isenabled()) == (False, before)
