"""Numbers, addresses, ports, masks: how single words of a rule are read.

All functions raise ValueError with a sentence that says what is wrong and what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from typing import Protocol

from lvs_nat.model import WHOLE_NETMASK, WHOLE_PREFIX, Address, Endpoint, Transport

Say = Callable[[str], None]

_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_C_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,16}", re.ASCII)
_QUAD = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})", re.ASCII)
# Addresses with ports that can be read in one way only.
_PLAIN = re.compile(rf"({_QUAD.pattern}):([0-9]{{1,5}})", re.ASCII)
_PLAIN6 = re.compile(r"\[[0-9a-fA-F:]+\]:[0-9]{1,5}", re.ASCII)
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", re.ASCII)


class Names(Protocol):
    """What a caller lends, so that rules may name hosts and ports; both raise ValueError."""

    def address(self, host: str, say: Say) -> IPv4Address:
        """Return the IPv4 address of *host*; say takes a warning about it."""

    def port(self, service: str, transport: Transport) -> int:
        """Return the number of a port as /etc/services has it."""


class _NoNames:
    def address(self, host: str, say: Say) -> IPv4Address:
        raise ValueError(f"{host} is a name, which nobody looks up here: write its address")

    def port(self, service: str, transport: Transport) -> int:
        raise ValueError(f"{service} is a name, which nobody looks up here: write the number")


NO_NAMES: Names = _NoNames()


def shown(word: str) -> str:
    """Return a word of the file fit for a message: printable, short."""
    text = word if word.isprintable() and word.isascii() else ascii(word)
    return text if len(text) <= 60 else f"{text[:57]}..."


def number(text: str, low: int, high: int, what: str) -> int:
    """Read a decimal number as C does: a sign and leading zeros pass, hexadecimal does not."""
    if _DECIMAL.fullmatch(text) and low <= int(text) <= high:
        return int(text)
    raise ValueError(f"{what} {shown(text) or 'nothing'} is wrong: write a number {low} to {high}")


class Places:
    """Reads addresses with ports; every word and every name is looked at once.

    say is told what was understood in a way that the writer may not have meant.
    """

    def __init__(self, names: Names, say: Say) -> None:
        self._names = names
        self._say = say
        self._read: dict[str, Endpoint] = {}
        self._known: dict[str, IPv4Address | ValueError] = {}

    def endpoint(self, text: str, transport: Transport | None, port: int | None) -> Endpoint:
        """Read host[:port] where *port* stands for one left out; None: it must be written.

        transport says which protocol's names a port may have; None: numbers only.
        """
        found = self._read.get(text)
        if found is not None:
            return found
        plain = _PLAIN.fullmatch(text)
        if plain:
            host, digits = plain.groups()
            endpoint = Endpoint(ipv4(host, self._say), number(digits, 0, 65535, "the port"))
            self._read[text] = endpoint
            return endpoint
        address, written = self._place(text, transport)
        if written is None:
            if port is None:
                raise ValueError(f"{shown(text)} has no port: write {_colon(address)}:PORT")
            return Endpoint(address, port)
        endpoint = Endpoint(address, written)
        if _PLAIN6.fullmatch(text):
            self._read[text] = endpoint
        return endpoint

    def _place(self, text: str, transport: Transport | None) -> tuple[Address, int | None]:
        if text.startswith("["):
            host, bracket, port = text[1:].rpartition("]:")
            if not bracket or not port:
                raise ValueError(f"{shown(text)} has brackets but no port: write [ADDRESS]:PORT")
            return _bracketed(text, host, port), self._port(port, transport)
        if text.count(":") > 1:
            return _unbracketed(text), None
        host, colon, port = text.partition(":")
        if not colon and text.isdigit():
            raise ValueError(f"{shown(text)} is not an address: write ADDRESS:PORT")
        address = self._host(host)
        if colon and not port:
            raise ValueError(f"{shown(text)} ends where a port should be: write {address}:PORT")
        return address, self._port(port, transport) if colon else None

    def _host(self, host: str) -> IPv4Address:
        if not _HOST.fullmatch(host):
            raise ValueError(_unreadable(host))
        if _numeric(host):
            return ipv4(host, self._say)
        if host not in self._known:
            try:
                self._known[host] = self._names.address(host, self._say)
            except ValueError as error:
                self._known[host] = error
        known = self._known[host]
        if isinstance(known, ValueError):
            raise ValueError(str(known))
        return known

    def _port(self, text: str, transport: Transport | None) -> int:
        if _DECIMAL.fullmatch(text) or not _HOST.fullmatch(text) or _numeric(text):
            return number(text, 0, 65535, "the port")
        if transport is None:
            raise ValueError(
                f"the port name {text} means nothing beside a firewall mark,"
                " which has no protocol: write the number"
            )
        return self._names.port(text, transport)


def ipv4(text: str, say: Say) -> IPv4Address:
    """Read what inet_aton(3) reads, saying so where it is not four decimal numbers.

    Short forms and octal numbers are errors: ipvsadm makes another address of them than
    the writer is likely to mean.
    """
    words = text.split(".")
    if _QUAD.fullmatch(text):
        a, b, c, d = map(int, words)
        if max(a, b, c, d) < 256:
            return IPv4Address(a << 24 | b << 16 | c << 8 | d)
    meaning = _aton(words)
    if meaning is None:
        raise ValueError(
            f"{shown(text)} is not an IPv4 address: write four numbers 0 to 255, with dots between"
        )
    if 1 < len(words) < 4:
        raise ValueError(
            f"{shown(text)} is not a whole address (ipvsadm would take it for {meaning}):"
            " write all four numbers"
        )
    if len(words) == 4 and not any(word[:2] in ("0x", "0X") for word in words):
        decimal = ".".join(str(int(word)) for word in words)
        if decimal != str(meaning):
            raise ValueError(
                f"{shown(text)} has a leading zero, which makes a number octal"
                f" (ipvsadm would take it for {meaning}): write {meaning} or {decimal}"
            )
    say(f"{shown(text)} is read as {meaning}, as ipvsadm reads it: better write {meaning}")
    return meaning


def netmask(text: str, version: int, say: Say) -> IPv4Address | int | None:
    """Read what -M says; None where it takes the whole address."""
    if version == 6:
        prefix = number(text, 1, WHOLE_PREFIX, "the IPv6 netmask")
        return None if prefix == WHOLE_PREFIX else prefix
    if _numeric(text) and "." in text:
        mask = ipv4(text, say)
    elif re.fullmatch(r"/?[0-9]{1,2}", text, re.ASCII) and int(text.strip("/")) <= 32:
        # ipvsadm takes 24 for the address 0.0.0.24.
        meant = IPv4Network(f"0.0.0.0/{text.strip('/')}").netmask
        raise ValueError(f"the IPv4 netmask {text} is not a mask: write -M {meant}")
    elif text[:2] in ("0x", "0X") and _numeric(text):
        mask = ipv4(text, say)
    else:
        raise ValueError(f"the netmask {shown(text)} is not a mask: write one as 255.255.255.0")
    return None if mask == WHOLE_NETMASK else mask


def _aton(words: list[str]) -> IPv4Address | None:
    # inet_aton(3): 1 to 4 numbers, octal after 0, hexadecimal after 0x; the last fills up.
    if len(words) > 4:
        return None
    value = 0
    for at, word in enumerate(words):
        room = 32 - 8 * at if at == len(words) - 1 else 8
        if not _C_NUMBER.fullmatch(word):
            return None
        try:
            part = int(word, 8 if word.isdigit() and word.startswith("0") else 0)
        except ValueError:
            return None
        if part >> room:
            return None
        value = value << room | part
    return IPv4Address(value)


def _numeric(host: str) -> bool:
    """Say whether *host* must be a number: no name ends in a label that is one (RFC 1123)."""
    return bool(_C_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))


def _bracketed(text: str, host: str, port: str) -> IPv6Address:
    try:
        return _ipv6(host)
    except ValueError:
        if _HOST.fullmatch(host):
            hint = f"brackets are for IPv6 addresses: write {shown(host)}:{shown(port)}"
        elif "%" in host:
            hint = "ipvsadm takes no scope: write the address without it"
        else:
            hint = "write [ADDRESS]:PORT with an IPv6 address"
    raise ValueError(f"{shown(text)}: {hint}")


def _unbracketed(text: str) -> IPv6Address:
    host, _, port = text.rpartition(":")
    if host.startswith("[") or "]" in text:
        raise ValueError(f"{shown(text)}: write [ADDRESS]:PORT")
    try:
        address = _ipv6(text)
    except ValueError:
        raise ValueError(_unreadable(text)) from None
    if port.isdigit() and _is_ipv6(host):
        raise ValueError(
            f"{text} could be the address {address} or port {port} of {host}:"
            f" write [{host}]:{port}, or [{address}]:PORT"
        )
    return address


def _ipv6(text: str) -> IPv6Address:
    if "%" in text:
        raise AddressValueError
    return IPv6Address(text)


def _is_ipv6(text: str) -> bool:
    try:
        _ipv6(text)
    except ValueError:
        return False
    return True


def _unreadable(text: str) -> str:
    if text.strip("'\"") != text:
        hint = "quotes are not taken away here, leave them out"
    elif "$" in text or "`" in text:
        hint = "variables are not filled in here, write the address"
    elif "/" in text:
        hint = "a rule names single addresses, write one"
    else:
        hint = "write an IPv4 address, [an IPv6 address] or a host name"
    return f"{shown(text) or 'nothing'} is not an address: {hint}"


def _colon(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
