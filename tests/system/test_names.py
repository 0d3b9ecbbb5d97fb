import select
import socket
import threading
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lvs_nat.model import Transport
from lvs_nat.system.names import Names

KNOWN = {"lvs01": "192.168.122.10", "lvs02": "192.168.122.20"}


def known(host):
    if host == "hangs":
        select.select([], [], [], 60)
    if host not in KNOWN:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return KNOWN[host]


def complaint(names, host):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        names.address(host)
    return str(caught.value)


def test_a_host_has_its_address():
    names = Names(resolve=known)

    assert [names.address(host) for host in KNOWN] == list(map(IPv4Address, KNOWN.values()))


def test_the_machine_knows_itself():
    assert Names().address("localhost") == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "", "-", "\0", "\udcff"])
def test_what_no_resolver_could_know_is_refused_with_a_sentence(host):
    assert complaint(Names(budget=2.0), host).endswith("write its address")


def test_an_unknown_host_says_why():
    assert complaint(Names(resolve=known), "lvs03") == (
        "lvs03 has no IPv4 address (Name or service not known); write its address"
    )


def test_a_dead_resolver_costs_all_names_together_no_more_than_the_budget():
    names = Names(budget=0.2, resolve=known)
    started = time.monotonic()
    late = (
        "was not resolved within 0.2 s, which all names have together; "
        "write its address, or see to /etc/resolv.conf"
    )

    assert complaint(names, "hangs") == f"hangs {late}"
    assert complaint(names, "hangs") == f"hangs {late}"
    assert complaint(names, "lvs01") == f"lvs01 {late}"
    assert 0.2 <= time.monotonic() - started < 2


def test_what_is_known_already_is_answered_after_the_budget_is_spent():
    names = Names(budget=0.2, resolve=known)
    names.address("lvs01")
    complaint(names, "hangs")

    assert names.address("lvs01") == IPv4Address(KNOWN["lvs01"])


def test_no_child_is_left():
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text()
    names = Names(budget=0.2, resolve=known)

    names.address("lvs01")
    complaint(names, "hangs")

    assert children.read_text() == before


@pytest.mark.kernel  # where what is written to /etc is gone afterwards
def test_a_port_has_its_number():
    with Path("/etc/services").open("a") as services:
        services.write("\nbalanced 53053/udp\n")

    assert Names().port("balanced", Transport.UDP) == 53053


@pytest.mark.parametrize("service", ["no-such-port", "", "\0", "\udcff"])
def test_an_unknown_port_is_refused_with_a_sentence(service):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Names().port(service, Transport.SCTP)

    assert str(caught.value) == f"/etc/services has no sctp port {service}; write its number"
