"""Programs for the kernel's machine: as it reads them, and as it judges them."""

import os
import struct
import sys

import pytest

from lvs_nat.errors import KernelError
from lvs_nat.system.bpf import LOOKUP, R0, R1, R2, R6, R10, Program, create_array, load_filter

LITTLE = sys.byteorder == "little"


def instructions(program):
    """Return (operation, target, source, offset, number) of each."""
    found = []
    for code, registers, offset, number in struct.iter_unpack("=BBhi", program.assembled()):
        low, high = registers & 15, registers >> 4
        found.append((code, *((low, high) if LITTLE else (high, low)), offset, number))
    return found


# As the kernel's Documentation/bpf/instruction-set.rst has them.
@pytest.mark.parametrize(
    "say, meant",
    [
        (lambda it: it.alu(R0, "=", 5), [(0xB7, 0, 0, 0, 5)]),
        (lambda it: it.alu(R6, "=", R1), [(0xBF, 6, 1, 0, 0)]),
        (lambda it: it.alu(R2, "+", -8), [(0x07, 2, 0, 0, -8)]),
        (lambda it: it.alu(R0, ">>", 32), [(0x77, 0, 0, 0, 32)]),
        (lambda it: it.alu(R0, "*", R1), [(0x2F, 0, 1, 0, 0)]),
        (lambda it: it.load(4, R1, R6, 16), [(0x61, 1, 6, 16, 0)]),
        (lambda it: it.load(8, R1, R0, 40), [(0x79, 1, 0, 40, 0)]),
        (lambda it: it.store(8, R10, -16, R0), [(0x7B, 10, 0, -16, 0)]),
        (lambda it: it.store(4, R10, -8, 3), [(0x62, 10, 0, -8, 3)]),
        (lambda it: it.packet(2, 6), [(0x28, 0, 0, 0, 6)]),
        (lambda it: it.packet(1, 13, R2), [(0x50, 0, 2, 0, 13)]),
        (lambda it: it.constant(R1, 0x9E3779B97F4A7C15), [
            (0x18, 1, 0, 0, 0x7F4A7C15), (0, 0, 0, 0, 0x9E3779B9 - 2**32),
        ]),
        (lambda it: it.look_up(7), [
            (0x18, 1, 1, 0, 7), (0, 0, 0, 0, 0), (0x85, 0, 0, 0, LOOKUP),
        ]),
        (lambda it: it.exit(), [(0x95, 0, 0, 0, 0)]),
    ],
)  # fmt: skip
def test_what_is_said_is_what_the_kernel_reads(say, meant):
    program = Program()
    say(program)

    assert instructions(program) == meant


def test_a_jump_goes_on_at_its_label():
    program = Program()
    program.jump_if(R0, "==", 1, "end")
    program.jump_if(R0, "&", R1, "end")
    program.jump("middle")
    program.alu(R0, "=", 0)
    program.label("middle")
    program.alu(R0, "=", 1)
    program.label("end")
    program.exit()

    assert instructions(program)[:3] == [
        (0x15, 0, 0, 4, 1),
        (0x4D, 0, 1, 3, 0),
        (0x05, 0, 0, 1, 0),
    ]


@pytest.mark.kernel
def test_a_program_that_the_kernel_refuses_is_refused_with_its_reason():
    program = Program()
    program.exit()  # without a value

    with pytest.raises(KernelError, match=r"cannot load a packet filter: .*: R0 !read_ok"):
        load_filter(program.assembled())


@pytest.mark.kernel
def test_descriptors_are_not_inherited_by_what_is_run_later():
    program = Program()
    program.alu(R0, "=", 0)
    program.exit()
    found = [load_filter(program.assembled()), create_array(8, 1)]
    inherited = [os.get_inheritable(descriptor) for descriptor in found]
    for descriptor in found:
        os.close(descriptor)

    assert inherited == [False, False]
