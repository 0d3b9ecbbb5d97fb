"""Interfaces are made, changed and taken away in the throw-away kernel."""

import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path
from select import select

import pytest

from lvs_nat.system.links import (
    AddressChanged,
    ForwardingChanged,
    LinkChanged,
    Links,
    Overrun,
)

CONF = Path("/proc/sys/net/ipv4/conf")


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


@pytest.fixture
def links():
    socket.socket(socket.AF_INET6).close()  # has the kernel load IPv6 where it is a module
    ip("link add old0 type dummy")
    with Links() as links:
        yield links
    for name in ("old0", "new0"):
        subprocess.run(["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.kernel
def test_a_link_is_heard_of_when_it_comes_goes_up_and_down_and_away(links):
    ip("link add new0 type dummy")
    assert LinkChanged("new0", up=False) in links.events()
    ip("link set new0 up")
    assert LinkChanged("new0", up=True) in links.events()
    ip("link set new0 down")
    assert LinkChanged("new0", up=False) in links.events()
    ip("link del new0")
    assert LinkChanged("new0", up=False, present=False) in links.events()
    assert links.events() == []


@pytest.mark.kernel
def test_a_renamed_link_is_one_gone_and_one_come(links):
    ip("link set old0 name new0")

    assert [it for it in links.events() if isinstance(it, LinkChanged)] == [
        LinkChanged("old0", up=False, present=False),
        LinkChanged("new0", up=False),
    ]


@pytest.mark.kernel
def test_a_port_that_leaves_a_bridge_has_not_gone(links):
    ip("link add new0 type bridge")
    ip("link set old0 master new0")
    ip("link set old0 nomaster")

    assert LinkChanged("old0", up=False, present=False) not in links.events()


@pytest.mark.kernel
@pytest.mark.parametrize("address", ["10.9.9.1/24", "fd99::1/64"])
def test_an_address_is_heard_of_when_it_comes_and_goes(links, address):
    ip("link set old0 up")
    known = ip_address(address.split("/")[0])

    ip(f"addr add {address} dev old0")
    assert AddressChanged(known, "old0", present=True) in heard(links)
    ip(f"addr del {address} dev old0")
    assert AddressChanged(known, "old0", present=False) in heard(links)


def heard(links):
    # An IPv6 address is told of when it has been found to be nobody else's.
    events = links.events()
    while not any(isinstance(it, AddressChanged) for it in events):
        assert select([links], [], [], 5)[0]
        events += links.events()
    return events


@pytest.mark.kernel
def test_the_address_of_a_link_that_goes_is_told_with_its_name(links):
    ip("addr add 10.9.9.1/24 dev old0")
    links.events()

    ip("link del old0")

    assert links.events() == [
        AddressChanged(ip_address("10.9.9.1"), "old0", present=False),
        LinkChanged("old0", up=False, present=False),
    ]


@pytest.mark.kernel
@pytest.mark.parametrize("where", ["all", "default", "old0"])
@pytest.mark.parametrize("forwarding", [True, False])
def test_forwarding_is_heard_of_wherever_it_is_set(links, where, forwarding):
    setting = CONF / where / "forwarding"
    setting.write_text(f"{1 - forwarding}")
    links.events()

    setting.write_text(f"{int(forwarding)}")

    assert ForwardingChanged(where, forwarding) in links.events()


@pytest.mark.kernel
def test_other_settings_are_no_word_of_forwarding(links):
    (CONF / "old0/rp_filter").write_text("2")
    (CONF / "old0/rp_filter").write_text("1")

    assert links.events() == []


@pytest.mark.kernel
def test_too_much_at_once_is_told_as_such_and_names_are_right_after_it(links):
    batch = "".join(f"link set old0 {way}\n" for way in ["up", "down"] * 400)
    batch += "link set old0 name new0\n"
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)

    assert links.events() == [Overrun()]
    ip("addr add 10.9.9.1/24 dev new0")
    assert links.events() == [AddressChanged(ip_address("10.9.9.1"), "new0", present=True)]


@pytest.mark.kernel
def test_there_is_something_to_poll(links):
    assert select([links], [], [], 0)[0] == []

    ip("link set old0 up")

    assert select([links], [], [], 0)[0] == [links]
