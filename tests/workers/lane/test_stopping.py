"""A worker that is told to end: no statement is cut off, and no lane stays held."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from app.clock import Clock
from app.directory.directory import Directory, Origin
from app.directory.shards import alone
from workers.drainer import Drainer

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World
    from workers.access.statements import Statement

E = "employee"
ORIGIN = Origin(request_id="r", token_id="t", digest="d")


async def test_the_statement_under_way_is_the_last_one_and_the_lane_is_handed_back(
    world: World,
) -> None:
    await world.drain()
    for number in range(3):
        await world.user(f"u{number}")
    under_way: list[str] = []

    def before(_: int, statement: Statement) -> None:
        under_way.append(type(statement.step).__name__)

    lane = world.lane(before)
    lane.stops = lambda: bool(under_way)
    assert await lane.drain() is False
    assert under_way == ["Create"]
    created = await world.sql(
        f"SELECT count() FROM system.users WHERE startsWith(name, '{world.tenant}__')"
    )
    assert created == [(3,)]  # it was not cut off
    next_one = await world.store.acquire(60_000)
    assert next_one is not None
    assert (next_one.is_orphan, next_one.cursor) == (False, 0)
    assert await world.of_lane("suspects") == {}
    await world.store.release(next_one.epoch)
    await world.drain()
    assert await world.held() == {f"u{number}": {E} for number in range(3)}


async def test_a_target_that_hangs_does_not_keep_a_worker_from_ending(world: World) -> None:
    called = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world.raw["targets"]["hangs"] = {"hosts": [f"127.0.0.1:{port}"], "connect_seconds": 60}
    tenant = f"{world.tenant}-stuck"
    world.raw["tenants"][tenant] = {"targets": ["hangs"], "user_name": "{tenant}__{userName}"}
    world.configure()
    await Directory(world.link, tenant, ["hangs"]).create("user", {"userName": "ana"}, ORIGIN)
    await world.user("ana")

    async def works() -> None:
        async with asyncio.TaskGroup() as tasks:
            drainer = Drainer(
                alone(world.link),
                world.settings,
                clock=Clock(),
                rng=random.Random(1),
                tasks=tasks,
            )
            drainer.wake(tenant, "hangs")
            await called.wait()
            await drainer.rest(0.05)
            drainer.wake(world.tenant, "main")  # comes too late
            await drainer.close()
            rested.set()

    rested = asyncio.Event()
    process = asyncio.create_task(works())
    async with asyncio.timeout(20):
        await rested.wait()
        process.cancel()  # as it ends then
        await asyncio.wait([process])
    assert await world.held() == {}
    assert not await world.link.redis.exists(f"scim:{{{tenant}}}:lease:hangs")
    server.close()
