"""A certificate's dates and names are read from its DER bytes, whoever signed it.

Python's ssl decodes only certificates that it was told to verify, and gives nothing of one that
it has refused; the words for an operator need both.  Nothing here decides whom to trust.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import ip_address
from typing import NamedTuple

# Tags (X.690, 8.1.2) that certificates (RFC 5280, 4.1) are made of.
_OCTETS, _SEQUENCE, _SET = 0x04, 0x30, 0x31
_UTC_TIME, _TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # [0] and [3]
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # of GeneralName
_SUBJECT_ALT_NAME, _COMMON_NAME = b"\x55\x1d\x11", b"\x55\x04\x03"
# What is shown of the names: certificates may have thousands, of any bytes.
_NAMES, _LETTERS = 3, 64


class Certificate(NamedTuple):
    """When it is valid, and for whom: host names and addresses, its common name without such."""

    begins: datetime
    ends: datetime
    names: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The first of its names as an operator may read them."""
        more = f" and {len(self.names) - _NAMES} more" if len(self.names) > _NAMES else ""
        return ", ".join(self.names[:_NAMES]) + more if self.names else "none"


def read(der: bytes) -> Certificate:
    """Return what *der* says; raise ValueError if it is no certificate."""
    parts = list(_elements(_content(_content(der, _SEQUENCE), _SEQUENCE)))
    if parts and parts[0][0] == _VERSION:
        del parts[0]
    # serial number, signature, issuer, validity, subject, public key; perhaps more
    if len(parts) < 6:
        raise ValueError("no certificate")
    begins, ends = [_time(*part) for part in _elements(parts[3][1])]
    names: list[str] = []
    for tag, extensions in parts[6:]:
        if tag == _EXTENSIONS:
            names += _alternatives(_content(extensions, _SEQUENCE))
    return Certificate(begins, ends, tuple(names or _common(parts[4][1])))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element in *data* (X.690, 8.1)."""
    place = 0
    while place < len(data):
        tag, length = data[place], int.from_bytes(data[place + 1 : place + 2], "big")
        place += 2
        if length >= 0x80:
            digits = length - 0x80
            if not 0 < digits <= 4:
                raise ValueError("a length of no size")
            length = int.from_bytes(data[place : place + digits], "big")
            place += digits
        if place + length > len(data):
            raise ValueError("cut short")
        yield tag, data[place : place + length]
        place += length


def _content(data: bytes, wanted: int) -> bytes:
    """Return the content of the first element, which must have the tag *wanted*."""
    for tag, content in _elements(data):
        if tag == wanted:
            return content
        break
    raise ValueError(f"no element of tag {wanted:#x}")


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280, 4.1.2.5.1
    elif tag != _TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)


def _alternatives(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(extensions):
        (_, kind), *_, (tag, value) = _elements(extension)
        if kind == _SUBJECT_ALT_NAME and tag == _OCTETS:
            for form, name in _elements(_content(value, _SEQUENCE)):
                if form == _DNS_NAME:
                    yield _plain(name)
                elif form == _IP_ADDRESS and len(name) in (4, 16):
                    yield str(ip_address(name))


def _common(subject: bytes) -> Iterator[str]:
    for _, attributes in _elements(subject):
        for _, attribute in _elements(attributes):
            (_, kind), (_, value) = _elements(attribute)
            if kind == _COMMON_NAME:
                yield _plain(value)


def _plain(name: bytes) -> str:
    return repr(name[:_LETTERS])[2:-1]
