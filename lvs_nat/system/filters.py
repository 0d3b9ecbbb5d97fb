"""What the kernel does with a packet that passes: nearly always nothing, now and then a report.

A packet begins with its IP header, as a packet socket of the kind SOCK_DGRAM has it.  One is
reported, cut to SNAP bytes, if it is

- a SYN going out to a real server that has left an earlier one unanswered for longer than
  eight of its round trips, PATIENCE at the least, or
- the refusal of a SYN by a real server: RST and ACK with the sequence number 0 (RFC 9293, 3.10.7.1)

but no more than once in QUIET for each.  The real servers are in a table that user space writes,
and in which the kernel takes note of what it sees.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from lvs_nat.system.bpf import KTIME, R0, R1, R2, R3, R6, R7, R8, R9, R10, Program
from lvs_nat.system.raw import STATEMENT

SNAP = 96  # holds an IPv4 header of any length, and a TCP header
PATIENCE = 50_000_000
QUIET = 100_000_000  # both in nanoseconds

# The table: buckets of slots, filled from the first slot on.  A key is in the first of its two
# buckets, or where that was full, in the second; so a slot that was never used ends the search.
BUCKETS = 16384
SLOTS = 4
# The words of a slot, 8 bytes each.  Times are nanoseconds of CLOCK_MONOTONIC, 0 for never.
KEY, SINCE, PORT, QUIET_UNTIL, ROUND_TRIP, HEARD = range(0, 48, 8)
SLOT = 48
BUCKET = SLOTS * SLOT
MULTIPLIER = 0x9E3779B97F4A7C15  # Knuth's, as in core/schedule.py
WORD = 0xFFFF_FFFF_FFFF_FFFF
# What stands for a key in a slot that nobody has yet, or any more; keys are odd.
UNUSED, LEFT = 0, 2

SYN, SYN_ACK, RST_ACK, FLAGS = 0x02, 0x12, 0x14, 0x17
# The context: struct __sk_buff of include/uapi/linux/bpf.h.
PACKET_TYPE, PROTOCOL = 4, 16
HOST, OUTGOING = 0, 4  # include/uapi/linux/if_packet.h
# Where things lie on the stack.
INDEX, CLIENT = -8, -16


class Version(NamedTuple):
    """Where an IP version has its addresses, in words of four bytes."""

    number: int
    words: int
    source: int
    destination: int


IPV4 = Version(4, 1, 12, 16)
IPV6 = Version(6, 4, 8, 24)


def key(packed: bytes, port: int) -> int:
    """Return the key of a real server, as the filter computes it from a packet."""
    value = 4 if len(packed) == 4 else 6
    for word in (*struct.unpack(f"!{len(packed) // 4}I", packed), port):
        value = (value + word) * MULTIPLIER & WORD
    return (value ^ value >> 32) | 1


def buckets(key: int) -> tuple[int, int]:
    """Return the two buckets that may hold *key*."""
    return key >> 1 & BUCKETS - 1, key >> 40 & BUCKETS - 1


def unanswered(table: int) -> bytes:
    """Return the program (eBPF) that watches the servers in *table*, a map's descriptor."""
    say = Program()
    say.alu(R6, "=", R1)
    say.load(4, R1, R6, PROTOCOL)
    say.jump_if(R1, "==", socket.htons(0x0800), "IPv4")
    say.jump_if(R1, "!=", socket.htons(0x86DD), "nothing")
    say.packet(1, 6)  # the next header; one with options before TCP is let go
    say.jump_if(R0, "!=", socket.IPPROTO_TCP, "nothing")
    say.alu(R7, "=", 40)
    _sort(say, IPV6)
    say.label("IPv4")
    say.packet(1, 9)
    say.jump_if(R0, "!=", socket.IPPROTO_TCP, "nothing")
    say.packet(2, 6)
    say.jump_if(R0, "&", 0x1FFF, "nothing")  # a fragment, but not the first
    say.packet(1, 0)
    say.alu(R0, "&", 0x0F)
    say.alu(R0, "<<", 2)
    say.alu(R7, "=", R0)
    _sort(say, IPV4)
    _find(say, table)
    _judge(say)
    _wait(say)
    _measure(say)
    _report(say)
    say.label("nothing")
    say.alu(R0, "=", 0)
    say.exit()
    return say.assembled()


