"""Users that were on the target before: left alone, or adopted, used, and given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.access.statements import quote_identifier
from workers.people import resource_behind

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A = "employee", "analyst"
HASH = "A" * 64


async def shown(world: World, user_name: str) -> list[str]:
    """Return what a user is and holds, without the tenant's name."""
    name = quote_identifier(world.name(user_name))
    rows = [
        *await world.sql(f"SHOW CREATE USER {name}"),
        *await world.sql(f"SHOW GRANTS FOR {name}"),
    ]
    return [str(line).replace(f"{world.tenant}_", "") for (line,) in rows]


@pytest.fixture
async def before(world: World) -> list[str]:
    """Somebody of the administrators' own: a password, hosts, roles, privileges, settings."""
    name, own, night = (
        quote_identifier(one) for one in (world.name("ana"), world.role("own"), world.role("night"))
    )
    await world.sql(f"CREATE ROLE {own}, {night}")
    await world.sql(
        f"CREATE USER {name} IDENTIFIED WITH sha256_hash BY '{HASH}' HOST LOCAL, IP '10.0.0.0/8',"
        f" NAME 'bastion.example' DEFAULT DATABASE crm SETTINGS max_threads = 3"
    )
    await world.sql(f"GRANT SELECT(id) ON crm.customers TO {name} WITH GRANT OPTION")
    await world.sql(f"GRANT SELECT ON analytics.* TO {name}")
    await world.sql(f"REVOKE SELECT(secret) ON analytics.orders FROM {name}")
    await world.sql(f"GRANT {own} TO {name} WITH ADMIN OPTION")
    await world.sql(f"GRANT {night} TO {name}")
    await world.sql(f"SET DEFAULT ROLE {own} TO {name}")
    # What workers are to take and to give back they have to hold themselves.
    account = quote_identifier(f"{world.tenant}-provisioner")
    await world.sql(f"GRANT SELECT ON crm.* TO {account} WITH GRANT OPTION")
    return await shown(world, "ana")


async def test_a_user_that_was_there_stays_as_it_is(world: World, before: list[str]) -> None:
    ana = await world.user("ana")
    await world.group("Analysts", ana)
    await world.drain()
    assert await shown(world, "ana") == before
    assert "is not managed" in (await world.letters())[ana].error
    await world.delete(ana)
    await world.drain()
    assert await shown(world, "ana") == before


async def test_an_adopted_user_lives_and_is_given_back(world: World, before: list[str]) -> None:
    world.configure(adopt_existing_users=True)
    ana = await world.user("ana")
    group = await world.group("Analysts", ana)
    entity = await world.entity("ana")
    await world.drain()
    adopted = await shown(world, "ana")
    assert (await world.letters(), await world.held()) == (
        {},
        {"ana": {E, A, "own", "night"}},
    )
    assert [line for line in adopted if " ON " in line] == [
        line for line in before if " ON " in line
    ]
    assert "sha256_password HOST LOCAL" in adopted[0]
    await world.set_user(ana, active=False)
    await world.drain()
    assert await world.held() == {"ana": None}
    assert [line for line in await shown(world, "ana") if " ON " in line] == []
    await world.set_user(ana, active=True)
    await world.members(group, remove=(ana,))
    await world.drain()
    assert await world.held() == {"ana": {E}}
    assert "HOST LOCAL, IP '10.0.0.0/8', NAME 'bastion.example'" in (await shown(world, "ana"))[0]
    await world.delete(ana)
    await world.drain()
    assert await shown(world, "ana") == before
    assert await world.entity("ana") == entity
    assert await world.letters() == {}
    await world.store.ask(resync=True)
    await world.drain()
    assert await shown(world, "ana") == before


async def test_somebody_who_comes_back_is_adopted_anew(world: World, before: list[str]) -> None:
    world.configure(adopt_existing_users=True)
    for _ in range(2):
        ana = await world.user("ana")
        await world.drain()
        assert (await world.held())["ana"] == {E, "own", "night"}
        await world.delete(ana)
        await world.drain()
        assert await shown(world, "ana") == before


async def test_one_user_is_adopted_and_given_back_on_an_operators_word(
    world: World, before: list[str]
) -> None:
    ana = await world.user("ana")
    await world.drain()
    name = world.name("ana")
    await world.store.consent([name], "yes")
    await world.store.ask([ana])
    await world.drain()
    assert ((await world.held())["ana"], await world.letters()) == ({E, "own", "night"}, {})
    await world.store.consent([name], "no")
    await world.store.ask([ana])
    await world.drain()
    assert await shown(world, "ana") == before
    assert [resource_behind(i) for i in await world.letters()] == [ana]


async def test_an_administrator_is_not_adopted(world: World, before: list[str]) -> None:
    world.configure(adopt_existing_users=True)
    name = quote_identifier(world.name("ana"))
    await world.sql(f"GRANT CREATE USER ON *.* TO {name}")
    privileged = await shown(world, "ana")
    ana = await world.user("ana")
    await world.drain()
    assert await shown(world, "ana") == privileged != before
    assert "manages access" in (await world.letters())[ana].error


async def test_a_crash_on_the_way_loses_nothing_of_what_was_there(
    world: World, before: list[str]
) -> None:
    world.configure(adopt_existing_users=True)
    ana = await world.user("ana")
    for count in range(1, 8):
        await world.lane(world.unavailable_after(count)).drain()
        await world.store.resume()
    await world.drain()
    assert (await world.held())["ana"] == {E, "own", "night"}
    await world.delete(ana)
    for count in range(1, 8):
        await world.lane(world.unavailable_after(count)).drain()
        await world.store.resume()
    await world.drain()
    assert await shown(world, "ana") == before
    assert await world.letters() == {}
