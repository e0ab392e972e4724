"""A dry run says what the lane would do, and does nothing; drift is what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.clock import Clock
from app.directory.keys import Keys
from app.directory.shards import alone
from workers.access.statements import quote_identifier
from workers.drift import Drift, drift_of
from workers.rehearsal import Rehearsed, rehearse
from workers.setup import Setup

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World


async def rehearsed(world: World) -> Rehearsed:
    setup = Setup.of(world.settings, world.tenant, "main")
    assert setup is not None
    return await rehearse(setup, alone(world.link), world.pool, at_once=2, clock=Clock())


async def drift(world: World) -> Drift:
    return drift_of(await rehearsed(world))


async def rows(world: World) -> list[tuple[str, str, str, str, str]]:
    """Return the differences, names and roles without the tenant's."""
    prefixes = (f"{world.tenant}__", f"{world.tenant}_")

    def bare(text: str) -> str:
        for prefix in prefixes:
            text = text.replace(prefix, "")
        return text

    return [
        (d.kind, bare(d.name), d.what, bare(d.expected), bare(d.actual))
        for d in (await drift(world)).differences
    ]


async def everything(world: World) -> Any:
    """Return all that Redis holds of the tenant, but for the clock of the server."""
    found = {}
    async for key in world.link.redis.scan_iter(match=f"{Keys(world.tenant).prefix}*"):
        found[key] = await world.link.redis.dump(key)
    return found


def user(world: World, name: str) -> str:
    return quote_identifier(world.name(name))


async def a_company(world: World) -> None:
    ana, bob = await world.user("ana"), await world.user("bob")
    await world.user("cy", active=False)
    await world.group("Analysts", ana, bob)
    await world.agent("robot")
    await world.drain()


async def test_nothing_differs_after_a_lane_is_drained(world: World) -> None:
    await a_company(world)
    assert await rows(world) == []
    assert (await rehearsed(world)).statements == []


async def test_a_dry_run_before_the_first_drain_says_all_that_will_be_done(world: World) -> None:
    ana = await world.user("ana")
    await world.user("bob")
    await world.group("Analysts", ana)
    before = await everything(world)
    done = await rehearsed(world)
    assert await everything(world) == before
    assert await world.held() == {}
    would_be = {name: after.roles for name, (_, after) in done.users.items() if after}
    employee, analyst = world.role("employee"), world.role("analyst")
    assert would_be == {
        world.name("ana"): {employee, analyst},
        world.name("bob"): {employee},
    }
    assert world.marker in done.roles
    await world.drain()
    assert await world.held() == {"ana": {"employee", "analyst"}, "bob": {"employee"}}


async def test_whatever_others_changed_on_the_target_is_a_difference(world: World) -> None:
    await a_company(world)
    await world.sql(f"REVOKE {quote_identifier(world.role('analyst'))} FROM {user(world, 'ana')}")
    await world.sql(f"DROP USER {user(world, 'bob')}")
    await world.sql(f"ALTER USER {user(world, 'cy')} HOST ANY VALID UNTIL 'infinity'")
    await world.sql(f"ALTER USER {user(world, 'robot')} HOST NONE")
    await world.sql(f"CREATE USER {user(world, 'stray')} IDENTIFIED WITH no_password")
    await world.sql(f"GRANT {quote_identifier(world.marker)} TO {user(world, 'stray')}")
    before = await everything(world)
    assert await rows(world) == [
        ("user", "ana", "roles", "analyst, employee", "employee"),
        ("user", "bob", "exists", "open, with roles analyst, employee", "missing"),
        ("user", "cy", "door", "locked", "open"),
        ("user", "robot", "door", "open", "ajar"),
        ("user", "stray", "door", "locked", "open"),
    ]
    assert await everything(world) == before
    await world.store.ask(resync=True)
    await world.drain()
    assert await rows(world) == []


async def test_a_wiped_target_differs_in_everything(world: World) -> None:
    await a_company(world)
    for name in ("ana", "bob", "cy", "robot"):
        await world.sql(f"DROP USER {user(world, name)}")
    for name in ("managed", "employee", "analyst", "writer"):
        await world.sql(f"DROP ROLE {quote_identifier(world.role(name))}")
    missing = {(kind, name) for kind, name, *_, actual in await rows(world) if actual == "missing"}
    assert missing == {
        *(("user", name) for name in ("ana", "bob", "cy", "robot")),
        *(("role", name) for name in ("managed", "employee", "analyst", "writer")),
    }


async def test_a_role_that_is_gone_and_not_ours_to_make_is_a_difference(world: World) -> None:
    handmade = world.role("handmade")
    world.configure(groups=[{"group": "Analysts", "roles": [handmade]}])
    await world.sql(f"CREATE ROLE {quote_identifier(handmade)}")
    await world.group("Analysts", await world.user("ana"))
    await world.drain()
    assert await rows(world) == []
    await world.sql(f"DROP ROLE {quote_identifier(handmade)}")
    ((kind, name, what, _, actual),) = await rows(world)
    assert (kind, name, what) == ("user", "ana", "refused")
    assert "there is no role 'handmade'" in actual


async def test_a_name_that_somebody_else_has_is_no_drift(world: World) -> None:
    await world.sql(f"CREATE USER {user(world, 'ana')} IDENTIFIED WITH no_password")
    await world.user("ana")
    await world.drain()
    found = await drift(world)
    assert found == Drift([], frozenset({world.name("ana")}))


async def test_a_user_that_is_not_marked_any_more_is_a_difference(world: World) -> None:
    await a_company(world)
    await world.sql(f"REVOKE {quote_identifier(world.marker)} FROM {user(world, 'ana')}")
    ((kind, name, what, _, actual),) = await rows(world)
    assert (kind, name, what) == ("user", "ana", "refused")
    assert "exists and is not managed" in actual


async def test_a_changed_role_map_shows_what_it_will_give_to_groups_that_are_there(
    world: World,
) -> None:
    ana = await world.user("ana")
    await world.group("Night Shift", ana, external_id="x-1")
    await world.drain()
    writer = world.role("writer")
    for entry in ({"group": "night shift"}, {"external_id": "x-1"}):
        world.configure(groups=[entry | {"roles": [writer]}])
        before = await everything(world)
        assert await rows(world) == [("user", "ana", "roles", "employee, writer", "employee")]
        assert await everything(world) == before


async def test_a_tenant_whose_directory_is_empty_would_change_nobody(world: World) -> None:
    await a_company(world)
    async for key in world.link.redis.scan_iter(match=f"{Keys(world.tenant).prefix}*"):
        await world.link.redis.delete(key)
    assert [row for row in await rows(world) if row[0] == "user"] == []


async def test_two_who_swap_their_names_would_get_new_users(world: World) -> None:
    ana, bob = await world.user("ana"), await world.user("bob")
    await world.drain()
    await world.set_user(ana, userName="c")
    await world.set_user(bob, userName="ana")
    await world.set_user(ana, userName="bob")
    done = await rehearsed(world)
    names = [type(statement.step).__name__ for statement in done.statements]
    assert names.count("Create") == 1
    assert names.count("Drop") == 1
