"""A virtual service is named as any of our outputs, or ipvsadm's, names it."""

import pytest

from lvs_nat.cli.status import text
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.listing import listing
from lvs_nat.core.report import Pulse, report
from lvs_nat.core.settings import service_name
from lvs_nat.core.setup import Setup
from lvs_nat.model import Mark
from tests.builders import rules, service, tcp, udp

NAMES = [tcp("172.25.0.10:80"), tcp("[fd00::1]:80"), udp("172.25.0.10:53"), Mark(5), Mark(6, 6)]


@pytest.fixture(params=NAMES, ids=str)
def name(request):
    return request.param


def test_a_name_is_read_as_it_is_spelled(name):
    assert service_name(str(name)) == name


def test_a_name_is_read_as_status_shows_it(name):
    cluster = Cluster.of(rules(service(name)), Setup(), {})
    found = report(cluster, cluster.rules, {}, Pulse(), 0.0)
    shown = text(
        {"pid": 1, "since": 0.0, "refusals": [], "quarrels": [], "names": [], "problems": [],
         "unsaved": [], **found},
        colour=False,
        checks=False,
    )  # fmt: skip
    [line] = [line for line in shown.splitlines() if line.endswith(" rr")]

    assert service_name(line[: -len(" rr")]) == name


def test_a_name_is_read_as_the_listing_shows_it(name):
    lines = listing(rules(service(name)).services, {}, (1, 2, 1), 4096).splitlines()

    assert service_name(lines[-1].rpartition(" rr")[0]) == name


@pytest.mark.parametrize("words", ["fwm", "FWM 0", "FWMARK 5 IPv4", "fwmark 5 ipv6 ipv6", "mark 5"])
def test_what_names_no_service_is_refused(words):
    with pytest.raises(ValueError, match="is not the name of a virtual service"):
        service_name(words)
