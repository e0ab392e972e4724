"""Compressed frames of the native protocol (`src/Compression/CompressedReadBufferBase.cpp`).

frame = CityHash128 of what follows (16 bytes), method (1), size of the frame without the hash
        (4), size of the data (4), data
"""

from __future__ import annotations

import struct

import lz4.block  # type: ignore[import-untyped]
import zstd  # type: ignore[import-untyped]
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]

from app.sandbox.clickhouse.faults import Disconnected

HASH_SIZE, HEADER = 16, struct.Struct("<BII")
FRAME_DATA = 1 << 20
_MAX_FRAME = 1 << 30
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90


def compress(data: bytes) -> bytes:
    """Return `data` in LZ4 frames, which every client reads whatever it sends itself."""
    return b"".join(
        _frame(data[start : start + FRAME_DATA]) for start in range(0, len(data), FRAME_DATA)
    )


def frame_size(head: bytes) -> int:
    """Return how many bytes follow the hash and header in `head`. Raises Disconnected."""
    _, size, plain = HEADER.unpack_from(head, HASH_SIZE)
    if not HEADER.size <= size <= _MAX_FRAME or plain > _MAX_FRAME:
        raise Disconnected
    return int(size) - HEADER.size


def decompress(frame: bytes) -> bytes:
    """Return a frame's data. Raises Disconnected where it is damaged."""
    method, _, plain = HEADER.unpack_from(frame, HASH_SIZE)
    if _hash(frame[HASH_SIZE:]) != frame[:HASH_SIZE]:
        raise Disconnected
    data = frame[HASH_SIZE + HEADER.size :]
    if method == _LZ4:
        return bytes(lz4.block.decompress(data, uncompressed_size=plain))
    if method == _ZSTD:
        return bytes(zstd.decompress(data))
    if method == _NONE:
        return data
    raise Disconnected


def _frame(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    frame = HEADER.pack(_LZ4, HEADER.size + len(packed), len(data)) + packed
    return _hash(frame) + frame


def _hash(data: bytes) -> bytes:
    first, second = divmod(CityHash128(data), 1 << 64)
    return struct.pack("<QQ", first, second)
