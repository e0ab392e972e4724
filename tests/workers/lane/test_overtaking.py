"""A revocation does not wait behind other work, and what is older can't come back after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from app.directory.revocations import with_revocations
from workers.access.statements import Statement

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A, W = "employee", "analyst", "writer"


@pytest.fixture
async def staff(world: World) -> dict[str, str]:
    """Forty people who are applied, and a lane that takes ten events at a time."""
    world.raw["worker"] = {"batch_events": 10}
    world.configure()
    people = {f"u{number}": await world.user(f"u{number}") for number in range(40)}
    await world.drain()
    return people


async def backlog(world: World, staff: Mapping[str, str]) -> None:
    for user in list(staff.values())[10:]:
        await world.set_user(user, displayName="Somebody")


async def steps(world: World) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Drain batch by batch; return the cursor, a kind of batch and the access after each."""
    seen: list[tuple[int, str, Mapping[str, Any]]] = []
    lane = world.lane(lambda *_: None)
    acknowledge = lane.store.acknowledge

    async def noting(epoch: int, batch: Any, facts: Any = ()) -> bool:
        done = await acknowledge(epoch, batch, facts)
        kind = "ahead" if batch.ahead else "turn"
        seen.append(((await world.status()).applied_seq, kind, await world.held()))
        return done

    lane.store.acknowledge = noting  # type: ignore[method-assign]
    while await lane.drain():
        pass
    return seen


@pytest.mark.parametrize("how", ["deactivated", "deleted", "removed"])
async def test_a_revocation_overtakes_what_waits(
    world: World, staff: dict[str, str], how: str
) -> None:
    group = await world.group("Analysts", staff["u0"], staff["u1"])
    await world.drain()
    await backlog(world, staff)
    if how == "deactivated":
        await world.set_user(staff["u0"], active=False)
    elif how == "deleted":
        await world.delete(staff["u0"])
    else:
        await world.members(group, remove=(staff["u0"],))
    before = (await world.status()).applied_seq
    (cursor, kind, held), *rest = await steps(world)
    assert (cursor, kind) == (before, "ahead")
    expected = {"deactivated": None, "deleted": "no user", "removed": {E}}
    assert held.get("u0", "no user") == expected[how]
    assert held["u1"] == {E, A}
    assert len(rest) >= 3
    assert all(one.get("u0", "no user") == expected[how] for _, _, one in rest)
    await world.nothing_is_left()


async def test_only_what_is_lost_is_done_out_of_turn(world: World, staff: dict[str, str]) -> None:
    """Who waits for a role, a new name or to be let in again gets that in turn."""
    analysts = await world.group("Analysts", staff["u0"])
    writers = await world.group("Writers")
    await world.drain()
    await backlog(world, staff)
    await world.members(writers, add=(staff["u0"],))
    await world.set_user(staff["u0"], userName="renamed")
    late = await world.user("late")
    await world.set_user(late, active=False)
    await world.members(analysts, remove=(staff["u0"],))
    (_, kind, held), *_, (_, _, last) = await steps(world)
    assert kind == "ahead"
    assert held["u0"] == {E, A}, "who is a writer keeps the analyst's role, which is one of its two"
    assert "renamed" not in held
    assert "late" not in held
    assert last["renamed"] == {E, A, W}
    assert last["late"] is None
    assert await world.letters() == {}
    await world.nothing_is_left()


async def test_an_older_grant_does_not_come_back(world: World, staff: dict[str, str]) -> None:
    writers = await world.group("Writers")
    await world.members(writers, add=(staff["u0"],))
    await backlog(world, staff)
    await world.members(writers, remove=(staff["u0"],))
    for _, _, held in await steps(world):
        assert held["u0"] == {E}


async def test_a_name_that_passes_on_passes_on_in_turn(world: World, staff: dict[str, str]) -> None:
    """Who is locked out of turn keeps its user until its own events come."""
    await backlog(world, staff)
    await world.set_user(staff["u0"], userName="other")
    newcomer = await world.user("u0")
    await world.set_user(staff["u0"], active=False)
    entity = await world.entity("u0")
    (_, kind, held), *_ = await steps(world)
    assert (kind, held["u0"]) == ("ahead", None)
    held = await world.held()
    assert (held["u0"], held["other"]) == ({E}, None)
    assert await world.entity("u0") != entity
    assert (await world.of_lane("names"))[newcomer] == world.name("u0")
    await world.nothing_is_left()
    await world.delete(staff["u0"])
    await world.drain()
    assert "other" not in await world.held()


async def test_a_revocation_that_fails_out_of_turn_is_parked_and_tried_again(
    world: World, staff: dict[str, str]
) -> None:
    await backlog(world, staff)
    await world.set_user(staff["u0"], active=False)
    await world.lane(world.refusing("__u0`")).drain()
    letter = (await world.letters())[staff["u0"]]
    assert letter.revocation
    await world.store.ask([staff["u0"]])
    await world.drain()
    assert (await world.held())["u0"] is None
    assert await world.letters() == {}


async def test_the_oldest_revocation_that_is_not_applied_is_told(world: World) -> None:
    """Also the first change of a lane that had nothing to do, as where its target is away."""
    ana, bo = await world.user("ana"), await world.user("bo")
    await world.drain()

    async def since_ms() -> int | None:
        (lane,) = await with_revocations(world.link, [await world.status()])
        return lane.revocation_since_ms

    assert await since_ms() is None
    before_ms = Clock().now_ms()
    await world.set_user(ana, active=False)
    first = await since_ms()
    assert first is not None
    assert first >= before_ms
    await world.user("cy")
    await world.set_user(bo, active=False)
    assert await since_ms() == first
    await world.lane(world.refusing("REVOKE ALL EXCEPT")).drain()
    assert (await world.letters())[ana].revocation
    refused = await since_ms()
    assert refused is not None
    assert refused > first  # now the dead letter tells
    await world.store.ask([ana, bo])
    await world.drain()
    assert await since_ms() is None


async def test_a_revocation_overtakes_the_parts_of_a_large_change(
    world: World, staff: dict[str, str]
) -> None:
    world.raw["worker"] = {"batch_users": 2}
    world.configure()
    await world.drain()
    await world.group("Analysts", *list(staff.values())[1:])
    lane = world.lane(lambda *_: None)
    order: list[str] = []

    async def before(sent: int, statement: Statement) -> None:
        if sent == 0:
            await world.set_user(staff["u0"], active=False)
        order.append(type(statement.step).__name__)

    lane = world.lane(before)
    while await lane.drain():
        pass
    assert order.index("Lock") < order.index("Grant", order.index("Lock"))
    assert order.count("Grant") == 5
    assert (await world.held())["u0"] is None


async def test_a_lane_with_nothing_else_to_do_has_no_second_way(
    world: World, staff: dict[str, str]
) -> None:
    await world.set_user(staff["u0"], active=False)
    await world.set_user(staff["u1"], active=False)
    batches = await world.drain()
    assert [batch["ahead"] for batch in batches] == [0]
    assert await world.store.express(0, 10) == {}
