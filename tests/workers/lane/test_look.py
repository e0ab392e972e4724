"""Looking for drift unasked: cheap while nothing changes, mending or only reporting what has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from app.directory.holds import Holds
from app.directory.lanes import LaneCare, read_care
from app.directory.shards import alone
from workers.access.statements import quote_identifier, render
from workers.access.steps import Hold, StripRoles
from workers.clickhouse.fingerprints import Fingerprints
from workers.look import Look
from workers.setup import Setup

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

COMPARED = "drift.compared"


async def care_of(world: World) -> LaneCare:
    lane = (world.tenant, "main")
    return (await read_care(world.link, [lane], Clock().now_ms()))[lane]


async def look(world: World, care: LaneCare | None = None) -> tuple[bool, list[Any]]:
    """Look once; return whether the lane has something to do, and the lines of the log."""
    setup = Setup.of(world.settings, world.tenant, "main")
    assert setup is not None
    taken = Look(
        setup=setup,
        shards=alone(world.link),
        pool=world.pool,
        fingerprints=Fingerprints(world.pool, setup.sharing.markers, Clock()),
        settings=world.settings,
        clock=Clock(),
    )
    with world.logs() as lines:
        return await taken.take(care or await care_of(world)), lines


def fingerprints(world: World, *others: str) -> Fingerprints:
    return Fingerprints(world.pool, (world.target.marker, *others), Clock())


def compared(lines: list[Any]) -> bool:
    return any(line["event"] == COMPARED for line in lines)


def found(lines: list[Any]) -> list[int]:
    return [line["differences"] for line in lines if line["event"] == "drift.found"]


def policy(world: World, name: str) -> None:
    world.raw["drift"] = {"policy": name}
    world.configure()


async def take_a_role(world: World) -> None:
    role, user = world.role("employee"), world.name("ana")
    await world.sql(f"REVOKE {quote_identifier(role)} FROM {quote_identifier(user)}")


async def test_everybody_is_compared_again_only_after_something_changed(world: World) -> None:
    await world.user("ana")
    await world.drain()
    assert [compared((await look(world))[1]) for _ in range(3)] == [True, False, False]
    await world.user("bob")
    await world.drain()
    assert [compared((await look(world))[1]) for _ in range(2)] == [True, False]
    world.configure(default_roles=[])
    assert compared((await look(world))[1])


CHANGES = {
    "a role given": "GRANT {writer} TO {ana}",
    "a role taken": "REVOKE {employee} FROM {ana}",
    "a privilege given": "GRANT SELECT ON x.y TO {ana}",
    "a log-in": "ALTER USER {ana} IDENTIFIED WITH no_authentication",
    "a host": "ALTER USER {ana} HOST LOCAL",
    "an end": "ALTER USER {ana} VALID UNTIL '2100-01-01 00:00:00'",
    "a setting": "ALTER USER {ana} SETTINGS max_threads = 1",
    "default roles": "ALTER USER {ana} DEFAULT ROLE NONE",
    "a user dropped": "DROP USER {ana}",
    "a user made again": "CREATE USER OR REPLACE {ana} IDENTIFIED WITH no_password",
    "a stranger marked": "GRANT {managed} TO {stray}",
    "a role dropped": "DROP ROLE {writer}",
    "a role's privilege": "GRANT SELECT ON secret.* TO {analyst}",
    "a role's setting": "ALTER ROLE {analyst} SETTINGS max_threads = 1",
    "a role in a role": "GRANT {writer} TO {analyst}",
    "a row policy": "CREATE ROW POLICY {stray} ON a.b USING 1 TO {analyst}",
    "a quota": "CREATE QUOTA {stray} FOR INTERVAL 1 hour MAX queries = 1 TO {analyst}",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_any_change_of_what_is_managed_is_noticed(change: str, world: World) -> None:
    await world.user("ana")
    await world.drain()
    stray = quote_identifier(world.name("stray"))
    await world.sql(f"CREATE USER {stray} IDENTIFIED WITH no_password")
    prints = fingerprints(world)
    before = await prints.of(world.target.marker)
    assert await prints.of(world.target.marker) == before
    names = ("managed", "employee", "analyst", "writer")
    roles = {name: quote_identifier(world.role(name)) for name in names}
    ana = quote_identifier(world.name("ana"))
    await world.sql(change.format(ana=ana, stray=stray, **roles))
    assert await prints.of(world.target.marker) != before


async def test_what_strangers_do_is_not_noticed(world: World) -> None:
    await world.drain()
    prints = fingerprints(world)
    before = await prints.of(world.target.marker)
    stray = quote_identifier(world.name("stray"))
    await world.sql(f"CREATE USER {stray} IDENTIFIED WITH no_password")
    await world.sql(f"GRANT SELECT ON a.b TO {stray}")
    assert await prints.of(world.target.marker) == before


async def test_one_reading_of_a_target_serves_its_other_tenants_and_each_but_once(
    world: World,
) -> None:
    await world.user("ana")
    await world.drain()
    mine, other = world.target.marker, world.role("other_managed")
    stray = quote_identifier(world.name("stray"))
    prints = fingerprints(world, other)
    await world.sql(f"CREATE ROLE {quote_identifier(other)}")
    held_by_nobody = await prints.of(other)
    before = await prints.of(mine)
    await world.sql(f"CREATE USER {stray} IDENTIFIED WITH no_password")
    await world.sql(f"GRANT {quote_identifier(other)} TO {stray}")
    assert await fingerprints(world, other).of(mine) == before
    assert await prints.of(other) != held_by_nobody


async def test_what_differs_is_mended_and_told(world: World) -> None:
    await world.user("ana")
    await world.drain()
    await take_a_role(world)
    has_work, lines = await look(world)
    assert (has_work, found(lines)) == (True, [1])
    await world.drain()
    assert await world.held() == {"ana": {"employee"}}
    has_work, lines = await look(world)
    assert (has_work, found(lines)) == (False, [])


async def test_with_report_a_difference_stays_and_is_known_since_when(world: World) -> None:
    policy(world, "report")
    await world.user("ana")
    await world.drain()
    await take_a_role(world)
    has_work, lines = await look(world)
    assert (has_work, found(lines)) == (False, [1])
    assert await world.held() == {"ana": set()}
    noted = await world.store.drifted()
    assert list(noted) == [f"user/roles/{world.name('ana')}"]
    await world.sql(f"ALTER USER {quote_identifier(world.name('ana'))} HOST NONE")
    await look(world)
    again = await world.store.drifted()
    assert len(again) == 2
    assert again.items() >= noted.items()
    policy(world, "repair")
    has_work, _ = await look(world)
    assert has_work
    await world.drain()
    assert await world.held() == {"ana": {"employee"}}
    assert await world.store.drifted() == {}


async def test_what_others_gave_is_told_and_kept(world: World) -> None:
    await world.user("ana")
    await world.drain()
    await world.sql(f"GRANT SELECT ON a.b TO {quote_identifier(world.name('ana'))}")
    has_work, lines = await look(world)
    assert (has_work, found(lines)) == (False, [1])
    assert list(await world.store.drifted()) == [f"user/foreign privilege/{world.name('ana')}"]


async def test_what_waits_to_be_applied_is_no_drift(world: World) -> None:
    policy(world, "report")
    await world.user("ana")
    await world.drain()
    await world.user("bob")
    _, lines = await look(world)
    assert found(lines) == []
    assert await world.store.drifted() == {}


async def test_one_worker_of_many_looks(world: World) -> None:
    await world.user("ana")
    await world.drain()
    care = await care_of(world)
    looks = await asyncio.gather(*(look(world, care) for _ in range(4)))
    assert sum(compared(lines) for _, lines in looks) == 1


async def test_a_letter_whose_cause_is_gone_is_found_though_nothing_of_ours_changed(
    world: World,
) -> None:
    ana = quote_identifier(world.name("ana"))
    await world.sql(f"CREATE USER {ana} IDENTIFIED WITH no_password")
    await world.user("ana")
    await world.drain()
    assert await world.letters()
    for _ in range(2):
        await look(world)
        await world.drain()
    await world.sql(f"DROP USER {ana}")
    assert (await look(world))[0]
    await world.drain()
    assert await world.letters() == {}
    assert await world.held() == {"ana": {"employee"}}


@pytest.mark.parametrize("its_policy", ["repair", "report"])
async def test_a_wiped_target_is_filled_again(its_policy: str, world: World) -> None:
    policy(world, its_policy)
    await world.group("Analysts", await world.user("ana"))
    await world.drain()
    await look(world)
    await world.sql(f"DROP USER {quote_identifier(world.name('ana'))}")
    for name in ("managed", "employee", "analyst", "writer"):
        await world.sql(f"DROP ROLE {quote_identifier(world.role(name))}")
    assert (await look(world))[0]
    await world.drain()
    assert await world.held() == {"ana": {"employee", "analyst"}}
    granted = await world.sql(f"SHOW GRANTS FOR {quote_identifier(world.role('analyst'))}")
    assert "SELECT ON analytics.*" in str(granted)


async def test_an_account_with_fewer_rights_is_no_reason_not_to_look(world: World) -> None:
    await world.user("ana")
    await world.drain()
    account = quote_identifier(f"{world.tenant}-provisioner")
    await world.sql(f"REVOKE SHOW QUOTAS ON *.* FROM {account}")
    assert [compared((await look(world))[1]) for _ in range(2)] == [True, True]


async def test_a_hold_that_only_the_target_keeps_is_found(world: World) -> None:
    policy(world, "report")
    ana = await world.user("ana")
    await world.drain()
    name = world.name("ana")
    for step in (StripRoles((name,)), Hold((name,))):
        for statement in render(step, world.marker):
            await world.sql(statement.sql)
    has_work, _ = await look(world)
    assert has_work
    (hold,) = (await Holds(world.link, world.tenant).all()).holds
    assert (hold.user, hold.resource_id) == ("ana", ana)
