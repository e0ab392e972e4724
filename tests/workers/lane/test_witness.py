"""What a lane tells the ledger: every statement with what became of it, and what users hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.directory.facts import Access, DeadLetter, Fact, Statement, parse_fact
from app.directory.keys import Keys

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World


@pytest.fixture
def told(world: World) -> World:
    """The world, with a ledger; what it is told waits in Redis."""
    world.raw["ledger"] = {"url": "clickhouse://ledger@127.0.0.1:1/scim"}
    world.configure()
    return world


async def facts(world: World, kind: type[Fact]) -> list[Any]:
    """Return what was told, of a statement its last word."""
    entries = await world.link.redis.xrange(Keys(world.tenant).facts)
    found = [parse_fact(fields[b"fact"]) for _, fields in entries]
    return list({fact.id: fact for fact in found if isinstance(fact, kind)}.values())


async def held(world: World) -> list[tuple[str, list[str]]]:
    return [
        (one.state, [role.removeprefix(f"{world.tenant}_") for role in one.roles])
        for one in await facts(world, Access)
    ]


async def test_every_statement_is_told_with_the_events_behind_it(told: World) -> None:
    ana = await told.user("ana")
    await told.group("Analysts", ana)
    await told.drain()
    statements: list[Statement] = await facts(told, Statement)
    about_ana = [one for one in statements if one.resources == (ana,)]
    assert [one.action for one in about_ana] == ["Create", "Grant", "DefaultAll"]
    assert {one.result for one in statements} == {"done"}
    assert {one.version for one in statements} == {2}
    for one in about_ana:
        assert (one.users, one.seqs, one.requests) == ((told.name("ana"),), (1, 2), ("req-1",))
        assert one.duration_ms > 0
        assert told.name("ana") in one.text
    about_roles = {role for one in statements if not one.users for role in one.roles}
    assert told.role("analyst") in about_roles


async def test_a_refused_statement_and_its_dead_letter_are_told(told: World) -> None:
    ana = await told.user("ana")
    lane = told.lane(told.refusing("CREATE USER"))
    await lane.drain()
    created = [s for s in await facts(told, Statement) if s.action == "Create"]
    assert {(one.result, one.code) for one in created} == {("refused", 497)}
    (letter,) = await facts(told, DeadLetter)
    assert (letter.change, letter.resource, letter.code) == ("parked", ana, 497)
    await told.store.ask([ana])
    await told.drain()
    assert [one.change for one in await facts(told, DeadLetter)] == ["parked", "resolved"]


async def test_a_statement_without_an_answer_is_told_as_such(told: World) -> None:
    await told.user("ana")
    await told.lane(told.unavailable_after(0)).drain()
    (statement,) = await facts(told, Statement)
    assert statement.result == "unanswered"


async def test_what_a_user_holds_is_told_when_it_changes(told: World) -> None:
    ana = await told.user("ana")
    await told.drain()
    group = await told.group("Analysts", ana)
    await told.drain()
    await told.set_user(ana, nickName="A")  # changes nothing on the target
    await told.drain()
    await told.set_user(ana, active=False)
    await told.drain()
    await told.delete(ana)
    await told.drain()
    assert await held(told) == [
        ("active", ["employee"]),
        ("active", ["analyst", "employee"]),
        ("locked", []),
        ("gone", []),
    ]
    assert {one.resource for one in await facts(told, Access)} == {ana}
    assert group


async def test_a_role_that_nobodys_group_explains_is_told_as_such(told: World) -> None:
    await told.user("ana")
    await told.drain()
    await told.sql(f"CREATE ROLE IF NOT EXISTS {told.tenant}_foreign")
    await told.sql(f"GRANT {told.tenant}_foreign TO `{told.name('ana')}`")
    await told.store.ask(resync=True)
    await told.drain()
    last: Access = (await facts(told, Access))[-1]
    assert set(last.roles) - set(last.explained) == {told.role("foreign")}


async def test_what_a_dead_worker_left_untold_is_told_by_the_next(told: World) -> None:
    """The statements were carried out; what came of them was lost with the worker."""
    ana = await told.user("ana")
    await told.drain()
    keys = Keys(told.tenant)
    await told.link.redis.delete(keys.facts, keys.told)
    await told.store.ask([ana])
    await told.drain()
    assert await held(told) == [("active", ["employee"])]


async def test_without_a_ledger_nothing_is_told(world: World) -> None:
    await world.user("ana")
    await world.drain()
    assert not await world.link.redis.exists(Keys(world.tenant).facts, Keys(world.tenant).told)


async def test_a_statement_that_was_never_sent_is_told_as_such(told: World) -> None:
    """Few statements are announced together; after the first is refused the others stay unsent."""
    await told.user("ana")
    await told.drain()
    await told.user("bo")
    await told.lane(told.refusing("CREATE USER")).drain()
    about_bo = [s for s in await facts(told, Statement) if told.name("bo") in s.users]
    results = {one.action: one.result for one in about_bo}
    assert results == {"Create": "refused", "Grant": "unsent", "DefaultAll": "unsent"}


async def test_somebody_who_is_renamed_is_told_under_both_names(told: World) -> None:
    ana = await told.user("ana")
    await told.drain()
    await told.set_user(ana, userName="anna")
    await told.drain()
    seen = {(one.user, one.state) for one in await facts(told, Access)}
    assert seen == {
        (told.name("ana"), "active"),
        (told.name("ana"), "gone"),
        (told.name("anna"), "active"),
    }


async def test_the_ledger_hears_also_from_whoever_has_lost_the_lane(told: World) -> None:
    ana = await told.user("ana")
    lane = told.lane()
    acknowledge = lane.store.acknowledge

    async def lost(epoch: int, batch: Any, facts: Any = ()) -> bool:
        await told.link.redis.delete(f"scim:{{{told.tenant}}}:lease:main")
        return await acknowledge(epoch, batch, facts)

    lane.store.acknowledge = lost  # type: ignore[method-assign]
    await lane.drain()
    assert (await told.status()).applied_seq == 0
    done = [one for one in await facts(told, Statement) if one.resources == (ana,)]
    assert {(one.action, one.result) for one in done} >= {("Create", "done")}
    assert [one.resource for one in await facts(told, Access)] == [ana]
