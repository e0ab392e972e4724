"""With on_delete = "lock" and purge_after_days a leaver's user is locked, and dropped later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.directory.keys import Keys

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

DAY_S = 86_400


async def purge_is_due(world: World, resource_id: str) -> None:
    """Let the days pass."""
    keys = Keys(world.tenant)
    await world.link.redis.hset(keys.lane("purges", "main"), resource_id, "1")  # type: ignore[misc]
    await world.link.redis.zadd(keys.lane("ends", "main"), {resource_id: 1})
    assert await world.store.recall(10) == 1


async def test_a_deleted_user_is_locked_until_its_days_are_over(world: World) -> None:
    world.configure(on_delete="lock", purge_after_days=3)
    ana = await world.user("ana")
    await world.drain()
    await world.delete(ana)
    await world.drain()
    assert await world.held() == {"ana": None}
    due = await world.link.redis.zscore(Keys(world.tenant).lane("ends", "main"), ana)
    assert 3 * DAY_S - 60 < due / 1000 - time.time() < 3 * DAY_S + 60
    await world.store.ask(resync=True)
    await world.drain()
    assert await world.held() == {"ana": None}
    await purge_is_due(world, ana)
    await world.drain()
    assert await world.held() == {}
    assert await world.of_lane("purges") == {}
    await world.nothing_is_left()


async def test_whoever_comes_back_before_it_gets_a_clean_account(world: World) -> None:
    world.configure(on_delete="lock", purge_after_days=3)
    ana = await world.user("ana")
    await world.drain()
    before = await world.entity("ana")
    await world.delete(ana)
    await world.drain()
    await world.user("ana")
    await world.drain()
    assert await world.held() == {"ana": {"employee"}}
    assert await world.entity("ana") != before
    await purge_is_due(world, ana)
    await world.drain()
    assert await world.held() == {"ana": {"employee"}}


async def test_without_days_a_deleted_user_stays_locked(world: World) -> None:
    world.configure(on_delete="lock")
    ana = await world.user("ana")
    await world.drain()
    await world.delete(ana)
    await world.drain()
    assert await world.of_lane("purges") == {}
    assert await world.held() == {"ana": None}
