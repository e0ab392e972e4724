"""The directory behind Sentinels: a primary is killed, and the replica takes over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.config.redis import RedisSettings
from app.directory.directory import Directory, Origin
from app.directory.link import check_durable, connect
from app.errors import DirectoryUnavailable, Uniqueness, VolatileRedis
from app.wake import JOB, Queues, send
from tests.fleets import a_guarded_redis, ask, pause, resume, until

ORIGIN = Origin(request_id="r", token_id="t", digest="d")
PATIENCE_S = 30.0


async def until_created(directory: Directory, name: str) -> None:
    """Create somebody of that name; one whose outcome was unknown may be there already."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await directory.create("user", {"userName": name}, ORIGIN)
            except DirectoryUnavailable:
                await asyncio.sleep(0.1)
            except Uniqueness:
                return
            else:
                return


async def test_a_fail_over_under_writes_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with a_guarded_redis(tmp_path) as redis:
        link = connect(redis.url, wait_replicas=1)
        await check_durable(link)
        directory, acknowledged = Directory(link, "acme", ["main"]), list[str]()

        async def write(part: int) -> None:
            for n in range(1000):
                name = f"u{part}-{n}"
                try:
                    await directory.create("user", {"userName": name}, ORIGIN)
                except DirectoryUnavailable:
                    return
                acknowledged.append(name)

        writing = asyncio.gather(*map(write, range(4)))
        while len(acknowledged) < 100:  # noqa: ASYNC110 - it takes some milliseconds
            await asyncio.sleep(0.01)
        await asyncio.to_thread(redis.primary.stop)
        await writing
        # There is no replica behind the new primary yet: a commit that waits for one is refused.
        await asyncio.to_thread(redis.until_failed_over)
        with pytest.raises(DirectoryUnavailable):
            await directory.create("user", {"userName": "early"}, ORIGIN)
        await asyncio.to_thread(redis.primary.start)
        ask(redis.primary.port, "REPLICAOF", "127.0.0.1", str(redis.replica.port))  # as it would be
        await until_created(directory, "last")
        for name in acknowledged:
            assert await directory.find("user", "userName", name), name
        queues = Queues.of(RedisSettings(url=redis.url))
        queue = queues.connect(queues.name("acme"), 2)
        await send(queue, "acme", "main")
        assert [job.function for job in await queue.queued_jobs()] == [JOB]
        await queue.aclose(close_connection_pool=True)
        await link.close()


async def test_a_primary_that_hangs_is_left_and_not_believed_when_it_comes_back(
    tmp_path: Path,
) -> None:
    with a_guarded_redis(tmp_path) as redis:
        link = connect(redis.url)
        directory = Directory(link, "acme", ["main"])
        await directory.create("user", {"userName": "ana"}, ORIGIN)
        pause(redis.primary)
        try:
            await asyncio.to_thread(redis.until_failed_over)
            await until_created(directory, "bo")
        finally:
            resume(redis.primary)
        await until_created(directory, "cy")
        assert "role:master" in ask(redis.replica.port, "INFO", "replication")
        there = ask(redis.replica.port, "HGETALL", "scim:{acme}:users:userName").split("\n")
        assert {"ana", "bo", "cy"} <= set(there)
        await link.close()


async def test_a_demoted_primary_that_keeps_its_connections_is_found_out_by_its_first_refusal(
    tmp_path: Path,
) -> None:
    with a_guarded_redis(tmp_path) as redis:
        link = connect(redis.url)
        directory = Directory(link, "acme", ["main"])
        await until_created(directory, "ana")
        until(
            lambda: ask(redis.sentinel, "SENTINEL", "FAILOVER", "main") == "OK",
            "the Sentinel does not think well of the replica",
        )
        await asyncio.to_thread(redis.until_failed_over)
        await until_created(directory, "bo")
        assert await directory.last_seq() == 2
        await link.close()


async def test_what_is_wrong_behind_sentinels_is_named(tmp_path: Path) -> None:
    with a_guarded_redis(tmp_path) as redis:
        link = connect(redis.url.replace("/main/", "/other/"))
        with pytest.raises(DirectoryUnavailable, match="a primary called other"):
            await link.call(link.redis.ping())
        await link.close()
        ask(redis.primary.port, "CONFIG", "SET", "appendonly", "no")
        link = connect(redis.url)
        with pytest.raises(VolatileRedis, match="Redis at main/0 keeps no append-only file"):
            await check_durable(link)
        await link.close()
