"""Does a RADIUS server answer Status-Server (RFC 5997), or accept a login (RFC 2865)?"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Iterator
from functools import partial
from hashlib import md5
from typing import NamedTuple

from lvs_nat.checks import sockets
from lvs_nat.checks.datagrams import Datagrams, kind
from lvs_nat.checks.kind import Answer
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Radius
from lvs_nat.core.setup import Target

_HEADER = struct.Struct("!BBH16s")  # code, identifier, length, authenticator
_LENGTHS = range(_HEADER.size, 4096 + 1)  # RFC 2865, 3
ACCESS_REQUEST, STATUS_SERVER = 1, 12
CODES = {2: "Access-Accept", 3: "Access-Reject", 5: "Accounting-Response", 11: "Access-Challenge"}
# An accounting port answers Status-Server in its own way (RFC 5997, 4.2).
ALIVE = frozenset({2, 5})
USER_NAME, USER_PASSWORD, NAS_IDENTIFIER, MESSAGE_AUTHENTICATOR = 1, 2, 32, 80
_UNSIGNED = bytes(16)
_SIGNED = _HEADER.size + 2  # where the first attribute's value stands
# The protocol knows no other; machines that forbid it for secrets let it be used for this.
_md5 = partial(md5, usedforsecurity=False)


class Plan(NamedTuple):
    """Whom to ask, and what the two of them know; no password asks for no login."""

    towards: sockets.Where
    secret: bytes
    user: bytes = b""
    password: bytes | None = None


def prepare(target: Target) -> Plan:
    """Return the plan for *target*; raise ValueError for a login that cannot be sent."""
    question = target.check.question
    assert isinstance(question, Radius)
    where, secret = sockets.where(target), question.secret.encode()
    if not question.login:
        return Plan(where, secret)
    user, _, password = (part.encode() for part in question.login.partition(":"))
    if len(user) > 253 or len(password) > 128:
        raise ValueError("RADIUS has no room for a user of 254 bytes or a password of 129")
    return Plan(where, secret, user, password)


def start(plan: Plan) -> Datagrams:
    """Send the request."""
    message = request(plan, os.urandom(1)[0], os.urandom(16))
    return Datagrams(plan.towards, message, partial(_read, plan, message))


def request(plan: Plan, identifier: int, authenticator: bytes) -> bytes:
    """Return the request, signed.

    The signature comes first among the attributes, where it cannot be moved away from
    (CVE-2024-3596), and servers have begun to insist on it.
    """
    attributes = attribute(MESSAGE_AUTHENTICATOR, _UNSIGNED)
    attributes += attribute(NAS_IDENTIFIER, b"lvs-nat")
    code = STATUS_SERVER
    if plan.password is not None:
        code = ACCESS_REQUEST
        attributes += attribute(USER_NAME, plan.user)
        hidden = hide(plan.password, plan.secret, authenticator)
        attributes += attribute(USER_PASSWORD, hidden)
    length = _HEADER.size + len(attributes)
    message = _HEADER.pack(code, identifier, length, authenticator) + attributes
    signed = signature(plan.secret, message)
    return message[:_SIGNED] + signed + message[_SIGNED + len(signed) :]


def attribute(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


def hide(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the password as it is sent (RFC 2865, 5.2)."""
    hidden, block = b"", authenticator
    padded = password.ljust(16 * max(1, -(-len(password) // 16)), b"\0")
    for place in range(0, len(padded), 16):
        mask = _md5(secret + block).digest()
        block = bytes(a ^ b for a, b in zip(padded[place : place + 16], mask))
        hidden += block
    return hidden


def signature(secret: bytes, message: bytes) -> bytes:
    """Return the Message-Authenticator of a message that has zeros in its place (RFC 3579, 3.2)."""
    return hmac.new(secret, message, _md5).digest()


def _read(plan: Plan, asked: bytes, received: bytes) -> Answer | str:
    """Return what the message says, or what it is if it answers nothing of ours."""
    if len(received) < _HEADER.size or received[1] != asked[1]:
        return "a message that answers nothing of ours"
    code, _, length, authenticator = _HEADER.unpack_from(received)
    if length not in _LENGTHS or length > len(received):
        return "a message that is cut short"
    # What is behind its length is padding (RFC 2865, 3).
    head, attributes = received[:4] + asked[4:20], received[_HEADER.size : length]
    if not hmac.compare_digest(_md5(head + attributes + plan.secret).digest(), authenticator):
        return "one that was not made with the secret"
    try:
        signed = all(_signed(plan, head, attributes))
    except ValueError:
        return "a message that cannot be read"
    return judged(plan, code) if signed else "one that was not signed with the secret"


def _signed(plan: Plan, head: bytes, attributes: bytes) -> Iterator[bool]:
    """Yield whether each signature among the attributes is right; raise ValueError if torn."""
    place = 0
    while place < len(attributes):
        number, size = attributes[place], attributes[place + 1 : place + 2]
        end = place + (size[0] if size else 0)
        if not place + 2 <= end <= len(attributes):
            raise ValueError("an attribute without end")
        if number == MESSAGE_AUTHENTICATOR:
            zeroed = attributes[: place + 2] + bytes(end - place - 2) + attributes[end:]
            right = signature(plan.secret, head + zeroed)
            yield hmac.compare_digest(right, attributes[place + 2 : end])
        place = end


def judged(plan: Plan, code: int) -> Answer:
    """Return what it means that the server answers with *code*."""
    words = f"answered {CODES.get(code, f'with code {code}')}"
    passed = code == 2 if plan.password is not None else code in ALIVE
    return Answer(Outcome.PASS if passed else Outcome.FAIL, words)


KIND = kind(prepare, start)
