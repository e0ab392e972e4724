"""Compressed frames of the native protocol (`src/Compression/CompressedReadBufferBase.cpp`).

frame = CityHash128 of what follows (16 bytes), method (1), size of the frame without the hash
        (4), size of the data (4), data
"""

from __future__ import annotations

import struct
from enum import IntEnum

import lz4.block  # type: ignore[import-untyped]
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]

from app.sandbox.clickhouse.faults import Disconnected

HASH_SIZE, HEADER = 16, struct.Struct("<BII")
FRAME_DATA = 1 << 20
_MAX_FRAME = 1 << 30
_LZ4_AT_MOST = 255  # times the size that it is packed in


class Method(IntEnum):
    NONE = 0x02
    LZ4 = 0x82
    ZSTD = 0x90


def compress(data: bytes, method: Method = Method.LZ4) -> bytes:
    """Return `data` in frames."""
    return b"".join(
        _frame(data[start : start + FRAME_DATA], method)
        for start in range(0, len(data), FRAME_DATA)
    )


def frame_size(head: bytes) -> int:
    """Return how many bytes follow the hash and header in `head`. Raises Disconnected."""
    _, size, plain = HEADER.unpack_from(head, HASH_SIZE)
    if not HEADER.size <= size <= _MAX_FRAME or plain > _MAX_FRAME:
        raise Disconnected
    return int(size) - HEADER.size


def decompress(frame: bytes) -> bytes:
    """Return a frame's data. Raises Disconnected where it is damaged.

    Memory is taken for what is there, not for what the frame claims.
    """
    method, _, plain = HEADER.unpack_from(frame, HASH_SIZE)
    if _hash(frame[HASH_SIZE:]) != frame[:HASH_SIZE]:
        raise Disconnected
    data = frame[HASH_SIZE + HEADER.size :]
    try:
        unpacked = _unpack(data, plain, Method(method))
    except (ValueError, lz4.block.LZ4BlockError, zstd.ZstdError) as error:
        raise Disconnected from error
    if len(unpacked) != plain:
        raise Disconnected
    return unpacked


def _unpack(data: bytes, plain: int, method: Method) -> bytes:
    match method:
        case Method.LZ4:
            if plain > _LZ4_AT_MOST * len(data):
                raise Disconnected
            return bytes(lz4.block.decompress(data, uncompressed_size=plain))
        case Method.ZSTD:
            return zstd.ZstdDecompressor().decompress(data, plain + 1)
        case Method.NONE:
            return data


def _frame(data: bytes, method: Method) -> bytes:
    match method:
        case Method.LZ4:
            packed: bytes = lz4.block.compress(data, store_size=False)
        case Method.ZSTD:
            packed = zstd.compress(data, 1)
        case Method.NONE:
            packed = data
    frame = HEADER.pack(method, HEADER.size + len(packed), len(data)) + packed
    return _hash(frame) + frame


def _hash(data: bytes) -> bytes:
    first, second = divmod(CityHash128(data), 1 << 64)
    return struct.pack("<QQ", first, second)
