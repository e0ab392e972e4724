"""A hold keeps somebody out of every target, however the identity provider tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.directory.holds import Hold, Holds
from workers.access.statements import quote_identifier, render
from workers.access.steps import Hold as HoldStep
from workers.access.steps import StripRoles

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World


def holds(world: World) -> Holds:
    return Holds(world.link, world.tenant)


def hold(user: str, resource_id: str | None) -> Hold:
    return Hold(user=user, resource_id=resource_id, since_ms=1)


async def hold_on_target(world: World, user_name: str) -> None:
    """Do what `revoke --now --hold` does while Redis is away."""
    for step in (StripRoles((world.name(user_name),)), HoldStep((world.name(user_name),))):
        for statement in render(step, world.marker):
            await world.sql(statement.sql)


async def test_whoever_is_held_is_locked_and_stays_so_until_the_release(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await holds(world).put(hold("ana", ana), ["main"])
    await world.drain()
    assert await world.held() == {"ana": None}
    await world.set_user(ana, active=False)
    await world.set_user(ana, active=True)
    await world.group("Analysts", ana)
    await world.drain()
    assert await world.held() == {"ana": None}
    ((_, kept),) = [(h.user, h) for h in (await holds(world).all()).holds]
    await holds(world).drop(kept, ["main"])
    await world.drain()
    assert await world.held() == {"ana": {"employee", "analyst"}}


async def test_neither_a_new_name_nor_a_new_resource_helps(world: World) -> None:
    ana, bob = await world.user("ana"), await world.user("Bob")
    await world.drain()
    await holds(world).put(hold("ana", ana), ["main"])
    await holds(world).put(hold("bob", bob), ["main"])
    await world.set_user(ana, userName="anastasia")
    await world.delete(bob)
    await world.user("BOB")
    await world.drain()
    assert await world.held() == {"anastasia": None, "BOB": None}


async def test_a_hold_on_the_target_alone_becomes_the_tenants(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await hold_on_target(world, "ana")
    await world.group("Analysts", ana)
    await world.drain()
    assert await world.held() == {"ana": None}
    (kept,) = (await holds(world).all()).holds
    assert (kept.user, kept.resource_id, kept.on_targets) == ("ana", ana, True)
    await world.delete(ana)
    await world.user("ana")
    await world.drain()
    assert await world.held() == {"ana": None}


async def test_a_resync_finds_a_hold_of_somebody_whom_nobody_knows(world: World) -> None:
    await world.user("ana")
    await world.drain()
    stray = quote_identifier(world.name("stray"))
    await world.sql(f"CREATE USER {stray} IDENTIFIED WITH no_password")
    await world.sql(f"GRANT {quote_identifier(world.marker)} TO {stray}")
    await hold_on_target(world, "stray")
    await world.store.ask(resync=True)
    await world.drain()
    (kept,) = (await holds(world).all()).holds
    assert (kept.user, kept.resource_id) == ("stray", None)
    await world.user("stray")
    await world.drain()
    assert await world.held() == {"ana": {"employee"}, "stray": None}
