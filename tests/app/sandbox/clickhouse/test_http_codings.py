"""Bodies come out as they went in, in parts of any size, and damage is told."""

from __future__ import annotations

import gzip
import zlib

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.http_codings import (
    CODINGS,
    Both,
    Framed,
    Plain,
    Unpacker,
    packer_of,
    unpacker_of,
)

EACH = pytest.mark.parametrize("coding", [*CODINGS, ""])
MEBIBYTE = 1 << 20


def unpacked(unpacker: Unpacker, data: bytes, step: int) -> bytes:
    pieces = [
        piece for i in range(0, len(data), step) for piece in unpacker.unpack(data[i : i + step])
    ]
    unpacker.end()
    return b"".join(pieces)


@EACH
@given(parts=st.lists(st.binary(max_size=200)), step=st.integers(1, 50))
def test_what_is_packed_comes_out_again(coding: str, parts: list[bytes], step: int) -> None:
    packer = packer_of(coding)
    packed = b"".join(map(packer.pack, parts)) + packer.end()
    assert unpacked(unpacker_of(coding), packed, step) == b"".join(parts)


@given(parts=st.lists(st.binary(min_size=1, max_size=200)), step=st.integers(1, 50))
def test_frames_inside_a_coding_come_out_again(parts: list[bytes], step: int) -> None:
    packer = Both(Framed(), packer_of("gzip"))
    packed = b"".join(map(packer.pack, parts)) + packer.end()
    frames = unpacked(unpacker_of("gzip"), packed, step)
    assert unpacked(Framed(), frames, step) == b"".join(parts)


@EACH
def test_several_members_are_one_body(coding: str) -> None:
    packed = b""
    for text in (b"one ", b"two"):
        packer = packer_of(coding)
        packed += packer.pack(text) + packer.end()
    assert unpacked(unpacker_of(coding), packed, 7) == b"one two"


@pytest.mark.parametrize("coding", list(CODINGS))
def test_a_body_that_ends_too_early_is_refused(coding: str) -> None:
    packer = packer_of(coding)
    packed = packer.pack(b"x" * 1000) + packer.end()
    with pytest.raises(ServerError, match="too early"):
        unpacked(unpacker_of(coding), packed[:-1], 100)


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", 354), ("deflate", 354), ("zstd", 561), ("lz4", 614)]
)
def test_a_body_that_is_none_is_refused(coding: str, code: int) -> None:
    with pytest.raises(ServerError) as refused:
        unpacked(unpacker_of(coding), b"SELECT 1 is no such thing at all", 100)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(64 * MEBIBYTE))),
        ("deflate", zlib.compress(bytes(64 * MEBIBYTE))),
        ("zstd", zstd.compress(bytes(64 * MEBIBYTE))),
    ],
)
def test_a_small_body_that_unpacks_to_much_comes_in_pieces(coding: str, bomb: bytes) -> None:
    sizes = [len(piece) for piece in unpacker_of(coding).unpack(bomb)]
    assert sum(sizes) == 64 * MEBIBYTE
    assert max(sizes) <= MEBIBYTE


def test_frames_that_are_damaged_are_refused() -> None:
    packed = bytearray(Framed().pack(b"some data"))
    packed[20] ^= 1
    with pytest.raises(ServerError) as refused:
        unpacked(Framed(), bytes(packed), 100)
    assert refused.value.code == 271
    with pytest.raises(ServerError, match="damaged"):
        unpacked(Framed(), Framed().pack(b"some data")[:-1], 100)


def test_no_coding_is_none() -> None:
    assert unpacked(Plain(), b"as it is", 3) == b"as it is"
