"""Whatever is killed in the middle of many changes: nothing acknowledged is lost (promises 1-8)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import ByHand, Company, World

CHANGES = 400  # the same with thousands takes minutes and finds the same
GROUPS = ("Data Analysts", "Data Engineers", "Business Intelligence", "Marketing", "Everyone")


PARTS = ("receiver", "worker", "redis", "clickhouse")


@pytest.mark.parametrize("part", PARTS)
async def test_a_kill_amid_changes_loses_nothing_that_was_acknowledged(
    world: World, company: type[Company], by_hand: type[ByHand], part: str
) -> None:
    made = by_hand(world.url())
    await made.make()
    people = company(world.idp, seed=CHANGES, people=80)
    await people.found(GROUPS)

    async with asyncio.TaskGroup() as tasks:
        changing = tasks.create_task(people.change(CHANGES))
        half = people.done + CHANGES // 2
        while people.done < half:
            assert not changing.done()
            await asyncio.sleep(0)
        others = {one: world.pid(one) for one in PARTS if one != part}
        await world.kill(part)

    assert (await world.idle()).dead_letters == 0
    assert {one: world.pid(one) for one in others} == others  # it takes none of them with it
    assert await people.differences_in_directory() == []
    assert people.differences_on_target(world.view(), await world.access()) == []
    assert await world.leftovers() == {}
    assert await made.changes() == []
