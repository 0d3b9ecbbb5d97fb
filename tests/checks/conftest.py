"""What tests against real servers need."""

import pytest

from lvs_nat.errors import NotInstalled
from tests.checks import servers


@pytest.fixture(scope="session")
def packages(pytestconfig):
    """Have the real servers, unpacked or installed; skip where neither is to be had."""
    try:
        servers.tree()
    except NotInstalled as error:
        if pytestconfig.option.require_kernel:
            raise
        pytest.skip(str(error))
