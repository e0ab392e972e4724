"""The two pieces of machine code that opening the engine needs, for each processor that it knows.

A C++ method receives the object as its first argument: in register RDI on x86-64 (System V AMD64
ABI, §3.2.3), in X0 on AArch64 (AAPCS64, §6.8.2). Both pieces leave every other argument alone, so
the function that they go on to cannot tell that it was called through them. The scratch register
that they use (RAX; X16, called IP0) is one that a caller expects to be lost.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Processor(Protocol):
    def note_and_go(self, cell: int, target: int) -> bytes:
        """Store the object's address at `cell`, then go on at `target`."""

    def shift_and_go(self, offset: int, target: int) -> bytes:
        """Go on at `target` with the object that lies `offset` bytes inside the one given."""


@dataclass(frozen=True, slots=True)
class X8664:
    def note_and_go(self, cell: int, target: int) -> bytes:
        return (
            b"\x48\xb8" + struct.pack("<Q", cell)  # mov rax, cell
            + b"\x48\x89\x38"  # mov [rax], rdi
            + self._go(target)
        )  # fmt: skip

    def shift_and_go(self, offset: int, target: int) -> bytes:
        return b"\x48\x8d\xbf" + struct.pack("<i", offset) + self._go(target)  # lea rdi, [rdi+off]

    def _go(self, target: int) -> bytes:
        return b"\x48\xb8" + struct.pack("<Q", target) + b"\xff\xe0"  # mov rax, target; jmp rax


@dataclass(frozen=True, slots=True)
class AArch64:
    """Forms from the Arm Architecture Reference Manual (DDI 0487), C6.2.

    LDR (literal, 64 bit) 01011000 imm19 Rt, the distance in words from the instruction itself; STR
    (unsigned offset, 64 bit) 1111100100 imm12 Rn Rt; ADD (immediate, 64 bit) 1001000100 imm12 Rn
    Rd; BR 1101011000011111000000 Rn 00000.
    """

    def note_and_go(self, cell: int, target: int) -> bytes:
        return struct.pack(
            "<4I2Q",
            _ldr_literal(16, words=4),  # ldr x16, cell
            0xF9000000 | 16 << 5,  # str x0, [x16]
            _ldr_literal(16, words=4),  # ldr x16, target
            _BR_X16,
            cell,
            target,
        )

    def shift_and_go(self, offset: int, target: int) -> bytes:
        if not 0 <= offset < 4096:
            raise ValueError(f"an AArch64 ADD takes 12 bits, not {offset}")
        return struct.pack(
            "<4IQ",
            0x91000000 | offset << 10,  # add x0, x0, #offset
            _ldr_literal(16, words=3),  # ldr x16, target
            _BR_X16,
            _NOP,  # the literal is read faster where it is aligned
            target,
        )


_BR_X16 = 0xD61F0000 | 16 << 5
_NOP = 0xD503201F


def _ldr_literal(register: int, words: int) -> int:
    return 0x58000000 | words << 5 | register


PROCESSORS: Mapping[str, Processor] = {"x86_64": X8664(), "aarch64": AArch64()}
