"""Whoever leaves is looked at on every server until no way in is left: that is the receipt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from app.config.ledger import LedgerSettings
from app.directory.facts import Facts, Receipt, parse_fact
from app.directory.keys import Keys
from app.directory.leavers import Leavers
from app.errors import StatementRefused, TargetUnavailable
from workers.access.statements import quote_identifier
from workers.clickhouse.nodes import Nodes
from workers.clickhouse.pool import Endpoint, Pool
from workers.leaving import Doorman
from workers.setup import Setup, endpoint_of

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer
    from tests.workers.lane.conftest import World

LEDGER = LedgerSettings(url="clickhouse://nobody@127.0.0.1:1/none")


def leavers(world: World) -> Leavers:
    return Leavers(world.link, world.tenant, "main")


async def waiting(world: World) -> set[str]:
    return {leaver.resource_id for leaver in await leavers(world).waiting()}


def doorman(world: World, nodes: Nodes) -> Doorman:
    setup = Setup.of(world.settings, world.tenant, "main")
    assert setup is not None
    facts = Facts(world.link, LEDGER)
    return Doorman(setup=setup, link=world.link, nodes=nodes, facts=facts, clock=Clock())


async def seen_out(world: World) -> None:
    nodes = Nodes(endpoint_of(world.settings, "main"))
    try:
        await doorman(world, nodes).see_out()
    finally:
        await nodes.close()


async def receipts(world: World) -> list[Receipt]:
    raws: list[bytes] = []
    key = f"{Keys(world.tenant).prefix}facts"
    for _, fields in await world.link.redis.xrange(key):
        raws += fields.values()
    facts = [parse_fact(raw) for raw in raws if raw.startswith(b"{")]
    return [fact for fact in facts if isinstance(fact, Receipt)]


async def test_a_receipt_says_when_every_server_was_seen_without_the_access(world: World) -> None:
    ana = await world.user("ana")
    await world.group("Analysts", ana)
    await world.drain()
    assert await waiting(world) == set()
    await world.set_user(ana, active=False)
    await world.drain()
    assert await waiting(world) == {ana}
    await seen_out(world)
    assert await waiting(world) == set()
    (receipt,) = await receipts(world)
    assert (receipt.user, receipt.resource, receipt.seq) == (world.name("ana"), ana, 3)
    assert receipt.nodes == tuple(Nodes(endpoint_of(world.settings, "main")).names)
    assert 0 < receipt.asked_ms <= receipt.at_ms + 1000


async def test_whoever_is_deleted_gets_a_receipt_too(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.delete(ana)
    await world.drain()
    await seen_out(world)
    assert [receipt.resource for receipt in await receipts(world)] == [ana]


async def test_a_crash_between_the_statements_and_the_acknowledgement_loses_no_receipt(
    world: World,
) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.lane(world.unavailable_after(2)).drain()
    assert await waiting(world) == {ana}
    await world.store.resume()
    await world.drain()
    await seen_out(world)
    assert [receipt.resource for receipt in await receipts(world)] == [ana]


async def test_nobody_is_out_while_a_server_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.leaving.PATIENCE_S", 0.3)
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.drain()
    at = endpoint_of(world.settings, "main")
    nodes = Nodes(Endpoint(hosts=(*at.hosts, ("127.0.0.1", 9)), user=at.user))
    with world.logs() as lines:
        await doorman(world, nodes).see_out()
    await nodes.close()
    assert await waiting(world) == {ana}
    assert await receipts(world) == []
    assert [line["resource"] for line in lines if line["event"] == "leaver.still_in"] == [ana]


async def test_whoever_is_let_in_again_is_not_waited_for(world: World) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.drain()
    await world.set_user(ana, active=True)
    await world.drain()
    assert await waiting(world) == set()


async def test_a_deactivation_that_was_taken_back_before_it_was_sent_is_forgotten(
    world: World,
) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.lane(world.unavailable_after(0)).drain()
    await world.set_user(ana, active=True)
    await world.store.resume()
    await world.drain()
    assert await waiting(world) == {ana}
    await seen_out(world)
    assert await waiting(world) == set()
    assert await receipts(world) == []


async def test_a_query_that_began_again_is_killed_before_the_receipt(
    world: World, clickhouse: ClickHouseServer
) -> None:
    ana = await world.user("ana")
    await world.drain()
    await world.set_user(ana, active=False)
    await world.drain()
    name = quote_identifier(world.name("ana"))
    await world.sql(f"ALTER USER {name} VALID UNTIL 'infinity' HOST ANY")
    hosts = ((clickhouse.host, clickhouse.port),)
    pool = Pool(Endpoint(hosts=hosts, user=world.name("ana"), password="any"))

    async def run() -> None:
        async with pool.session() as session:
            await session.query("SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size=1")

    running = asyncio.create_task(run())

    async def runs() -> bool:
        sql = f"SELECT count() FROM system.processes WHERE user = '{world.name('ana')}'"
        return await world.sql(sql) != [(0,)]

    await world.until(runs)
    await world.sql(f"ALTER USER {name} VALID UNTIL '2000-01-01 00:00:00' HOST NONE")
    await seen_out(world)
    with pytest.raises((StatementRefused, TargetUnavailable)):
        await running
    await pool.close()
    got: list[Any] = await receipts(world)
    assert len(got) == 1
