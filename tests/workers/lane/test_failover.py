"""A replica that was behind takes over: what was acknowledged is gone, and the lane says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from app.directory.link import connect
from app.errors import DirectoryUnavailable
from tests.fleets import a_guarded_redis

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E = "employee"


async def test_a_lane_finds_out_that_events_were_lost_and_brings_back_what_the_directory_says(
    world: World, tmp_path: Path
) -> None:
    with a_guarded_redis(tmp_path) as redis:
        world.link = connect(redis.url)
        world.__post_init__()
        await world.drain()
        for name in ("ana", "bo"):
            await world.user(name)
        await world.drain()
        # What the replica does not hear of, although it was acknowledged:
        await asyncio.to_thread(redis.replica.stop)
        await world.user("cy")
        await world.user("di")
        await world.drain()
        assert await world.held() == {name: {E} for name in ("ana", "bo", "cy", "di")}
        await asyncio.to_thread(redis.primary.stop)
        await asyncio.to_thread(redis.replica.start)
        await asyncio.to_thread(redis.until_failed_over)
        await until_asked(world)
        with world.logs() as lines:
            while await world.lane().drain():
                pass
        told = [line["what"] for line in lines if line["event"] == "events.missed"]
        assert told == ["Redis lost acknowledged events: the last was 4 and is 2 now"]
        assert await world.held() == {"ana": {E}, "bo": {E}, "cy": None, "di": None}
        assert (await world.status()).last_error is None
        await world.user("ed")
        await world.drain()
        assert (await world.held())["ed"] == {E}
        await world.link.close()


async def until_asked(world: World) -> None:
    """Ask the lane to look, as `tend` does, once the new primary answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                await world.store.ask()
            except DirectoryUnavailable:
                await asyncio.sleep(0.1)
            else:
                return
