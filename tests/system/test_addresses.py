import socket
from ipaddress import ip_address, ip_interface

import pytest

from lvs_nat.core.targets import Here
from lvs_nat.system.addresses import arrives, here, interfaces


def test_this_machine_has_at_least_its_loopback_address_and_network():
    assert ip_interface("127.0.0.1/8") in set(interfaces())


def test_every_address_told_can_be_bound():
    for found in interfaces():
        if not found.ip.is_link_local:
            family = socket.AF_INET6 if found.version == 6 else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as own:
                own.bind((str(found.ip), 0))


@pytest.mark.parametrize(
    "text, masquerades", [("1\n", True), ("0\n", False), ("", False), (None, False)]
)
def test_connection_tracking_of_ipvs_means_that_clients_may_get_another_address(
    text, masquerades, tmp_path
):
    (tmp_path / "net/ipv4/vs").mkdir(parents=True)
    if text is not None:
        (tmp_path / "net/ipv4/vs/conntrack").write_text(text)

    assert here(tmp_path) == Here(frozenset(interfaces()), masquerades)


@pytest.mark.parametrize(
    "text, here",
    [("127.0.0.1", True), ("127.9.9.9", True), ("192.0.2.77", False), ("2001:db8::77", False)],
)
def test_an_address_is_here_by_an_interface_or_a_route(text, here):
    assert arrives(ip_address(text)) is here
