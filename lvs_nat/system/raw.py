"""Raw sockets are opened while that is allowed, and told which packets they are for."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

# One for each version of IP, to speak TCP with and to hear of unreachable hosts.
KINDS = (
    (socket.AF_INET, socket.IPPROTO_TCP),
    (socket.AF_INET6, socket.IPPROTO_TCP),
    (socket.AF_INET, socket.IPPROTO_ICMP),
    (socket.AF_INET6, socket.IPPROTO_ICMPV6),
)
BUFFER = 4 << 20  # bytes each way: the answers of thousands of servers may come at once
# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
# linux/filter.h: load the length, a byte or a half word; compare; return.
_LEN, _LDB, _LDH, _JGE, _JEQ, _RET = 0x80, 0x30, 0x28, 0x35, 0x15, 0x06
_NOTHING, _ALL = (_RET, 0, 0, 0), (_RET, 0, 0, 0xFFFF)
STATEMENT = struct.Struct("=HBBI")  # operation, jumps if true and if false, number


def opened() -> tuple[socket.socket, ...]:
    """Return those of KINDS that may be opened; they hear nothing yet."""
    found = []
    for family, protocol in KINDS:
        with suppress(OSError):  # no CAP_NET_RAW, or a kernel without this version of IP
            flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            made = socket.socket(family, flags, protocol)
            _attach(made, [_NOTHING])
            for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                with suppress(OSError):
                    made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            found.append(made)
    return tuple(found)


class Wanted(NamedTuple):
    """Packets of at least so many bytes, with these bytes at their places, and a port at port.

    IPv4's packets begin with its header here, IPv6's behind it.
    """

    least: int
    head: Mapping[int, int]
    port: int


def hear(made: socket.socket, wanted: Wanted, ports: Sequence[int]) -> None:
    """Let the kernel pass on what is wanted, with one of *ports*, and nothing else."""
    statements = [(_LEN, 0, 0, 0), (_JGE, 1, 0, wanted.least), _NOTHING]
    for place, value in wanted.head.items():
        statements += [(_LDB, 0, 0, place), (_JEQ, 1, 0, value), _NOTHING]
    statements.append((_LDH, 0, 0, wanted.port))
    statements += [(_JEQ, len(ports) - number, 0, port) for number, port in enumerate(ports)]
    _attach(made, [*statements, _NOTHING, _ALL])


def _attach(made: socket.socket, statements: Sequence[tuple[int, int, int, int]]) -> None:
    attach(made, b"".join(STATEMENT.pack(*statement) for statement in statements))


def attach(made: socket.socket, program: bytes) -> None:
    """Have *program* (classic BPF, of STATEMENTs) decide what the socket hears."""
    memory = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many statements, and where they are.
    fprog = struct.pack("HP", len(program) // STATEMENT.size, ctypes.addressof(memory))
    made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
