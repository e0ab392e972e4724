"""Whether Redis keeps what it acknowledges, and what a link does when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import structlog.testing

from app.directory.admission import until_admitted
from app.directory.link import Link, check_durable, connect
from app.directory.shards import alone
from app.errors import DirectoryUnavailable, VolatileRedis

if TYPE_CHECKING:
    from tests.conftest import RedisServer


@pytest.fixture
async def own_link(own_redis: RedisServer) -> AsyncIterator[Link]:
    link = connect(own_redis.url)
    yield link
    await link.close()


VOLATILE = {
    "no append-only file": ("appendonly", "no", "appendonly yes"),
    "written once a second": ("appendfsync", "everysec", "appendfsync always"),
    "written some time": ("appendfsync", "no", "appendfsync always"),
    "evicting": ("maxmemory-policy", "volatile-ttl", "maxmemory-policy noeviction"),
}


@pytest.mark.parametrize(("name", "value", "advice"), VOLATILE.values(), ids=VOLATILE.keys())
async def test_a_volatile_redis_is_named_with_the_setting_to_change(
    own_link: Link, name: str, value: str, advice: str
) -> None:
    await check_durable(own_link)
    await own_link.redis.config_set(name, value)
    with pytest.raises(VolatileRedis, match=advice):
        await check_durable(own_link)
    with pytest.raises(VolatileRedis, match=advice):
        await until_admitted(alone(own_link), own_link)


async def test_a_managed_redis_that_keeps_config_to_itself_is_taken(
    own_link: Link, own_redis: RedisServer
) -> None:
    await own_link.redis.acl_setuser(
        "app", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"]
    )
    link = connect(own_redis.url.replace("//", "//app@"), "any")
    await check_durable(link)
    await link.close()


async def test_a_wrong_password_is_told_without_it(own_redis: RedisServer) -> None:
    link = connect(own_redis.url, "s3cret")
    with pytest.raises(DirectoryUnavailable) as refused:
        await link.call(link.redis.ping())
    assert "s3cret" not in str(refused.value)
    await link.close()


async def test_waiting_for_redis_is_said_once_and_ends_when_it_is_there(
    own_link: Link, own_redis: RedisServer
) -> None:
    own_redis.stop()
    with structlog.testing.capture_logs() as said:
        waiting = asyncio.create_task(until_admitted(alone(own_link), own_link))
        done, _ = await asyncio.wait([waiting], timeout=1)
        assert not done
        await asyncio.to_thread(own_redis.start)
        async with asyncio.timeout(10):
            await waiting
    assert [line["event"] for line in said] == ["redis.awaited"]


async def test_nothing_is_sent_twice(own_link: Link, own_redis: RedisServer) -> None:
    """With a retry in the client one INCR gave 2 where its reply was lost."""
    received: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", own_redis.port)
        while chunk := await reader.read(65536):
            received.append(chunk)
            back.write(chunk)
            reply = await there.read(65536)
            if b"INCR" in chunk:
                break
            writer.write(reply)
        writer.close()
        back.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    link = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    with pytest.raises(DirectoryUnavailable):
        await link.call(link.redis.incr("n"))
    assert await own_link.redis.get("n") == b"1"
    assert sum(b"INCR" in chunk for chunk in received) == 1
    await link.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_a_command_can_be_cancelled_at_any_step(own_link: Link, steps: int) -> None:
    async def work() -> None:
        await own_link.call(own_link.redis.set("a", "1"))
        await asyncio.sleep(60)

    task = asyncio.create_task(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()
    await own_link.call(own_link.redis.ping())
