"""The judges of what is packaged."""

import os

import pytest

from lvs_nat.errors import NotInstalled
from tests import judges
from tests.guests import REQUIRED


@pytest.fixture(scope="session")
def _judges():
    """Give the judges that are here, or, where none may be missing, every one."""
    if not os.environ.get(REQUIRED):
        return judges.installed()
    try:
        return judges.fetched()
    except NotInstalled as error:
        pytest.fail(str(error))


@pytest.fixture
def judge(_judges):
    """Run a program over what we package; return its exit status, output and errors."""

    def run(program, *words):
        if program not in _judges:
            pytest.skip(f"{program} is not installed; make test fetches it")
        return _judges.run(program, *words)

    return run
