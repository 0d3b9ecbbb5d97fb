"""Programs for the kernel's own machine (eBPF) are put together and handed to the kernel.

Numbers are those of the kernel's include/uapi/linux/bpf.h and bpf_common.h.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lvs_nat.errors import KernelError

# The system call's number is each architecture's own (unistd.h); of those with 64 bits only.
NR_BPF = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "ppc64le": 361,
    "ppc64": 361,
    "s390x": 351,
}
MAP_CREATE = 0
PROG_LOAD = 5
MAP_TYPE_ARRAY = 2
PROG_TYPE_SOCKET_FILTER = 1
F_MMAPABLE = 1 << 10
# The helpers that a program may call.
LOOKUP, KTIME = 1, 5

# Sizes of loads and stores, in bytes.
SIZES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
LD, LDX, ST, STX, JUMP, ALU64 = 0x00, 0x01, 0x02, 0x03, 0x05, 0x07
IMM, ABS, IND, MEM = 0x00, 0x20, 0x40, 0x60
REGISTER = 0x08  # the second operand is a register, not a number
OPERATIONS = {
    "+": 0x00, "-": 0x10, "*": 0x20, "|": 0x40, "&": 0x50, "<<": 0x60, ">>": 0x70, "^": 0xA0,
    "=": 0xB0,
}  # fmt: skip
CONDITIONS = {"==": 0x10, ">": 0x20, "&": 0x40, "!=": 0x50}
CALL, EXIT = 0x80, 0x90
PSEUDO_MAP_FD = 1

_INSTRUCTION = struct.Struct("=BBhi")  # operation, registers, offset, number
_MAP = struct.Struct("=IIIII")
_PROGRAM = struct.Struct("=IIQQIIQ")
_LITTLE = sys.byteorder == "little"
LOG = 256 * 1024  # bytes for the verifier's reasons


@dataclass(frozen=True)
class Register:
    """One of the machine's eleven registers; number 10 points to the end of the stack."""

    number: int


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = map(Register, range(11))


@dataclass
class Program:
    """Instructions in the order they are said; a jump names a label that stands further down."""

    _code: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    _jumps: dict[int, str] = field(default_factory=dict)
    _labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> None:
        """Have jumps to *name* go on here."""
        self._labels[name] = len(self._code)

    def alu(self, target: Register, operation: str, value: Register | int) -> None:
        """Say ``target operation= value``, on 64 bits; "=" is the plain assignment."""
        code = ALU64 | OPERATIONS[operation]
        if isinstance(value, Register):
            self._add(code | REGISTER, target, value)
        else:
            self._add(code, target, number=value)

    def constant(self, target: Register, value: int) -> None:
        """Say ``target = value`` for a number of 64 bits."""
        self._wide(target, R0, value)

    def load(self, size: int, target: Register, base: Register, offset: int) -> None:
        """Read *size* bytes of memory."""
        self._add(LDX | MEM | SIZES[size], target, base, offset)

    def store(self, size: int, base: Register, offset: int, value: Register | int) -> None:
        """Write *size* bytes of memory."""
        if isinstance(value, Register):
            self._add(STX | MEM | SIZES[size], base, value, offset)
        else:
            self._add(ST | MEM | SIZES[size], base, offset=offset, number=value)

    def packet(self, size: int, offset: int, base: Register | None = None) -> None:
        """Read R0 from the packet, at *base* + *offset*; R1 to R5 are lost.

        The packet is that of the context in R6.  One that is too short ends the program with 0.
        """
        if base is None:
            self._add(LD | ABS | SIZES[size], number=offset)
        else:
            self._add(LD | IND | SIZES[size], source=base, number=offset)

    def look_up(self, table: int) -> None:
        """Point R0 to the element of the map *table* whose key is where R2 points; 0 for none."""
        self._wide(R1, Register(PSEUDO_MAP_FD), table)
        self.call(LOOKUP)

    def call(self, helper: int) -> None:
        """Have the kernel answer in R0; R1 to R5 are lost."""
        self._add(JUMP | CALL, number=helper)

    def jump(self, name: str) -> None:
        """Go on at a label."""
        self._jumps[len(self._code)] = name
        self._add(JUMP)

    def jump_if(self, left: Register, condition: str, right: Register | int, name: str) -> None:
        """Go on at a label if the condition holds; "&" asks for common bits."""
        self._jumps[len(self._code)] = name
        code = JUMP | CONDITIONS[condition]
        if isinstance(right, Register):
            self._add(code | REGISTER, left, right)
        else:
            self._add(code, left, number=right)

    def exit(self) -> None:
        """End with the value of R0."""
        self._add(JUMP | EXIT)

    def assembled(self) -> bytes:
        """Return the instructions as the kernel reads them."""
        found = []
        for place, (code, target, source, offset, number) in enumerate(self._code):
            if place in self._jumps:
                offset = self._labels[self._jumps[place]] - place - 1
            registers = target | source << 4 if _LITTLE else target << 4 | source
            found.append(_INSTRUCTION.pack(code, registers, offset, number))
        return b"".join(found)

    def _wide(self, target: Register, source: Register, value: int) -> None:
        high, low = struct.unpack(">ii", struct.pack(">Q", value))
        self._add(LD | IMM | SIZES[8], target, source, number=low)
        self._add(0, number=high)

    def _add(
        self,
        code: int,
        target: Register = R0,
        source: Register = R0,
        offset: int = 0,
        number: int = 0,
    ) -> None:
        self._code.append((code, target.number, source.number, offset, number))