def _sort(say: Program, version: Version) -> None:
    """Let go what tells nothing of a server; leave the flags of the rest in R8, its key in R9."""
    answer, heard = (f"{word}, IPv{version.number}" for word in ("answer", "heard"))
    say.packet(1, 13, R7)
    say.alu(R0, "&", FLAGS)
    say.alu(R8, "=", R0)
    say.load(4, R1, R6, PACKET_TYPE)
    say.jump_if(R8, "!=", SYN, answer)
    say.jump_if(R1, "!=", OUTGOING, "nothing")
    _name(say, version, version.destination, 2)
    say.label(answer)
    say.jump_if(R1, "!=", HOST, "nothing")
    say.jump_if(R8, "!=", RST_ACK, heard)
    say.packet(4, 4, R7)
    say.jump_if(R0, "==", 0, heard)
    say.alu(R8, "=", 0)  # no refusal: it ends a connection that there was
    say.label(heard)
    _name(say, version, version.source, 0)


def _name(say: Program, version: Version, address: int, port: int) -> None:
    """Compute the key of the server at *address* and *port*, the other end being the client."""
    say.packet(2, 2 - port, R7)
    say.store(8, R10, CLIENT, R0)
    say.alu(R9, "=", version.number)
    for word in range(version.words):
        say.packet(4, address + 4 * word)
        _mix(say)
    say.packet(2, port, R7)
    _mix(say)
    say.alu(R0, "=", R9)
    say.alu(R0, ">>", 32)
    say.alu(R9, "^", R0)
    say.alu(R9, "|", 1)
    say.jump("find")


def _mix(say: Program) -> None:
    say.alu(R9, "+", R0)
    say.constant(R1, MULTIPLIER)
    say.alu(R9, "*", R1)


def _find(say: Program, table: int) -> None:
    """Point R7 to the slot of the key in R9."""
    say.label("find")
    for number, shift in enumerate((1, 40)):
        say.alu(R1, "=", R9)
        say.alu(R1, ">>", shift)
        say.alu(R1, "&", BUCKETS - 1)
        say.store(4, R10, INDEX, R1)
        say.alu(R2, "=", R10)
        say.alu(R2, "+", INDEX)
        say.look_up(table)
        say.jump_if(R0, "==", 0, "nothing")
        for slot in range(0, BUCKET, SLOT):
            following = f"after {number}, {slot}"
            say.load(8, R1, R0, slot + KEY)
            say.jump_if(R1, "==", UNUSED, "nothing")
            say.jump_if(R1, "!=", R9, following)
            say.alu(R7, "=", R0)
            say.alu(R7, "+", slot)
            say.jump("found")
            say.label(following)
    say.jump("nothing")


def _judge(say: Program) -> None:
    """Take note of a packet to or from the server in slot R7; R0 is the time from here on."""
    say.label("found")
    say.call(KTIME)
    say.jump_if(R8, "==", SYN, "asked")
    say.store(8, R7, HEARD, R0)
    say.jump_if(R8, "==", SYN_ACK, "answered")
    say.jump_if(R8, "!=", RST_ACK, "nothing")
    say.store(8, R7, SINCE, 0)
    say.jump("report")


def _wait(say: Program) -> None:
    """Begin to wait for the answer to a SYN, or look how long we have waited."""
    say.label("asked")
    say.load(8, R1, R7, SINCE)
    say.jump_if(R1, "!=", 0, "again")
    say.store(8, R7, SINCE, R0)
    say.load(8, R2, R10, CLIENT)
    say.store(8, R7, PORT, R2)
    say.jump("nothing")
    say.label("again")
    say.alu(R2, "=", R0)
    say.alu(R2, "-", R1)
    say.load(8, R3, R7, ROUND_TRIP)
    say.alu(R3, "<<", 3)
    say.jump_if(R3, ">", PATIENCE, "patient")
    say.alu(R3, "=", PATIENCE)
    say.label("patient")
    say.jump_if(R3, ">", R2, "nothing")
    say.store(8, R7, PORT, 0)  # an answer to a SYN sent twice measures no round trip
    say.jump("report")


