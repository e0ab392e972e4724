"""Clients that break off, lie or wait for ever take neither the server nor its memory."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer, Sql
    from tests.conftest import ClickHouseServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

HUGE = b"\xff" * 8 + b"\x7f"  # a varint beyond any length
HELLO = b"\x00\x01x\x01\x01\xbb\xa9\x03\x00\x07default\x00"  # revision 54459
QUERY = b"\x01\x00" + b"\x01" + b"\x00" * 2 + b"\x09127.0.0.1" + bytes(8) + b"\x01" + bytes(14)
NATIVE = {
    "nothing": b"",
    "noise": random.Random(5).randbytes(4000),
    "half a greeting": HELLO[:9],
    "a greeting with a huge name": b"\x00" + HUGE,
    "an old client": b"\x00\x01x\x01\x01\x01\x00\x00\x00",
    "noise after the greeting": HELLO + b"\x00" + random.Random(6).randbytes(4000),
    "half a query": HELLO + b"\x00" + QUERY[:20],
    "a query of a huge length": HELLO + b"\x00\x01" + HUGE,
    "a block of a huge length": HELLO + b"\x00\x02\x00\x00" + HUGE + HUGE + b"\x01a\x05UInt8\x00",
    "an unknown packet": HELLO + b"\x00\x63",
}
HTTP = {
    "noise": random.Random(7).randbytes(4000),
    "half a head": b"POST / HTTP/1.1\r\nHost: x\r\nX-Click",
    "a head without end": b"GET /?query=" + b"a" * (2 << 20),
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nSELECT",
    "a chunk of a huge length": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffff\r\nSELECT",
    "noise for a coding": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\n"
    b"Content-Length: 5\r\n\r\nabcde",
    "frames of a huge length": b"POST /?decompress=1 HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 99\r\n\r\n"
    + bytes(16)
    + struct.pack("<BII", 0x82, 0x7FFFFFFF, 0x7FFFFFFF)
    + bytes(74),
}
CASES = [("native", name) for name in NATIVE] + [("http", name) for name in HTTP]


async def send(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError):
        writer.write(data)
        await writer.drain()
    return reader, writer


@pytest.mark.parametrize(("protocol", "name"), CASES, ids=[" ".join(case) for case in CASES])
async def test_a_broken_client_is_let_go_and_the_next_one_served(
    sql: Sql, clickhouse: ClickHouseServer, protocol: str, name: str
) -> None:
    port, data = (
        (clickhouse.port, NATIVE[name])
        if protocol == "native"
        else (clickhouse.http_port, HTTP[name])
    )
    reader, writer = await send(port, data)
    writer.write_eof()
    with suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            await reader.read()
    writer.close()
    assert await sql("SELECT 1") == [(1,)]


async def test_two_hundred_that_wait_for_ever_are_in_nobodys_way(
    sql: Sql, clickhouse: ClickHouseServer
) -> None:
    waiting = []
    try:
        for i in range(100):
            waiting.append(await send(clickhouse.port, HELLO[: i % len(HELLO)]))
            waiting.append(await send(clickhouse.http_port, HTTP["half a body"][: 5 + i % 80]))
        assert await sql("SELECT 1") == [(1,)]
    finally:
        for _, writer in waiting:
            writer.transport.abort()


async def test_memory_does_not_grow_with_broken_clients(
    own_server: OwnServer, eventually: Eventually
) -> None:
    """Threads keep some memory for the next ones, so that it rises to a height, and no further.

    Kept, what they send would make it rise by 64 MiB each time.
    """
    sql = own_server.start("--http-port", "0")
    assert own_server.process is not None
    pid = own_server.process.pid
    work = [(own_server.port, data) for data in NATIVE.values()]
    work += [(own_server.ports["http"], data) for data in HTTP.values()]
    assert await sql("SELECT 1") == [(1,)]
    quiet = threads(pid)

    async def has_settled() -> bool:
        return threads(pid) <= quiet + 2

    async def memory_after(rounds: int) -> float:
        for _ in range(rounds):
            opened = await asyncio.gather(*(send(port, data) for port, data in work * 4))
            for _, writer in opened:
                writer.transport.abort()
        await eventually(has_settled)
        return memory_mib(pid)

    heights = [await memory_after(8) for _ in range(5)]
    assert min(later - earlier for earlier, later in pairwise(heights)) < 40, heights
    assert await sql("SELECT 1") == [(1,)]


def memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def threads(pid: int) -> int:
    """A client has one of its own while it is there."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
