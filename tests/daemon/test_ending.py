"""What a stop takes away and gives back, by its settings."""

import pytest

from lvs_nat.core.plan import SetTimeouts
from lvs_nat.core.setup import OnStop, Own, Setup
from lvs_nat.daemon.ending import clear, give_back
from lvs_nat.model import Timeouts
from lvs_nat.system.sysctl import Sysctls
from lvs_nat.system.timeouts import TimeoutRecord
from tests.builders import RS1, WEB, rules, service
from tests.fakes import FakeIpvs

FORWARD = "net/ipv4/ip_forward"
OTHER = service("10.9.9.9:25", RS1)
KERNELS = Timeouts(900, 120, 300)


class Host:
    """A kernel with a table, settings and timeouts that a director has changed."""

    def __init__(self, folder):
        self._forward = folder / "sys" / FORWARD
        self._forward.parent.mkdir(parents=True)
        self._forward.write_text("0\n")
        self.settings = Sysctls(folder / "sys", folder / "sysctl.json")
        self.settings.set({FORWARD: "1"})
        self.kernel = FakeIpvs(*WEB.services.values(), OTHER)
        self.timeouts = TimeoutRecord(folder / "timeouts.json")
        self.timeouts.note(KERNELS, Timeouts(tcp=100))
        self.kernel.apply([SetTimeouts(Timeouts(tcp=100))])

    def stop(self, setup):
        return [
            *clear(self.kernel, WEB, setup),
            *give_back(self.kernel, setup, self.settings, self.timeouts),
        ]

    @property
    def left(self):
        """The services, forwarding, and how long an idle TCP connection is remembered."""
        found = self.kernel.read()
        return set(found.services), self._forward.read_text().strip(), found.timeouts.tcp


WHOLE = set(rules(*WEB.services.values(), OTHER).services)
CLEAR, KEEP = Setup(), Setup(on_stop=OnStop.KEEP)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.mark.parametrize(
    "setup, left",
    [
        (CLEAR, (set(), "0", 900)),
        (Setup(own=Own.RULES), ({OTHER.name}, "0", 900)),
        (KEEP, (WHOLE, "1", 100)),
        (Setup(own=Own.RULES, on_stop=OnStop.KEEP), (WHOLE, "1", 100)),
    ],
)
def test_the_settings_say_what_is_left_and_a_table_that_is_kept_still_forwards(host, setup, left):
    host.stop(setup)

    assert host.left == left


def test_what_stays_for_a_kept_table_is_said_and_returns_with_a_stop_that_clears(host):
    assert host.stop(KEEP) == [
        "net.ipv4.ip_forward stays at 1 for the table that is kept; it was 0",
        "the idle timeout tcp stays at 100 s with the table; it was 900",
    ]
    assert host.stop(CLEAR) == [
        "net.ipv4.ip_forward is restored to 0",
        "the idle timeout tcp is restored to 900 s",
    ]
    assert host.left == (set(), "0", 900)


def test_where_nothing_is_left_to_be_kept_the_settings_return(host):
    host.kernel.flush()
    host.stop(KEEP)

    assert host.left == (set(), "0", 900)
