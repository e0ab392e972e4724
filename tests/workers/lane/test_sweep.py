"""A worker finds by itself what it was not told: lost wake-ups, drift, failed revocations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from app.clock import Clock
from app.config.redis import RedisSettings
from app.config.settings import WorkerSettings
from app.directory.keys import Keys
from app.directory.lanes import dirty_lanes
from app.directory.leavers import Leavers
from app.directory.shards import alone
from app.wake import Queues, Waker
from workers import sweep as sweeping
from workers.access.statements import quote_identifier
from workers.drainer import Drainer
from workers.jobs import hear_calls, take_jobs
from workers.sweep import sweep, tend

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.workers.lane.conftest import World

E = "employee"
SLOWEST = 1.25  # of a sweep's pauses, as a part of `sweep_seconds`


@asynccontextmanager
async def a_worker(world: World, clock: Clock | None = None) -> AsyncIterator[Drainer]:
    """Yield what a worker process runs on, without its loops."""
    async with asyncio.TaskGroup() as tasks:
        drainer = Drainer(
            alone(world.link),
            world.settings,
            clock=clock or Clock(),
            rng=random.Random(1),
            tasks=tasks,
        )
        try:
            yield drainer
        finally:
            await drainer.close()


def queues_of(redis: RedisServer) -> Queues:
    return Queues.of(RedisSettings(url=redis.url))


def queue_of(redis: RedisServer) -> tuple[Queues, str]:
    """Return what a worker of that Redis takes jobs and hears calls from."""
    queues = queues_of(redis)
    return queues, next(iter(queues.urls))


@asynccontextmanager
async def running(*loops: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


class LaterClock(Clock):
    """A clock that is ahead of the others."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_ms = round(ahead_s * 1000)

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms


async def applied(world: World, seq: int) -> None:
    async def is_applied() -> bool:
        status = await world.status()
        return status.applied_seq >= seq and status.state == "idle"

    await world.until(is_applied)


async def test_a_change_that_nobody_was_woken_for_is_applied(world: World) -> None:
    assert WorkerSettings().sweep_seconds * SLOWEST <= 2
    await world.user("ana")
    async with a_worker(world) as drainer, running(asyncio.create_task(sweep(drainer, world.link))):
        await applied(world, 1)
    assert await world.held() == {"ana": {E}}


async def test_the_lane_of_a_killed_worker_moves_on_within_ten_seconds(world: World) -> None:
    """The time that its lease has left goes by at once here."""
    settings, lease = WorkerSettings(), Keys(world.tenant).lane("lease", "main")
    await world.user("ana")
    assert await world.store.acquire(round(settings.lease_seconds * 1000)) is not None
    left_s = await world.link.redis.pttl(lease) / 1000
    assert left_s + settings.sweep_seconds * SLOWEST < 10
    async with a_worker(world) as drainer, running(asyncio.create_task(sweep(drainer, world.link))):
        assert await world.held() == {}
        await world.link.redis.pexpire(lease, 1)
        await applied(world, 1)
    assert await world.held() == {"ana": {E}}


async def test_a_job_wakes_the_lane(world: World, own_redis: RedisServer) -> None:
    """Redis of its own: jobs of all tests of a process share one queue."""
    waker = Waker(queues_of(own_redis))
    await world.user("ana")
    async with a_worker(world) as drainer:
        jobs = asyncio.create_task(take_jobs(drainer, *queue_of(own_redis)))
        sending = asyncio.create_task(waker.run())
        async with running(jobs, sending):
            waker.wake(world.tenant, ["main"])
            await applied(world, 1)
    await waker.close()


async def test_a_call_wakes_the_lane_without_a_job(world: World, own_redis: RedisServer) -> None:
    await world.user("ana")
    async with a_worker(world) as drainer:
        hearing = asyncio.create_task(hear_calls(drainer, *queue_of(own_redis)))
        waker = Waker(queues_of(own_redis))
        sending = asyncio.create_task(waker.run())
        async with running(hearing, sending):

            async def called() -> bool:
                waker.wake(world.tenant, ["main"])
                await asyncio.sleep(0.02)
                return (await world.status()).applied_seq == 1

            await world.until(called)
            own_redis.stop()
            own_redis.start()
            await world.user("bo")

            async def called_again() -> bool:
                waker.wake(world.tenant, ["main"])
                await asyncio.sleep(0.02)
                return (await world.status()).applied_seq == 2

            await world.until(called_again)
    await waker.close()


