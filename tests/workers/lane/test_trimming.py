"""The log may end before a lane has read it: trimmed behind, given up, or lost by Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.directory.events import trim
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneStore

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A = "employee", "analyst"
LATER_MS = 9_999_999_999_999


async def logged(world: World) -> list[int]:
    entries = await world.link.redis.xrange(Keys(world.tenant).events)
    return [int(entry.partition(b"-")[0]) for entry, _ in entries]


async def trimmed(
    world: World, *, since_ms: int = LATER_MS, most: int = 1_000_000, ledger: bool = False
) -> list[int]:
    """Trim until nothing more goes; return what is left."""
    awaited = [LEDGER] if ledger else []
    keys = Keys(world.tenant)
    while await trim(world.link, keys, ["main"], awaited, since_ms=since_ms, most=most):
        pass
    return await logged(world)


class TestTrimming:
    async def test_the_log_goes_behind_the_slowest_lane(self, world: World) -> None:
        for number in range(5):
            await world.user(f"u{number}")
        assert await trimmed(world) == [1, 2, 3, 4, 5]
        await world.drain()
        await world.user("late")
        assert await trimmed(world) == [6]
        await world.drain()
        assert await trimmed(world) == []
        await world.user("after")
        await world.drain()
        assert len(await world.held()) == 7
        assert (await world.status()).last_error is None

    async def test_a_young_event_stays_for_a_request_that_is_repeated(self, world: World) -> None:
        await world.user("ana")
        await world.drain()
        assert await trimmed(world, since_ms=0) == [1]

    async def test_the_ledger_is_waited_for_however_far_it_is_behind(self, world: World) -> None:
        for number in range(5):
            await world.user(f"u{number}")
        await world.drain()
        assert await trimmed(world, ledger=True, most=2) == [1, 2, 3, 4, 5]
        ledger = LaneStore(world.link, world.tenant, LEDGER)
        held = await ledger.acquire(60_000)
        assert held is not None
        await world.link.redis.hset(Keys(world.tenant).lane("lane", LEDGER), "cursor", "3")  # type: ignore[misc]
        assert await trimmed(world, ledger=True, most=2) == [4, 5]

    async def test_a_target_that_is_away_for_long_does_not_hold_the_log(self, world: World) -> None:
        """It goes through the whole directory when it is back; who has left loses access first."""
        ana, bo = await world.user("ana"), await world.user("bo")
        await world.group("Analysts", ana, bo)
        await world.drain()
        await world.user("cy")
        await world.set_user(ana, active=False)
        for number in range(20):
            await world.set_user(bo, displayName=f"Bo {number}")
        assert await trimmed(world, most=5) == list(range(21, 26))
        with world.logs() as lines:
            while await world.lane().drain():
                pass
        assert await world.held() == {"ana": None, "bo": {E, A}, "cy": {E}}
        told = [line for line in lines if line["event"] == "events.missed"]
        assert [line["what"] for line in told] == ["17 events are gone from the log"]
        first = next(line for line in lines if line["event"] == "lane.drained")
        assert first["ahead"] == 1
        assert (await world.status()).last_error is None


class TestLoss:
    async def test_a_lane_says_that_events_are_gone_until_it_has_gone_through_everybody(
        self, world: World
    ) -> None:
        ana = await world.user("ana")
        await world.user("bo")
        await world.drain()
        await world.set_user(ana, active=False)
        await world.link.redis.delete(Keys(world.tenant).events)
        lane = world.lane()
        told: list[str | None] = []
        acknowledge = lane.store.acknowledge

        async def noting(epoch: int, batch: Any, facts: Any = ()) -> bool:
            told.append((await world.status()).last_error)
            return await acknowledge(epoch, batch, facts)

        lane.store.acknowledge = noting  # type: ignore[method-assign]
        while await lane.drain():
            pass
        assert told
        assert told[0] is not None
        assert "1 events are gone from the log" in told[0]
        assert await world.held() == {"ana": None, "bo": {E}}
        status = await world.status()
        assert (status.state, status.applied_seq, status.last_error) == ("idle", 3, None)

    @pytest.mark.parametrize("knows", [True, False], ids=["seen by the worker", "by the cursor"])
    async def test_a_redis_that_went_back_in_time_is_noticed_and_the_target_follows(
        self, world: World, *, knows: bool
    ) -> None:
        """As after a fail-over to a replica that lagged, or a restored backup."""
        await world.user("ana")
        await world.drain()
        keys = Keys(world.tenant)
        kept = {
            key: await world.link.redis.dump(key)
            async for key in world.link.redis.scan_iter(f"{keys.prefix}*")
        }
        cursor = await world.link.redis.hget(keys.lane("lane", "main"), "cursor")  # type: ignore[misc]
        await world.user("bo")
        await world.user("cy")
        await world.drain()
        for key in [k async for k in world.link.redis.scan_iter(f"{keys.prefix}*")]:
            await world.link.redis.delete(key)
        for key, dumped in kept.items():
            await world.link.redis.restore(key, 0, dumped)
        if not knows:
            world.heights.clear()
            await world.link.redis.hset(keys.lane("lane", "main"), "cursor", "3")  # type: ignore[misc]
        assert cursor == b"1"
        await world.store.ask()  # as `tend` does, which compares the two
        with world.logs() as lines:
            while await world.lane().drain():
                pass
        told = [line["what"] for line in lines if line["event"] == "events.missed"]
        assert told == ["Redis lost acknowledged events: the last was 3 and is 1 now"]
        assert await world.held() == {"ana": {E}, "bo": None, "cy": None}
        await world.user("dee")
        await world.drain()
        assert (await world.held())["dee"] == {E}
