"""Addresses with ports, as rules write them."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from lvs_nat.core.literals import NO_NAMES, Places, number, shown
from lvs_nat.model import Endpoint, Transport


def endpoint(text, port=0):
    said = []
    found = Places(NO_NAMES, said.append).endpoint(text, Transport.TCP, port)
    assert not said
    return found


@pytest.mark.parametrize(
    "text, address, port",
    [
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("10.0.0.1", "10.0.0.1", 0),
        ("10.0.0.1:+080", "10.0.0.1", 80),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80),
        ("2001:db8::1", "2001:db8::1", 0),
        ("2001:db8:0:1::30", "2001:db8:0:1::30", 0),
        ("1:2:3:4:5:6:7:80", "1:2:3:4:5:6:7:80", 0),
        ("2001:db8::1:beef", "2001:db8::1:beef", 0),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80),
        ("::", "::", 0),
    ],
)
def test_an_address_is_read_with_or_without_its_port(text, address, port):
    kind = IPv6Address if ":" in address else IPv4Address

    assert endpoint(text) == Endpoint(kind(address), port)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "nothing is not an address"),
        (":80", "nothing is not an address"),
        ("80", "80 is not an address: write ADDRESS:PORT"),
        ("10.0.0.1:", "10.0.0.1: ends where a port should be: write 10.0.0.1:PORT"),
        ("10.0.0.1:65536", "the port 65536 is wrong: write a number 0 to 65535"),
        ("10.0.0.1:0x50", "the port 0x50 is wrong"),
        ("10.0.0.1:-1", "the port -1 is wrong"),
        ("10.0.0.256:80", "10.0.0.256 is not an IPv4 address: write four numbers 0 to 255"),
        ("10.0.0.08:80", "10.0.0.08 is not an IPv4 address"),
        ("10.0.0.0.1:80", "10.0.0.0.1 is not an IPv4 address"),
        ("10.0.0.1.:80", "10.0.0.1. is not an IPv4 address"),
        ("192.168.1:80", "(ipvsadm would take it for 192.168.0.1): write all four numbers"),
        ("192.168.0.010:80", "write 192.168.0.8 or 192.168.0.10"),
        ("0xzz:80", "0xzz is a name, which nobody looks up here"),
        ("*:80", "* is not an address: write an IPv4 address, [an IPv6 address] or a host name"),
        ("'10.0.0.1:80'", "quotes are not taken away here"),
        ("$VIP:80", "variables are not filled in here"),
        ("10.0.0.0/24:80", "a rule names single addresses"),
        ("[10.0.0.1]:80", "brackets are for IPv6 addresses: write 10.0.0.1:80"),
        ("[2001:db8::1]", "has brackets but no port: write [ADDRESS]:PORT"),
        ("[2001:db8::1]:", "has brackets but no port: write [ADDRESS]:PORT"),
        ("[2001:db8::1]80", "has brackets but no port: write [ADDRESS]:PORT"),
        ("2001:db8::1]:80", "write [ADDRESS]:PORT"),
        ("[fe80::1%eth0]:80", "ipvsadm takes no scope"),
        ("fe80::1%eth0", "is not an address"),
        ("[2001:db8::g]:80", "write [ADDRESS]:PORT with an IPv6 address"),
        ("2001:db8::1:80", "write [2001:db8::1]:80, or [2001:db8::1:80]:PORT"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(text, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        endpoint(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text, value", [("5", 5), ("+5", 5), ("005", 5), ("-0", 0), ("0", 0), ("9", 9)]
)
def test_a_number_is_read_as_c_reads_it(text, value):
    assert number(text, 0, 9, "it") == value


@pytest.mark.parametrize("text", ["", "10", "-1", "0x5", "1_0", "5 ", "five", "\u0665", "9" * 6000])
def test_a_number_out_of_place_is_refused(text):
    with pytest.raises(ValueError, match="is wrong: write a number 0 to 9"):
        number(text, 0, 9, "it")


@pytest.mark.parametrize(
    "word, text",
    [("-A", "-A"), ("\x1b[31m", r"'\x1b[31m'"), ("注", r"'\u6ce8'"), ("x" * 80, "x" * 57 + "...")],
)
def test_a_word_in_a_message_cannot_harm_a_terminal(word, text):
    assert shown(word) == text