def _measure(say: Program) -> None:
    """End the wait; take the round trip, if it is that client's SYN that is answered."""
    say.label("answered")
    say.load(8, R1, R7, SINCE)
    say.jump_if(R1, "==", 0, "nothing")
    say.store(8, R7, SINCE, 0)
    say.load(8, R2, R7, PORT)
    say.load(8, R3, R10, CLIENT)
    say.jump_if(R2, "!=", R3, "nothing")
    say.alu(R0, "-", R1)
    say.load(8, R2, R7, ROUND_TRIP)
    say.jump_if(R2, "==", 0, "first")
    say.alu(R3, "=", R2)  # smoothed by an eighth (RFC 6298, 2.3)
    say.alu(R3, ">>", 3)
    say.alu(R2, "-", R3)
    say.alu(R0, ">>", 3)
    say.alu(R0, "+", R2)
    say.label("first")
    say.store(8, R7, ROUND_TRIP, R0)
    say.jump("nothing")


def _report(say: Program) -> None:
    """Tell user space of the server in slot R7, unless it has just been told."""
    say.label("report")
    say.load(8, R1, R7, QUIET_UNTIL)
    say.jump_if(R1, ">", R0, "nothing")
    say.alu(R0, "+", QUIET)
    say.store(8, R7, QUIET_UNTIL, R0)
    say.alu(R0, "=", SNAP)
    say.exit()


# The older machine (classic BPF, include/uapi/linux/filter.h), which every kernel has.
WORD_AT, HALF_AT, BYTE_AT = 0x20, 0x28, 0x30
WORD_FROM_X, BYTE_FROM_X = 0x40, 0x50
SET_X, SET_X_TO_IPV4_HEADER = 0x01, 0xB1
AND, EQUAL, BITS, RETURN = 0x54, 0x15, 0x45, 0x06
ANCILLARY = 0xFFFF_F000  # SKF_AD_OFF: the protocol, and four bytes later the packet's type


def refused() -> bytes:
    """Return the program (classic BPF) that reports every refusal of a SYN, whoever sends it."""
    lines = (
        ("", WORD_AT, ANCILLARY + 4, "", ""),
        ("", EQUAL, HOST, "", "nothing"),
        ("", WORD_AT, ANCILLARY, "", ""),
        ("", EQUAL, 0x0800, "IPv4", ""),
        ("", EQUAL, 0x86DD, "", "nothing"),
        ("", SET_X, 40, "", ""),
        ("", BYTE_AT, 6, "", ""),
        ("", EQUAL, socket.IPPROTO_TCP, "TCP", "nothing"),
        ("IPv4", BYTE_AT, 9, "", ""),
        ("", EQUAL, socket.IPPROTO_TCP, "", "nothing"),
        ("", HALF_AT, 6, "", ""),
        ("", BITS, 0x1FFF, "nothing", ""),
        ("", SET_X_TO_IPV4_HEADER, 0, "", ""),
        ("TCP", BYTE_FROM_X, 13, "", ""),
        ("", AND, FLAGS, "", ""),
        ("", EQUAL, RST_ACK, "", "nothing"),
        ("", WORD_FROM_X, 4, "", ""),
        ("", EQUAL, 0, "", "nothing"),
        ("", RETURN, SNAP, "", ""),
        ("nothing", RETURN, 0, "", ""),
    )
    places = {label: place for place, (label, *_) in enumerate(lines)}
    return b"".join(
        STATEMENT.pack(code, *(places[it] - place - 1 if it else 0 for it in (yes, no)), number)
        for place, (_, code, number, yes, no) in enumerate(lines)
    )
