"""The marker role was dropped by hand: ours get it again, and nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.access.statements import quote_identifier

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E = "employee"


async def marked(world: World) -> set[str]:
    """Return the userNames of those who hold the marker role."""
    rows = await world.sql(
        f"SELECT user_name FROM system.role_grants WHERE granted_role_name = '{world.marker}'"
        " AND user_name IS NOT NULL"
    )
    return {name.removeprefix(f"{world.tenant}__") for (name,) in rows}


async def drop_marker(world: World) -> None:
    await world.sql(f"DROP ROLE {world.marker}")


async def by_hand(world: World, user_name: str, *more: str) -> None:
    name = quote_identifier(world.name(user_name))
    for statement in more:
        await world.sql(statement.format(name))


@pytest.mark.parametrize("sent", [None, 1, 2, 3], ids=lambda sent: f"killed after {sent}")
async def test_everybody_is_marked_again_also_if_the_worker_dies_meanwhile(
    world: World, sent: int | None
) -> None:
    world.raw["worker"]["batch_users"] = 2
    world.configure()
    people = [await world.user(name) for name in ("ana", "bo", "cy", "di", "eve")]
    await world.group("Analysts", *people[:2])
    await world.drain()
    entities = {name: await world.entity(name) for name in await world.held()}
    await drop_marker(world)
    await world.set_user(people[0], active=False)
    if sent is not None:
        await world.lane(world.unavailable_after(sent)).drain()
        await world.store.resume()
    await world.drain()
    assert await world.letters() == {}
    assert await world.held() == {
        "ana": None,
        "bo": {E, "analyst"},
        "cy": {E},
        "di": {E},
        "eve": {E},
    }
    assert await marked(world) == {"ana", "bo", "cy", "di", "eve"}
    assert {name: await world.entity(name) for name in entities} == entities
    await world.nothing_is_left()


async def test_whoever_was_not_managed_is_not_taken_over(world: World) -> None:
    """Neither one made by hand, nor one out of whose hands the marker was taken before."""
    await by_hand(world, "hand", "CREATE USER {} IDENTIFIED WITH no_password")
    ana, _, hand = [await world.user(name) for name in ("ana", "freed", "hand")]
    await world.drain()
    await by_hand(world, "freed", f"REVOKE {world.marker} FROM {{}}")
    await world.store.ask(resync=True)
    await world.drain()
    assert len(await world.letters()) == 2
    await drop_marker(world)
    await world.set_user(ana, active=False)
    await world.drain()
    assert await marked(world) == {"ana"}
    assert len(await world.letters()) == 2
    assert (await world.letters())[hand].code == 493


@pytest.mark.parametrize(
    "change",
    [
        "GRANT SELECT ON secrets.* TO {}",
        "CREATE ROLE IF NOT EXISTS foreign_role; GRANT foreign_role TO {}",
        "ALTER USER {} IDENTIFIED BY 'theirs'",
        "DROP USER {}; CREATE USER {} IDENTIFIED BY 'theirs'",
    ],
    ids=["privilege", "role", "method", "another user"],
)
async def test_a_user_that_is_not_as_it_was_left_needs_an_operator(
    world: World, change: str
) -> None:
    ana, bo = await world.user("ana"), await world.user("bo")
    await world.drain()
    await drop_marker(world)
    await by_hand(world, "ana", *change.split("; "))
    before = await world.sql(f"SHOW CREATE USER {quote_identifier(world.name('ana'))}")
    await world.set_user(bo, active=False)
    await world.drain()
    assert await marked(world) == {"bo"}
    letter = (await world.letters())[ana]
    assert (letter.code, "is not as this software left it" in letter.error) == (493, True)
    assert await world.sql(f"SHOW CREATE USER {quote_identifier(world.name('ana'))}") == before


async def test_an_adopted_user_stays_adopted(world: World) -> None:
    world.configure(adopt_existing_users=True)
    await by_hand(
        world,
        "ana",
        "CREATE USER {} IDENTIFIED BY 'theirs'",
        "CREATE ROLE IF NOT EXISTS foreign_role",
        "GRANT foreign_role TO {}",
    )
    ana = await world.user("ana")
    await world.drain()
    await drop_marker(world)
    await world.delete(ana)
    await world.drain()
    assert await world.letters() == {}
    granted = await world.sql(f"SHOW GRANTS FOR {quote_identifier(world.name('ana'))}")
    assert [line.partition(" TO ")[0] for (line,) in granted] == ["GRANT foreign_role"]


async def test_the_lane_says_so_until_everybody_was_looked_at(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await drop_marker(world)
    await world.set_user(ana, active=False)
    await world.lane(world.unavailable_after(1)).drain()
    assert await world.store.is_unmarked()
    await world.store.resume()
    told = (await world.of_lane("lane"))["missed"]
    assert told.startswith(f"the marker role '{world.marker}' was gone from the target")
    await world.drain()
    assert ((await world.status()).last_error, await world.store.is_unmarked()) == (None, False)
