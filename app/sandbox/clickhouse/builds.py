"""The builds of the embedded engine that are known, and how one is recognised.

Offsets are from the start of the loaded library to the first slot of a vtable; the ABI's two words
before it (offset to top, type_info) are checked when the engine is opened. They are found by
looking for the classes' names in the library, for the type_info that points to each name, and for
the vtable that points to that.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ELSEWHERE = "install a ClickHouse server and set CLICKHOUSE_URL, or put `clickhouse` on PATH"
_NT_GNU_BUILD_ID, _PT_NOTE = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    machine: str
    size: int
    control: int
    users: int
    memory: int


BUILDS: Mapping[str, Build] = {
    # chdb-core 26.9.0, manylinux x86_64 (ClickHouse 26.9.2.1)
    "bdc4640446f9e58ef835635e38764a5992cd4b3c": Build(
        machine="x86_64",
        size=555_403_697,
        control=0x20C70110,
        users=0x20C734F8,
        memory=0x20C71AF0,
    ),
    # chdb-core 26.9.0, manylinux aarch64
    "6cc809869151f9d6f28390559ef55d65b1cb86cb": Build(
        machine="aarch64",
        size=493_832_505,
        control=0x1D19DD20,
        users=0x1D1A1100,
        memory=0x1D19F6F8,
    ),
}


def read_build_id(library: Path) -> str:
    """Return the id that the linker gave to an ELF file, in hex; empty where there is none.

    It is read from the program header's notes (System V ABI, "Note Section"), so a file of half a
    gigabyte needs no hashing.
    """
    with library.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":  # 64 bit, little-endian
            return ""
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        programs = file.read(size * count)
        for i in range(count):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", programs, size * i)
            if kind == _PT_NOTE:
                file.seek(offset)
                if found := _build_id_in(file.read(length)):
                    return found
    return ""


def _build_id_in(notes: bytes) -> str:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        start = at + 12 + (name_size + 3) // 4 * 4
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0":
            return notes[start : start + size].hex()
        at = start + (size + 3) // 4 * 4
    return ""
