"""Connections under faults: real sockets that refuse, fall silent or break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.errors import StatementRefused, TargetUnavailable
from workers.clickhouse.pool import Endpoint, Pool


class Wire:
    """A forwarder to the server that can fall silent, as a stopped server or a dropped route."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.connections = 0
        self.forwarded_long = asyncio.Event()
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@pytest.fixture
async def wire(endpoint: Endpoint) -> AsyncIterator[Wire]:
    host, port = endpoint.hosts[0]
    async with _forwarder(host, port) as wire:
        yield wire


@asynccontextmanager
async def _forwarder(host: str, port: int) -> AsyncIterator[Wire]:
    wire = Wire()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await wire.open.wait()
            writer.write(data)
            await writer.drain()
            if b"the long one" in data:
                wire.forwarded_long.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.connections += 1
        there, back = await asyncio.open_connection(host, port)
        wire.writers += [writer, back]
        ways = [
            asyncio.create_task(forward(reader, back)),
            asyncio.create_task(forward(there, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        wire.cut()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.cut()
        server.close()
        await server.wait_closed()


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """Yield the port of a server that accepts and never says a word."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def one(pool: Pool, sql: str = "SELECT 1") -> Any:
    async with pool.session() as session:
        return (await session.query(sql))[0][0]


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.monotonic()
    with pytest.raises(TargetUnavailable):
        await work()
    return time.monotonic() - began


@asynccontextmanager
async def pool_of(endpoint: Endpoint, *hosts: tuple[str, int], **more: Any) -> AsyncIterator[Pool]:
    pool = Pool(replace(endpoint, hosts=hosts or endpoint.hosts, **more))
    try:
        yield pool
    finally:
        await pool.close()


async def test_a_connection_is_kept_after_success_and_after_a_refusal(
    endpoint: Endpoint, wire: Wire
) -> None:
    async with pool_of(endpoint, ("127.0.0.1", wire.port)) as pool:
        assert await one(pool) == 1
        with pytest.raises(StatementRefused) as refused:
            await one(pool, "DROP USER nobody_of_this_name")
        assert refused.value.code in {192, 497}
        assert await one(pool, "SELECT 2") == 2
        assert wire.connections == 1


async def test_the_log_comment_goes_with_the_statement(endpoint: Endpoint) -> None:
    async with pool_of(endpoint) as pool, pool.session() as session:
        rows = await session.query("SELECT getSetting('log_comment')", log_comment="event 7")
    assert rows == [("event 7",)]


async def test_a_percent_sign_is_not_a_place_for_an_argument(endpoint: Endpoint) -> None:
    async with pool_of(endpoint) as pool:
        assert await one(pool, "SELECT '%(x)s %s %%'") == "%(x)s %s %%"


async def test_a_host_that_refuses_is_passed_over_for_good(endpoint: Endpoint, wire: Wire) -> None:
    hosts = (("127.0.0.1", unused_port()), ("127.0.0.1", wire.port))
    async with pool_of(endpoint, *hosts) as pool:
        assert await one(pool) == 1
        assert await one(pool) == 1
        assert wire.connections == 1


async def test_a_host_that_is_silent_is_passed_over_in_time(
    endpoint: Endpoint, silent_port: int
) -> None:
    hosts = (("127.0.0.1", silent_port), *endpoint.hosts)
    async with pool_of(endpoint, *hosts, connect_s=0.3) as pool:
        began = time.monotonic()
        assert await one(pool) == 1
        assert time.monotonic() - began < 2


async def test_when_no_host_answers_the_target_is_unavailable(
    endpoint: Endpoint, silent_port: int
) -> None:
    hosts = (("127.0.0.1", unused_port()), ("127.0.0.1", silent_port))
    async with pool_of(endpoint, *hosts, connect_s=0.3) as pool:
        assert await seconds(lambda: one(pool)) < 2


@pytest.mark.parametrize(
    ("wrong", "code"), [({"user": "nobody_of_this_name"}, 516), ({"database": "no_such"}, 81)]
)
async def test_a_log_in_that_fails_is_nobodys_resource_to_blame(
    endpoint: Endpoint, wrong: dict[str, str], code: int
) -> None:
    async with pool_of(endpoint, **wrong) as pool:
        with pytest.raises(TargetUnavailable) as refused:
            await one(pool)
    assert refused.value.code == code


async def test_a_server_that_falls_silent_is_given_up_in_time(
    endpoint: Endpoint, wire: Wire
) -> None:
    async with pool_of(endpoint, ("127.0.0.1", wire.port), query_s=0.3) as pool:
        assert await one(pool) == 1
        wire.open.clear()
        assert await seconds(lambda: one(pool)) < 2
        wire.open.set()
        assert await one(pool) == 1
        assert wire.connections == 2


async def test_after_a_break_one_statement_at_most_fails(endpoint: Endpoint, wire: Wire) -> None:
    """A connection that answered a moment ago is not asked again whether it lives."""
    async with pool_of(endpoint, ("127.0.0.1", wire.port)) as pool:
        assert await one(pool) == 1
        wire.cut()
        with contextlib.suppress(TargetUnavailable):
            await one(pool)
        assert await one(pool) == 1


async def test_a_break_in_the_middle_of_a_statement_is_an_error(
    endpoint: Endpoint, wire: Wire
) -> None:
    async with pool_of(endpoint, ("127.0.0.1", wire.port)) as pool, asyncio.timeout(10):
        waiting = asyncio.create_task(one(pool, "SELECT sleep(2) /* the long one */"))
        await wire.forwarded_long.wait()
        wire.cut()
        with pytest.raises(TargetUnavailable):
            await waiting
        assert await one(pool) == 1


async def test_a_cancelled_statement_leaves_no_half_read_connection(
    endpoint: Endpoint, wire: Wire
) -> None:
    async with pool_of(endpoint, ("127.0.0.1", wire.port)) as pool:
        assert await one(pool) == 1
        wire.open.clear()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await one(pool, "SELECT 'old'")
        assert time.monotonic() - began < 2
        wire.open.set()
        assert await one(pool, "SELECT 'new'") == "new"


async def test_no_more_connections_than_allowed(endpoint: Endpoint, wire: Wire) -> None:
    async with pool_of(endpoint, ("127.0.0.1", wire.port), max_connections=2) as pool:
        assert await asyncio.gather(*(one(pool, f"SELECT {n}") for n in range(20))) == [*range(20)]
        assert wire.connections <= 2


async def test_a_host_that_died_is_left_for_another_and_stays_left(
    endpoint: Endpoint, wire: Wire
) -> None:
    """Both hosts are one server here; what counts is who is asked."""
    host, port = endpoint.hosts[0]
    async with _forwarder(host, port) as second:
        hosts = (("127.0.0.1", wire.port), ("127.0.0.1", second.port))
        async with pool_of(endpoint, *hosts, query_s=1.5, connect_s=1.5) as pool:
            await asyncio.gather(*(one(pool) for _ in range(4)))
            assert second.connections == 0
            wire.open.clear()
            assert await seconds(lambda: one(pool)) < 20
            assert await one(pool) == 1
            assert second.connections == 1
            wire.open.set()
            assert await one(pool) == 1
            assert second.connections == 1


async def test_a_closed_pool_connects_no_more(endpoint: Endpoint) -> None:
    async with pool_of(endpoint) as pool:
        assert await one(pool) == 1
    with pytest.raises(TargetUnavailable):
        await one(pool)


def test_a_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Endpoint(hosts=(("h", 1),), user="u", password="hunter2"))
