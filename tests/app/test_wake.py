"""Wake-ups: a call or a job for each lane that became dirty, behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool

from app.config.redis import RedisSettings
from app.wake import CALLS, JOB, QUEUE, Queues, Waker

if TYPE_CHECKING:
    from tests.conftest import RedisServer


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - another client's work tells no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def waker(own_redis: RedisServer) -> AsyncIterator[Waker]:
    waker = Waker(Queues.of(RedisSettings(url=own_redis.url)))
    task = asyncio.create_task(waker.run())
    yield waker
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    await waker.close()


@pytest.fixture
async def queue(own_redis: RedisServer) -> AsyncIterator[Callable[[], Awaitable[set[object]]]]:
    """What an arq worker would find: the arguments of the jobs."""
    redis = ArqRedis(ConnectionPool.from_url(own_redis.url), default_queue_name=QUEUE)

    async def queued() -> set[object]:
        jobs = await redis.queued_jobs(queue_name=QUEUE)
        assert all(job.function == JOB for job in jobs)
        return {job.args for job in jobs}

    yield queued
    await redis.connection_pool.disconnect()


async def test_each_lane_gets_a_job_where_nobody_hears_the_call(
    waker: Waker, queue: Callable[[], Awaitable[set[object]]]
) -> None:
    waker.wake("acme", ["main", "second"])
    waker.wake("globex", ["main"])
    waker.wake("acme", [])

    async def woken() -> bool:
        return await queue() == {("acme", "main"), ("acme", "second"), ("globex", "main")}

    await until(woken)


async def test_a_call_that_somebody_hears_leaves_no_job(
    waker: Waker, queue: Callable[[], Awaitable[set[object]]], own_redis: RedisServer
) -> None:
    redis = ArqRedis(ConnectionPool.from_url(own_redis.url), default_queue_name=QUEUE)
    async with redis.pubsub(ignore_subscribe_messages=True) as calls, asyncio.timeout(10):
        await calls.subscribe(CALLS)
        waker.wake("acme", ["main"])
        async for call in calls.listen():
            assert call["data"] == b"acme/main"
            break
        waker.wake("acme", ["second"])
        async for _ in calls.listen():
            break  # sent after it: had it left a job, that would be there by now
    await redis.connection_pool.disconnect()
    assert await queue() == set()


async def test_nobody_waits_and_nothing_grows_while_redis_is_gone(
    waker: Waker, own_redis: RedisServer, queue: Callable[[], Awaitable[set[object]]]
) -> None:
    own_redis.stop()
    started = asyncio.get_running_loop().time()
    for _ in range(10_000):
        waker.wake("acme", ["main"])
        waker.wake("globex", ["main"])
    assert asyncio.get_running_loop().time() < started + 1
    assert [len(line._lanes) for line in waker._lines.values()] == [2]
    await asyncio.sleep(0)
    await asyncio.to_thread(own_redis.start)

    async def woken() -> bool:
        waker.wake("acme", ["main"])
        return ("acme", "main") in await queue()

    await until(woken)


async def test_a_waker_that_sends_can_be_cancelled_at_any_step(own_redis: RedisServer) -> None:
    """On Python 3.11 redis-py's own time-out swallowed it, and the receiver never ended."""
    for steps in range(60):
        waker = Waker(Queues.of(RedisSettings(url=own_redis.url)))
        task = asyncio.create_task(waker.run())
        waker.wake("acme", ["main", "second"])
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        assert done, steps
        await waker.close()
