"""A mass removal waits for an operator; whoever else comes and goes does not wait with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from workers.access.guard import APART_MS
from workers.access.statements import quote_identifier

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A, W = "employee", "analyst", "writer"


@pytest.fixture
async def staff(world: World) -> dict[str, str]:
    """Thirty people who are applied, by userName."""
    people = {f"u{number}": await world.user(f"u{number}") for number in range(30)}
    await world.drain()
    return people


async def holders(world: World, role: str) -> set[str]:
    return {name for name, roles in (await world.held()).items() if roles and role in roles}


async def test_an_emptied_group_is_held_until_it_is_confirmed(
    world: World, staff: dict[str, str]
) -> None:
    group = await world.group("Analysts", *staff.values())
    await world.drain()
    await world.members(group, replace=())
    await world.drain(state="blocked")
    assert await holders(world, A) == staff.keys()
    status = await world.status()
    assert (status.held, status.dead_letters) == (30, 0)
    assert status.last_error is not None
    assert "30 users" in status.last_error
    assert world.name("u0") in status.last_error
    assert f"lane resume {world.tenant} main --confirm" in status.last_error
    assert await world.store.confirm() == 30
    await world.drain()
    assert await holders(world, A) == set()
    assert (await world.status()).held == 0


async def test_a_deleted_group_and_a_stream_of_leavers_are_held_too(
    world: World, staff: dict[str, str]
) -> None:
    group = await world.group("Analysts", *staff.values())
    await world.drain()
    await world.delete_group(group)
    await world.drain(state="blocked")
    assert await holders(world, A) == staff.keys()
    await world.store.confirm()
    await world.drain()
    for user in list(staff.values())[:20]:
        await world.set_user(user, active=False)
    await world.drain(state="blocked")
    assert None not in (await world.held()).values()
    await world.store.confirm()
    await world.drain()
    assert list((await world.held()).values()).count(None) == 20


async def test_a_stream_that_is_applied_as_it_comes_is_held_from_the_limit_on(
    world: World, staff: dict[str, str]
) -> None:
    for user in staff.values():
        await world.delete(user)
        while await world.lane().drain():
            pass
    assert len(await world.held()) == 30 - 9
    assert (await world.status()).state == "blocked"


async def test_while_a_mass_removal_is_held_everybody_else_goes_on(
    world: World, staff: dict[str, str]
) -> None:
    group = await world.group("Analysts", *staff.values())
    writers = await world.group("Writers", staff["u2"])
    await world.drain()
    await world.members(group, replace=())
    await world.delete(staff["u0"])
    await world.drain(state="blocked")
    assert "u0" not in await world.held()
    await world.set_user(staff["u1"], active=False)
    await world.members(writers, remove=(staff["u2"],))
    newcomer = await world.user("new")
    await world.members(writers, add=(newcomer,))
    await world.drain(state="blocked")
    held = await world.held()
    assert held["u1"] is None, "a single person's revocation is never held"
    assert held["u2"] == {E}
    assert held["new"] == {E, A, W}
    assert held["u3"] == {E, A}
    assert (await world.status()).held == 27
    await world.store.confirm()
    await world.drain()
    assert await holders(world, A) == {"new"}


async def test_another_change_of_somebody_who_is_held_lets_nothing_through(
    world: World, staff: dict[str, str]
) -> None:
    group = await world.group("Analysts", *staff.values())
    await world.drain()
    await world.members(group, replace=())
    await world.drain(state="blocked")
    await world.set_user(staff["u0"], displayName="Ana")
    await world.store.ask([staff["u1"]])
    await world.drain(state="blocked")
    assert await holders(world, A) == staff.keys()
    assert (await world.status()).held == 30


async def test_a_removal_that_the_provider_takes_back_needs_nobody(
    world: World, staff: dict[str, str]
) -> None:
    group = await world.group("Analysts", *staff.values())
    await world.drain()
    await world.members(group, replace=())
    await world.drain(state="blocked")
    everybody = list(staff.values())
    await world.members(group, add=tuple(everybody[:25]))
    await world.drain(state="blocked")
    assert (await world.status()).held == 5
    assert await holders(world, A) == staff.keys()
    await world.members(group, add=tuple(everybody[25:]))
    await world.drain()
    assert (await world.status()).last_error is None


async def test_a_role_map_that_takes_a_role_from_everybody_is_held_whole(
    world: World, staff: dict[str, str]
) -> None:
    """Though the walk through the directory comes in batches far smaller than the tenant."""
    await world.group("Analysts", *staff.values())
    await world.drain()
    world.raw["worker"] = {"batch_users": 7}
    world.configure(groups=[{"group": "Nobody", "roles": [world.role(W), world.role(A)]}])
    await world.drain(state="blocked")
    assert await holders(world, A) == staff.keys()
    await world.store.ask(resync=True)
    await world.drain(state="blocked")
    assert await holders(world, A) == staff.keys()
    await world.store.confirm()
    await world.drain()
    assert await holders(world, A) == set()


async def test_what_turns_out_to_be_little_is_let_through_at_the_end_of_the_walk(
    world: World, staff: dict[str, str]
) -> None:
    world.raw["guard"] = {"max_share": 0.5}
    world.raw["worker"] = {"batch_users": 7}
    world.configure()
    await world.drain()
    writer = quote_identifier(world.role(W))
    for name in list(staff)[:12]:
        await world.sql(f"GRANT {writer} TO {quote_identifier(world.name(name))}")
    await world.store.ask(resync=True)
    await world.drain()
    assert await holders(world, W) == set()


async def test_a_directory_restored_without_its_people_locks_nobody_unasked(
    world: World, staff: dict[str, str]
) -> None:
    """Their users on the target are then users that nobody is behind."""
    keys = [k async for k in world.link.redis.scan_iter(f"scim:{{{world.tenant}}}:*")]
    await world.link.redis.delete(*keys)
    await world.user("new")
    await world.store.ask(resync=True)
    await world.drain(state="blocked")
    assert None not in (await world.held()).values()
    assert (await world.status()).held == 30
    await world.store.confirm()
    await world.drain()
    assert list((await world.held()).values()).count(None) == 30


async def test_a_name_whose_old_user_is_held_is_not_given_to_somebody_else(
    world: World, staff: dict[str, str]
) -> None:
    entity = await world.entity("u0")
    for user in list(staff.values())[:20]:
        await world.delete(user)
    newcomer = await world.user("u0")
    await world.drain(state="blocked")
    assert await world.entity("u0") == entity
    assert await world.letters() == {}
    await world.store.confirm()
    await world.drain()
    assert await world.entity("u0") != entity
    assert (await world.of_lane("names"))[newcomer] == world.name("u0")
    await world.nothing_is_left()


async def test_leavers_of_a_day_in_which_the_target_was_away_are_not_held(
    world: World, staff: dict[str, str]
) -> None:
    """What tells an accident is when the changes were made, not when they are applied."""
    for user in list(staff.values())[:15]:
        await world.delete(user)
    events = f"scim:{{{world.tenant}}}:events"
    entries: list[Any] = await world.link.redis.xrange(events)
    await world.link.redis.delete(events)
    for number, (entry, fields) in enumerate(entries):
        fields[b"at"] = int(fields[b"at"]) + number * APART_MS
        await world.link.redis.xadd(events, fields, id=entry)
    await world.drain()
    assert len(await world.held()) == 15
