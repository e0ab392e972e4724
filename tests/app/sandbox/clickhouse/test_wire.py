"""Bytes in, values out: varints, frames, blocks."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import pytest
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.clickhouse import compression
from app.sandbox.clickhouse.compression import Method
from app.sandbox.clickhouse.faults import Disconnected, ServerError, parse_engine_error
from app.sandbox.clickhouse.native_blocks import layout_of
from app.sandbox.clickhouse.reader import Reader, header_block, split_blocks, text_block
from app.sandbox.clickhouse.wire import Wire, unquoted


def reader_of(data: bytes, step: int = 1) -> Reader:
    """A reader that gets its bytes a few at a time."""
    parts = [data[i : i + step] for i in range(0, len(data), step)][::-1]

    return Reader(lambda: parts.pop() if parts else b"")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(st.integers(0, 2**63 - 1))
def test_a_varint_of_any_size_is_read(value: int) -> None:
    assert reader_of(varint(value)).varint() == value


def test_a_varint_without_end_is_no_greeting() -> None:
    with pytest.raises(Disconnected):
        reader_of(b"\xff" * 20).varint()


def test_a_text_that_is_too_long_is_not_waited_for() -> None:
    with pytest.raises(Disconnected):
        reader_of(varint(1 << 40)).text()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_blocks_in_a_row_are_told_apart(step: int) -> None:
    first = text_block(("a", "b"), [("x", "y" * 200), ("", "é")])
    second = header_block([("n", "Array(Map(String, LowCardinality(Nullable(Int8))))")])
    assert split_blocks(first + second + first) == [first, second, first]


def test_a_result_of_a_type_that_is_not_walked_stays_whole() -> None:
    odd = header_block([("s", "AggregateFunction(uniq, String)")])
    assert split_blocks(odd) == [odd]


@pytest.mark.parametrize("name", ["AggregateFunction(sum, UInt8)", "Object('json')", ""])
def test_a_column_that_cannot_be_measured_is_refused(name: str) -> None:
    with pytest.raises(ServerError) as refused:
        layout_of(name)
    assert refused.value.code == 48


@given(data=st.binary(max_size=100), method=st.sampled_from(Method))
def test_what_is_compressed_is_decompressed(data: bytes, method: Method) -> None:
    frame = compression.compress(data + b"x", method)
    head = frame[: compression.HASH_SIZE + compression.HEADER.size]
    assert compression.frame_size(head) == len(frame) - len(head)
    assert compression.decompress(frame) == data + b"x"


def test_large_data_is_several_frames() -> None:
    data = bytes(compression.FRAME_DATA) + b"end"
    frames = compression.compress(data)
    head = compression.HASH_SIZE + compression.HEADER.size
    first = head + compression.frame_size(frames[:head])
    assert compression.decompress(frames[:first]) + compression.decompress(frames[first:]) == data


def framed(method: int, plain: int, packed: bytes) -> bytes:
    """A frame whose hash is right, whatever it holds."""
    rest = compression.HEADER.pack(method, compression.HEADER.size + len(packed), plain) + packed
    first, second = divmod(CityHash128(rest), 1 << 64)
    return struct.pack("<QQ", first, second) + rest


@pytest.mark.parametrize(
    "frame",
    [
        framed(0x82, 10, b"no such thing"),
        framed(0x90, 10, b"no such thing"),
        framed(0x02, 10, b"too long for it"),
        framed(0x82, 1 << 30, b"\x10x"),
        framed(0x90, 1 << 30, zstd.compress(b"x")),
        framed(0x90, 5, zstd.compress(bytes(1 << 20))),
        framed(0x77, 1, b"x"),
    ],
    ids=["lz4", "zstd", "plain", "lz4 size", "zstd size", "zstd bomb", "method"],
)
def test_a_frame_that_lies_ends_the_connection(frame: bytes) -> None:
    with pytest.raises(Disconnected):
        compression.decompress(frame)


def test_a_frame_with_a_wrong_byte_ends_the_connection() -> None:
    frame = bytearray(compression.compress(b"some data"))
    frame[-1] ^= 1
    with pytest.raises(Disconnected):
        compression.decompress(bytes(frame))


def test_a_frame_that_claims_gigabytes_ends_the_connection() -> None:
    head = bytes(16) + compression.HEADER.pack(0x82, 1 << 31, 1 << 31)
    with pytest.raises(Disconnected):
        compression.frame_size(head)


ERRORS = {
    "Code: 497. DB::Exception: ana: Not enough privileges. (ACCESS_DENIED)": (
        497,
        "DB::Exception: ana: Not enough privileges.",
    ),
    "Code: 492. DB::Exception: Code: 492. DB::Exception: ID(x) not found. "
    "(ACCESS_ENTITY_NOT_FOUND) (version 26.9.2.1). (ACCESS_ENTITY_NOT_FOUND)": (
        492,
        "DB::Exception: Code: 492. DB::Exception: ID(x) not found. (ACCESS_ENTITY_NOT_FOUND)",
    ),
    "Poco::Exception. Code: 1000, e.code() = 0, Invalid address": (
        1000,
        "Poco::Exception. Code: 1000, e.code() = 0, Invalid address",
    ),
    "something else": (1001, "something else"),
}


@pytest.mark.parametrize(("text", "parsed"), ERRORS.items(), ids=[text[:30] for text in ERRORS])
def test_an_engine_error_becomes_a_servers(text: str, parsed: tuple[int, str]) -> None:
    error = parse_engine_error(text)
    assert (error.code, error.message) == parsed


PARAMETERS = {
    "'it\\\\\\'s'": "it\\'s",
    "'[1, 2]'": "[1, 2]",
    "5": "5",
    "[1, 'a']": "[1, 'a']",
    "": "",
    "'": "'",
}


@pytest.mark.parametrize(("sent", "text"), PARAMETERS.items())
def test_a_parameter_is_a_literal_or_bare(sent: str, text: str) -> None:
    assert unquoted(sent) == text


@given(st.binary(max_size=300))
async def test_garbage_never_does_more_than_end_the_connection(data: bytes) -> None:
    """Whatever arrives is refused as ClickHouse does, waited for, or ends the connection."""
    for marked in (False, True):
        with suppress(Disconnected, ServerError):
            reader_of(data, 50).block(marked=marked)


def test_a_query_is_read_whatever_its_client_said_of_itself_before() -> None:
    """The same of itself as before, more, or less: each query ends where it does."""
    tracing = bytes([1]) + bytes(24) + b"\x01t" + bytes(1)
    said = {"one": bytes(1), "traced": tracing, "two": bytes(1)}
    clients = ("one", "one", "two", "traced", "traced", "one")

    def query(client: str, at: int) -> bytes:
        name = bytes([len(client)]) + client.encode()
        info = b"\x01\x00\x00\x00" + struct.pack("<Q", at) + b"\x01" + name * 3 + bytes(6)
        settings = b"\x01a\x00\x01b" + bytes(1)
        text = f"SELECT {at}".encode()
        rest = bytes([0, 2, 0, len(text)]) + text + bytes(1)
        return b"\x00" + info + said[client] + bytes(3) + settings + rest

    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = Wire(ours)
        theirs.sendall(b"\x00\x01x\x01\x01\xbb\xa9\x03\x00\x07default\x00")  # revision 54459
        wire.read_hello()
        theirs.sendall(b"".join(query(client, at) for at, client in enumerate(clients)))
        queries = [wire.read_query() for _ in clients]
    assert [query.sql for query in queries] == [f"SELECT {at}" for at in range(len(clients))]
    assert all(query.settings == {"a": "b"} for query in queries)
