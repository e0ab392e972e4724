"""The bytes that are run: as an assembler would give them."""

from __future__ import annotations

import ctypes
import mmap
import platform

import pytest

from app.sandbox.clickhouse.machine_code import X8664, AArch64

CELL, TARGET = 0x1122334455667788, 0x99AABBCCDDEEFF00


def test_x86_64_notes_the_object_and_goes_on() -> None:
    assert X8664().note_and_go(CELL, TARGET).hex(" ") == (
        "48 b8 88 77 66 55 44 33 22 11 "  # movabs rax, CELL
        "48 89 38 "  # mov qword ptr [rax], rdi
        "48 b8 00 ff ee dd cc bb aa 99 "  # movabs rax, TARGET
        "ff e0"  # jmp rax
    )


def test_x86_64_shifts_the_object_and_goes_on() -> None:
    assert X8664().shift_and_go(0x120, TARGET).hex(" ") == (
        "48 8d bf 20 01 00 00 "  # lea rdi, [rdi + 0x120]
        "48 b8 00 ff ee dd cc bb aa 99 "  # movabs rax, TARGET
        "ff e0"  # jmp rax
    )


def test_aarch64_notes_the_object_and_goes_on() -> None:
    assert AArch64().note_and_go(CELL, TARGET).hex(" ", -4) == (
        "90000058 "  # ldr x16, #16
        "000200f9 "  # str x0, [x16]
        "90000058 "  # ldr x16, #16
        "00021fd6 "  # br x16
        "88776655 44332211 00ffeedd ccbbaa99"
    )


def test_aarch64_shifts_the_object_and_goes_on() -> None:
    assert AArch64().shift_and_go(0x120, TARGET).hex(" ", -4) == (
        "00800491 "  # add x0, x0, #0x120
        "70000058 "  # ldr x16, #12
        "00021fd6 "  # br x16
        "1f2003d5 "  # nop
        "00ffeedd ccbbaa99"
    )


def test_aarch64_cannot_shift_further_than_an_add_reaches() -> None:
    with pytest.raises(ValueError, match="12 bits"):
        AArch64().shift_and_go(4096, TARGET)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the code on this processor")
def test_the_code_does_on_this_processor_what_it_says() -> None:
    """`target` gives back its first argument, so the result is the object that it was given."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    base = ctypes.addressof(ctypes.c_char.from_buffer(page))
    cell = ctypes.c_uint64()
    target = b"\x48\x89\xf8\xc3"  # mov rax, rdi; ret
    note = X8664().note_and_go(ctypes.addressof(cell), base)
    shift = X8664().shift_and_go(8, base)
    for at, code in ((0, target), (64, note), (128, shift)):
        page[at : at + len(code)] = code
    call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
    assert call(base + 64)(1000) == 1000
    assert cell.value == 1000
    assert call(base + 128)(1000) == 1008
