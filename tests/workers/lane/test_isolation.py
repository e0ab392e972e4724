"""A target that hangs holds up its own lanes and no others."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from app.clock import Clock
from app.directory.directory import Directory, Origin
from app.directory.shards import alone
from workers.drainer import LANES_AT_ONCE, LANES_OF_A_TARGET, Drainer

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E = "employee"
ORIGIN = Origin(request_id="r", token_id="t", digest="d")


async def test_more_lanes_of_a_hanging_target_than_a_worker_drains_at_once_delay_nobody(
    world: World,
) -> None:
    """With the one minute that a connect may take here, waiting for them would fail the test."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world.raw["targets"]["hangs"] = {"hosts": [f"127.0.0.1:{port}"], "connect_seconds": 60}
    stuck = [f"{world.tenant}-{number}" for number in range(LANES_AT_ONCE + 6)]
    for tenant in stuck:
        world.raw["tenants"][tenant] = {
            "targets": ["hangs"],
            "user_name": "{tenant}__{userName}",
            "marker_role": f"{tenant}_managed",
        }
    world.configure()
    async with asyncio.TaskGroup() as tasks:
        drainer = Drainer(
            alone(world.link), world.settings, clock=Clock(), rng=random.Random(1), tasks=tasks
        )
        for tenant in stuck:
            directory = Directory(world.link, tenant, ["hangs"])
            await directory.create("user", {"userName": "ana"}, ORIGIN)
            drainer.wake(tenant, "hangs")

        async def as_many_as_may_hang() -> bool:
            return connections == LANES_OF_A_TARGET

        await world.until(as_many_as_may_hang)
        await world.user("ana")
        drainer.wake(world.tenant, "main")

        async def applied() -> bool:
            return (await world.status()).applied_seq == 1

        await world.until(applied)
        assert await world.held() == {"ana": {E}}
        assert connections == LANES_OF_A_TARGET
        for task in asyncio.all_tasks():
            if task.get_name().startswith("lane "):
                task.cancel()
        await drainer.close()
    server.close()
