"""The ledger gets every event and every fact once, whatever dies, and delays nobody meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from app.config.ledger import LedgerSettings
from app.directory.directory import Directory
from app.directory.facts import Access, AdminAction, Facts, Statement
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneStore
from app.directory.link import connect
from tests.workers.ledger.conftest import ORIGIN, Told, settings_of
from workers.ledger.chain import Verification
from workers.ledger.schema import migrate
from workers.ledger.store import Store

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer


def statement(number: int, version: int = 2) -> Statement:
    return Statement(
        id=f"q-{number}",
        version=version,
        target="main",
        epoch=1,
        seqs=(number,),
        requests=("req-1",),
        users=("ana",),
        resources=("u1",),
        roles=(),
        action="grant",
        text="GRANT `r` TO `ana`",
        at_ms=1_700_000_000_000 + number,
        result="done" if version > 1 else "sent",
    )


async def test_an_event_says_who_asked_and_what_was_there_before(told: Told) -> None:
    ana = await told.user("ana@acme.example")
    await told.set_user(ana, active=False)
    group = await told.group("Analysts", ana, keys=("name:analysts",))
    await told.directory.delete("user", ana, ORIGIN)
    await told.write()
    created, updated, grouped, deleted = await told.events()
    assert (created.op, created.resource_id, created.name) == ("created", ana, "ana@acme.example")
    assert (created.request_id, created.token_id) == ("req-1", "tok-1")
    assert (created.ip, created.agent) == ("203.0.113.7", "Okta SCIM")
    assert not created.before
    assert json.loads(created.after)["active"] is True
    assert updated.before == created.after
    assert json.loads(updated.after)["active"] is False
    assert [e.left for e in (created, updated, grouped, deleted)] == [False, True, False, False]
    assert (grouped.added, grouped.links) == ((ana,), ("name:analysts",))
    assert (deleted.before, deleted.after, deleted.groups) == (updated.after, "", (group,))


async def test_the_chain_of_what_is_written_holds(told: Told) -> None:
    for number in range(7):
        await told.user(f"u{number}")
        if number % 3 == 0:
            await told.write()
    await told.write()
    verification = Verification()
    assert not list(verification.check(await told.events()))
    progress = await told.progress()
    assert (verification.seq, verification.hash) == (progress.cursor, progress.head) != (0, "")


async def test_a_block_that_was_sent_before_a_crash_is_there_once(told: Told) -> None:
    """Killed after the INSERT, before Redis heard of it; more has happened meanwhile."""
    for number in range(5):
        await told.user(f"u{number}")
    before = await told.progress()
    await told.write()
    await told.user("later")
    await told.rewind(cursor=None, head=before.head, block=5, stated=None)
    await told.write()
    assert await told.rows("events") == await told.rows("events", "uniqExact(seq)") == 6
    assert not list(Verification().check(await told.events()))


async def test_a_block_that_was_only_announced_is_sent_whole(told: Told) -> None:
    """Killed before the INSERT: the block ends where it was to end."""
    for number in range(4):
        await told.user(f"u{number}")
    await told.rewind(block=2)
    await told.write()
    assert [e.seq for e in await told.events()] == [1, 2, 3, 4]
    assert (await told.progress()).block == 0


async def test_facts_are_written_and_leave_redis(told: Told) -> None:
    await told.facts.record(told.tenant, [statement(n) for n in range(3)])
    await told.write()
    assert await told.link.redis.xlen(Keys(told.tenant).facts) == 0
    assert await told.rows("statements") == 3


async def test_facts_that_were_sent_before_a_crash_are_there_once(told: Told) -> None:
    await told.facts.record(told.tenant, [statement(n) for n in range(3)])
    entries = await told.link.redis.xrange(Keys(told.tenant).facts)
    await told.write()
    stream = Keys(told.tenant).facts
    await told.link.redis.delete(stream)
    for entry_id, fields in entries:
        await told.link.redis.xadd(stream, fields, id=entry_id)
    await told.rewind(facts_block=entries[-1][0].decode())
    await told.facts.record(told.tenant, [statement(9)])
    await told.write()
    await told.write()
    assert await told.rows("statements") == await told.rows("statements", "uniqExact(id)") == 4


async def test_of_a_statement_the_last_word_counts_before_merges(told: Told) -> None:
    await told.facts.record(told.tenant, [statement(1, version=1)])
    await told.write()
    await told.facts.record(told.tenant, [statement(1, version=2)])
    await told.write()
    rows = await told.store.query(
        f"SELECT result FROM statements FINAL WHERE tenant = '{told.tenant}'"
    )
    assert [tuple(row) for row in rows] == [("done",)]


async def test_access_is_told_again_only_when_it_is_another(told: Told) -> None:
    access = Access(
        id="1",
        target="main",
        user="ana",
        resource="u1",
        seq=1,
        state="active",
        roles=("analyst",),
        explained=("analyst",),
        at_ms=1,
    )
    assert await told.facts.told(told.tenant, "main", ["ana", "bo"]) == {}
    await told.facts.record(told.tenant, [access])
    assert await told.facts.told(told.tenant, "main", ["ana", "bo"]) == {"ana": access.digest}


async def test_a_directory_from_before_its_ledger_is_told_to_it(told: Told) -> None:
    silent = Directory(told.link, told.tenant, ["main"])
    ana = (await silent.create("user", {"userName": "ana"}, ORIGIN)).id
    group = (await silent.create("group", {"displayName": "G"}, ORIGIN, members=[ana])).id
    await told.write()
    await told.write()
    stated = {e.resource_id: e for e in await told.events() if e.op == "stated"}
    assert stated.keys() == {ana, group}
    assert (stated[ana].version, stated[ana].ordered) == (1, 1)
    assert (stated[group].added, stated[group].scores) == ((ana,), (2,))
    assert (await told.progress()).stated_ms
    bo = await told.user("bo")
    await told.write()
    assert [e.resource_id for e in await told.events()][-1] == bo  # nothing was told twice


async def test_a_directory_that_had_a_ledger_from_the_start_is_not_told_again(told: Told) -> None:
    await told.user("ana")
    await told.write()
    assert [e.op for e in await told.events()] == ["created"]
    assert (await told.progress()).stated_ms


async def test_events_without_a_ledger_in_between_make_everything_be_told_again(told: Told) -> None:
    ana = await told.user("ana")
    await told.write()
    silent = Directory(told.link, told.tenant, ["main"])
    bo = (await silent.create("user", {"userName": "bo"}, ORIGIN)).id
    await told.write()
    stated = {e.resource_id for e in await told.events() if e.op == "stated"}
    assert stated == {ana, bo}


async def test_a_ledger_that_is_down_delays_nobody_and_catches_up(
    own_redis: RedisServer, own_clickhouse: ClickHouseServer
) -> None:
    url = f"clickhouse://default@127.0.0.1:{own_clickhouse.port}/ledger"
    ledger = LedgerSettings(url=url, max_backlog=1000)
    await migrate(ledger)
    own_clickhouse.stop()
    link, store = connect(own_redis.url), Store(ledger)
    told = Told("acme", link, settings_of(own_redis.url, ledger, "acme"), store)
    try:
        for number in range(20):
            await told.user(f"u{number}")
        action = AdminAction(id="", action="a", actor="b", subject="c", detail="{}", at_ms=1)
        await Facts(link, ledger).record("acme", [action] * 1004)
        await told.write()
        status = await LaneStore(link, "acme", LEDGER).status()
        assert status.state == "backing-off"
        assert status.last_error is not None
        assert await link.redis.xlen(Keys("acme").facts) == 1000
        own_clickhouse.start()
        await told.rewind(next=None)
        await told.write()
        assert [e.seq for e in await told.events()] == list(range(1, 21))
        detail = await told.rows("admin_actions", "anyIf(detail, action = 'facts.missed')")
        assert json.loads(detail) == {"count": 4}
    finally:
        await store.close()
        await link.close()
