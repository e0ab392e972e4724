"""The connection that commands share: order, breaks, deadlines; against real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.directory import pipelined
from app.directory.link import Link, connect
from app.errors import DirectoryUnavailable


async def test_commands_of_one_turn_share_a_connection_and_come_back_in_order(link: Link) -> None:
    redis = link.redis
    await redis.ping()
    before = await redis.info("clients")
    replies = await asyncio.gather(*(redis.echo(f"n{number}") for number in range(500)))
    after = await redis.info("clients")
    assert replies == [f"n{number}".encode() for number in range(500)]
    assert after["connected_clients"] == before["connected_clients"]


async def test_an_error_reply_is_raised_where_it_belongs_and_nowhere_else(link: Link) -> None:
    outcomes: list[object] = await asyncio.gather(
        link.redis.echo("a"),
        link.redis.execute_command("NOSUCHCOMMAND"),
        link.redis.config_get("appendfsync"),
        return_exceptions=True,
    )
    good, bad, also_good = outcomes
    assert good == b"a"
    assert isinstance(bad, ResponseError)
    assert also_good == {"appendfsync": "always"}


async def test_a_caller_who_is_cancelled_takes_nobody_elses_reply(link: Link) -> None:
    await link.redis.ping()
    first = asyncio.ensure_future(link.redis.echo("first"))
    second = asyncio.ensure_future(link.redis.echo("second"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"second"
    assert await link.redis.echo("third") == b"third"


async def test_a_broken_connection_fails_all_that_wait_and_is_opened_again(link: Link) -> None:
    redis = link.redis
    own = await redis.client_id()
    killed = asyncio.gather(
        redis.client_kill_filter(_id=own, skipme=False), redis.incr("once"), return_exceptions=True
    )
    assert any(isinstance(outcome, RedisConnectionError) for outcome in await killed)
    assert await redis.echo("again") == b"again"
    assert int(await redis.get("once") or 0) <= 1


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Answer the hello of redis-py, and nothing after it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                if b"SETINFO" in data:
                    writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_no_answer_within_the_deadline_is_an_outcome_that_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipelined, "ANSWER_S", 0.2)
    async with silent_server() as port:
        link = connect(f"redis://127.0.0.1:{port}/0")
        try:
            with pytest.raises(DirectoryUnavailable, match="not within"):
                await link.scripts.run("write", "scim:{t}:seq")
        finally:
            await link.close()


async def test_a_late_reply_is_nobody_elses(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelined, "ANSWER_S", 0.2)
    await link.redis.ping()
    slow = (
        "local t = redis.call('TIME')[1] + 1 while redis.call('TIME')[1] + 0 <= t do end return 7"
    )
    with pytest.raises(RedisTimeoutError):
        await link.redis.execute_command("EVAL", slow, 0)
    monkeypatch.setattr(pipelined, "ANSWER_S", 5.0)
    with pytest.raises(RedisConnectionError):  # nobody waits behind what does not come back
        await link.redis.echo("refused")
    async with asyncio.timeout(10):
        while True:
            try:
                assert await link.redis.echo("mine") == b"mine"
            except RedisConnectionError:
                await asyncio.sleep(0.05)
            else:
                break


async def test_nobody_there_is_said_at_once() -> None:
    link = connect("redis://127.0.0.1:1/0")
    with pytest.raises(DirectoryUnavailable):
        await link.scripts.run("write", "scim:{t}:seq")
    await link.close()