async def test_jobs_are_taken_again_after_redis_was_gone(
    world: World, own_redis: RedisServer
) -> None:
    waker = Waker(queues_of(own_redis))
    async with a_worker(world) as drainer:
        jobs = asyncio.create_task(take_jobs(drainer, *queue_of(own_redis)))
        sending = asyncio.create_task(waker.run())
        async with running(jobs, sending):
            own_redis.stop()
            own_redis.start()
            await world.user("ana")

            async def woken() -> bool:
                waker.wake(world.tenant, ["main"])
                await asyncio.sleep(0.1)
                return (await world.status()).applied_seq == 1

            await world.until(woken)
    await waker.close()


async def test_a_wake_up_during_a_drain_is_not_lost(world: World) -> None:
    async with a_worker(world) as drainer:
        drainer.wake(world.tenant, "main")
        for number in range(20):
            await world.user(f"u{number}")
            drainer.wake(world.tenant, "main")
            await asyncio.sleep(0)
        await applied(world, 20)
    assert len(await world.held()) == 20


async def test_a_lane_that_the_configuration_does_not_have_is_ignored(world: World) -> None:
    async with a_worker(world) as drainer:
        drainer.wake("nobody", "main")
        drainer.wake(world.tenant, "nowhere")


async def test_whoever_left_is_seen_out_by_the_worker(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    with world.logs() as lines:
        async with a_worker(world) as drainer:
            drainer.wake(world.tenant, "main")

            async def out() -> bool:
                await asyncio.sleep(0.02)
                return any(line["event"] == "leaver.out" for line in lines)

            await world.until(out)


async def test_a_leaver_whom_a_worker_has_left_is_seen_out_by_another(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.drain()
    async with a_worker(world) as drainer, running(asyncio.create_task(tend(drainer, world.link))):

        async def nobody_waits() -> bool:
            return not await Leavers(world.link, world.tenant, "main").waiting()

        await world.until(nobody_waits)


async def test_another_configuration_is_applied_without_an_event(world: World) -> None:
    await world.user("ana")
    await world.drain()
    world.configure(default_roles=[world.role("analyst")])
    async with a_worker(world) as drainer, running(asyncio.create_task(tend(drainer, world.link))):

        async def changed() -> bool:
            return await world.held() == {"ana": {"analyst"}}

        await world.until(changed)


async def test_a_replaced_configuration_is_applied_by_the_same_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "TEND_S", 0.05)
    await world.user("ana")
    await world.drain()
    async with a_worker(world) as drainer, running(asyncio.create_task(tend(drainer, world.link))):
        world.configure(default_roles=[world.role("writer")])
        await drainer.replace(world.settings)

        async def changed() -> bool:
            return await world.held() == {"ana": {"writer"}}

        await world.until(changed)


async def test_what_others_changed_is_found_when_it_is_time(world: World) -> None:
    await world.user("ana")
    await world.drain()
    await world.sql(f"DROP USER {quote_identifier(world.name('ana'))}")
    async with (
        a_worker(world, LaterClock(500)) as drainer,
        running(asyncio.create_task(tend(drainer, world.link))),
    ):

        async def mended() -> bool:
            return await world.held() == {"ana": {E}}

        await world.until(mended)


async def test_drift_is_not_looked_for_before_its_time(world: World) -> None:
    await world.drain()
    before = await world.of_lane("lane")
    async with (
        a_worker(world, LaterClock(200)) as drainer,
        running(asyncio.create_task(tend(drainer, world.link))),
    ):
        await asyncio.sleep(0)
    assert (await world.of_lane("lane"))["resynced"] == before["resynced"]


async def test_a_failed_revocation_is_tried_again_unasked(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.lane(world.refusing("REVOKE ALL EXCEPT")).drain()
    assert (await world.letters())[ana].revocation
    async with a_worker(world) as drainer, running(asyncio.create_task(tend(drainer, world.link))):

        async def taken() -> bool:
            return not await world.letters()

        await world.until(taken)
    assert await world.held() == {"ana": None}


async def test_lanes_that_are_not_to_be_had_are_not_asked_for(world: World) -> None:
    async def wanted() -> bool:
        return await dirty_lanes(world.link, [world.tenant]) == [(world.tenant, "main")]

    assert not await wanted()
    await world.user("ana")
    assert await wanted()
    await world.store.pause()
    assert not await wanted()
    await world.store.resume()
    held = await world.store.acquire(60_000)
    assert held is not None
    assert not await wanted()
    await world.store.report(held.epoch, "away", 60_000, 1)
    assert not await wanted()
    await world.store.resume()
    assert await wanted()