def create_array(size: int, elements: int) -> int:
    """Return a descriptor of a new array in the kernel that can be mapped into memory.

    Raises KernelError where the kernel has none (before 5.5) or we may not.
    """
    attributes = _MAP.pack(MAP_TYPE_ARRAY, 4, size, elements, F_MMAPABLE)
    with _locked_memory():
        return _bpf(MAP_CREATE, attributes, "make a table for a packet filter")


def load_filter(program: bytes) -> int:
    """Return a descriptor of *program*, which the kernel has verified, for a socket.

    Raises KernelError where the kernel refuses it, or us.
    """
    with _locked_memory():
        try:
            return _load(program)
        except KernelError:
            # Once more to be told why: writing it down takes the kernel longer than the work.
            return _load(program, ctypes.create_string_buffer(LOG))


def _load(program: bytes, log: ctypes.Array[ctypes.c_char] | None = None) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = _PROGRAM.pack(
        PROG_TYPE_SOCKET_FILTER,
        len(program) // _INSTRUCTION.size,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        *((1, LOG, ctypes.addressof(log)) if log else (0, 0, 0)),
    )
    try:
        return _bpf(PROG_LOAD, attributes, "load a packet filter")
    except KernelError as error:
        said = log.value.decode(errors="replace").splitlines() if log else []
        reasons = [line for line in said if not line.startswith("processed ")]
        raise KernelError(": ".join([str(error), *reasons[-1:]]), error.errno) from None


@contextmanager
def _locked_memory() -> Iterator[None]:
    """Lift the limit on locked memory: before Linux 5.11 what is made here counts as such."""
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(OSError, ValueError):  # without CAP_SYS_RESOURCE there is what there is
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


def _bpf(command: int, attributes: bytes, act: str) -> int:
    machine = os.uname().machine
    if machine not in NR_BPF or sys.maxsize < 2**32:
        raise KernelError(f"cannot {act}: not known how on {machine}, {sys.maxsize + 1:#x}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    size = ctypes.c_ulong(len(attributes))
    result = libc.syscall(ctypes.c_long(NR_BPF[machine]), ctypes.c_long(command), buffer, size)
    if result < 0:
        number = ctypes.get_errno()
        raise KernelError(f"cannot {act}: {os.strerror(number)}", number)
    return int(result)
