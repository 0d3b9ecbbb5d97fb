import pytest

from lvs_nat.core.cluster import Row
from lvs_nat.core.suspicion import flows, suspects
from tests.builders import RS1, RS2, VIP, WEB, real, rules, service, tcp

DNS = "172.25.0.10:53"
BOTH = rules(service(VIP, RS1, RS2), service(DNS, RS1))


def look(first, second, third=(0, 0), ruleset=BOTH):
    """Return the flows of RS1 and RS2 in the first service, and of RS1 in the second."""
    return flows(ruleset.services, {tcp(VIP): [first, second], tcp(DNS): [third]})


QUIET = look((5, 9), (0, 0))


@pytest.mark.parametrize(
    "now, suspected",
    [
        # Nobody came, or all went.
        (look((5, 9), (0, 0)), []),
        (look((0, 0), (0, 0)), []),
        (look((4, 9), (0, 0)), []),
        # Clients came and are served.
        (look((8, 9), (2, 0)), []),
        (look((8, 12), (2, 1)), []),
        # Clients came, and either had a short answer or none.
        (look((5, 10), (0, 0)), [(VIP, RS1)]),
        (look((4, 10), (0, 3)), [(VIP, RS1), (VIP, RS2)]),
        (look((8, 12), (0, 3), (0, 1)), [(VIP, RS2), (DNS, RS1)]),
    ],
)
def test_whoever_got_clients_of_whom_no_more_stayed_is_suspected(now, suspected):
    assert list(suspects(QUIET, now)) == [Row(tcp(name), it.endpoint) for name, it in suspected]


def test_services_that_were_edited_between_two_looks_tell_nothing():
    edited = rules(service(VIP, real("192.168.122.10:80", 7), RS2), *[BOTH.services[tcp(DNS)]])
    new = look((5, 20), (0, 20), (0, 1), edited)

    assert list(suspects(QUIET, new)) == [Row(tcp(DNS), RS1.endpoint)]
    assert list(suspects({}, new)) == []
    assert list(suspects(new, flows(WEB.services, {tcp(VIP): [(0, 0), (0, 0)]}))) == []
