"""What a session may do, and what becomes of it when its user changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from asynch.errors import ServerException

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import Sql

SLOW = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def user(sql: Sql, name: str, *statements: str) -> dict[str, Any]:
    await sql(f"CREATE USER OR REPLACE {name} IDENTIFIED WITH plaintext_password BY 'p'")
    for statement in statements:
        await sql(statement)
    return {"user": name, "password": "p"}


async def test_rights_are_the_engines(sql: Sql) -> None:
    await sql("CREATE TABLE IF NOT EXISTS rights (a Int32, b Int32) ENGINE = Memory")
    who = await user(sql, "rights", "GRANT SELECT(a) ON default.rights TO rights")
    assert await sql("SELECT a FROM rights", **who) == []
    assert await sql.code("SELECT b FROM rights", **who) == 497
    assert await sql.code("CREATE USER other", **who) == 497
    assert await sql.code("EXECUTE AS default SELECT 1", **who) == 497


async def test_a_provisioner_does_what_it_was_granted_and_no_more(sql: Sql) -> None:
    await sql("CREATE ROLE IF NOT EXISTS prov_role")
    await sql("DROP USER IF EXISTS acme_1, acme_2, other_1")
    who = await user(
        sql,
        "prov",
        "GRANT CREATE USER, ALTER USER, DROP USER ON acme_* TO prov",
        "GRANT ROLE ADMIN ON *.* TO prov",
    )
    assert await sql.code("CREATE USER acme_1, acme_2 IDENTIFIED BY 'x'", **who) is None
    assert await sql.code("GRANT prov_role TO acme_1", **who) is None
    assert await sql.code("CREATE USER acme_3, other_1", **who) == 497
    assert await sql.code("ALTER USER rights HOST NONE", **who) == 497
    assert await sql.code("CREATE ROLE r3", **who) == 497
    assert await sql.code("DROP USER acme_2", **who) is None
    names = await sql("SELECT name FROM system.users WHERE match(name, 'acme|other') ORDER BY 1")
    assert names == [("acme_1",)]
    assert await sql.code("SELECT 1", user="acme_1", password="x") is None


async def test_a_revoked_role_is_gone_at_once_and_a_granted_one_comes_with_a_new_session(
    sql: Sql,
) -> None:
    await sql("CREATE TABLE IF NOT EXISTS secret (a Int32) ENGINE = Memory")
    await sql("CREATE ROLE OR REPLACE sees")
    await sql("GRANT SELECT ON default.secret TO sees")
    who = await user(sql, "viewer", "GRANT sees TO viewer")
    async with sql.connect(**who) as session:
        assert await sql.on(session, "SELECT * FROM secret") == []
        await sql("REVOKE sees FROM viewer")
        with pytest.raises(ServerException, match="497"):
            await sql.on(session, "SELECT * FROM secret")
        await sql("CREATE ROLE OR REPLACE sees_too")
        await sql("GRANT SELECT ON default.secret TO sees_too")
        await sql("GRANT sees_too TO viewer")
        with pytest.raises(ServerException, match="497"):
            await sql.on(session, "SELECT * FROM secret")
        assert await sql.code("SELECT * FROM secret", **who) is None


@pytest.mark.parametrize("change", ["DROP USER gone", "CREATE USER OR REPLACE gone"])
async def test_a_dropped_users_session_can_do_nothing(sql: Sql, change: str) -> None:
    who = await user(sql, "gone")
    async with sql.connect(**who) as session:
        await sql.on(session, "SELECT 1")
        await sql(change)
        with pytest.raises(ServerException) as refused:
            await sql.on(session, "SELECT 1")
        assert refused.value.code in {192, 492}


async def test_a_session_ends_at_the_deadline_that_it_knew(
    sql: Sql, eventually: Eventually
) -> None:
    who = await user(sql, "brief")
    ((deadline,),) = await sql("SELECT toString(now() + 2)")
    await sql(f"ALTER USER brief VALID UNTIL '{deadline}'")
    async with sql.connect(**who) as session:
        assert await sql.on(session, "SELECT 1") == [(1,)]

        async def refused() -> bool:
            try:
                await sql.on(session, "SELECT 1")
            except ServerException:
                return True
            return False

        await eventually(refused)
        with pytest.raises(ServerException, match="720"):
            await sql.on(session, "SELECT 1")


@pytest.mark.parametrize(
    "change",
    ["VALID UNTIL '2020-01-01'", "HOST NONE", "IDENTIFIED BY 'other'"],
)
async def test_a_closed_door_does_not_end_an_open_session(sql: Sql, change: str) -> None:
    who = await user(sql, "inside")
    async with sql.connect(**who) as session:
        await sql.on(session, "SELECT 1")
        await sql(f"ALTER USER inside {change}")
        assert await sql.on(session, "SELECT 1") == [(1,)]
    assert await sql.code("SELECT 1", **who) == 516


KILLS = {
    "user": "KILL QUERY WHERE user = 'busy' SYNC",
    "users": "KILL QUERY WHERE user IN ('busy', 'other') ASYNC",
    "query id": "KILL QUERY WHERE query_id = 'the-slow-one' SYNC",
    "both": "KILL QUERY WHERE `query_id` LIKE 'the-%' AND user = 'busy' SYNC",
}


async def is_running(sql: Sql, name: str) -> bool:
    return await sql(f"SELECT count() FROM system.processes WHERE user = '{name}'") == [(1,)]


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS.keys())
async def test_kill_query_ends_what_runs_with_394(
    sql: Sql, kill: str, eventually: Eventually
) -> None:
    who = await user(sql, "busy")
    slow = asyncio.create_task(sql.code(SLOW, query_id="the-slow-one", **who))
    await eventually(lambda: is_running(sql, "busy"))
    ((status, query_id, name, text),) = await sql(kill)
    assert status in {"finished", "waiting"}
    assert (query_id, name, text) == ("the-slow-one", "busy", SLOW)
    assert await slow == 394


async def test_a_kill_that_finds_nothing_has_no_rows(sql: Sql) -> None:
    assert await sql("KILL QUERY WHERE user = 'nobody' SYNC") == []


async def test_kill_query_takes_its_right_and_that_to_see_processes(
    sql: Sql, eventually: Eventually
) -> None:
    who = await user(sql, "busy2")
    killer = await user(sql, "killer", "GRANT KILL QUERY ON *.* TO killer")
    assert await sql.code("KILL QUERY WHERE user = 'busy2'", **killer) == 497
    await sql("GRANT SELECT ON system.processes TO killer")
    slow = asyncio.create_task(sql.code(SLOW, **who))
    await eventually(lambda: is_running(sql, "busy2"))
    assert len(await sql("KILL QUERY WHERE user = 'busy2' SYNC", **killer)) == 1
    assert await slow == 394


async def test_a_cancelled_query_stops_and_its_connection_goes_on(
    sql: Sql, eventually: Eventually
) -> None:
    who = await user(sql, "canceller")
    async with sql.connect(**who) as session, session.cursor() as cursor:
        slow = asyncio.create_task(cursor.execute(SLOW))
        await eventually(lambda: is_running(sql, "canceller"))
        await session.cancel()
        await slow
        await cursor.execute("SELECT 5")
        assert await cursor.fetchall() == [(5,)]
    assert not await is_running(sql, "canceller")


async def test_a_query_whose_client_is_gone_is_stopped(sql: Sql, eventually: Eventually) -> None:
    who = await user(sql, "leaver")
    session = sql.connect(**who)
    await session.connect()
    slow = asyncio.create_task(sql.on(session, SLOW))
    await eventually(lambda: is_running(sql, "leaver"))
    session._connection.writer.writer.transport.abort()  # type: ignore[attr-defined]
    with pytest.raises(Exception, match=r"closed|reset|Failed"):
        await slow

    async def stopped() -> bool:
        return not await is_running(sql, "leaver")

    await eventually(stopped)


async def test_settings_of_a_query_hold_for_that_query(sql: Sql) -> None:
    ask = "SELECT getSetting('log_comment'), getSetting('max_threads')"
    async with sql.connect() as session:
        ((_, before),) = await sql.on(session, ask)
        wanted = {"log_comment": "it's", "max_threads": 7}
        assert await sql.on(session, ask, settings=wanted) == [("it's", 7)]
        assert await sql.on(session, ask, settings={"log_comment": "b"}) == [("b", before)]
        assert await sql.on(session, ask) == [("", before)]


async def test_settings_of_a_query_give_way_to_those_of_the_session(sql: Sql) -> None:
    """`SET` lasts as long as the connection; a server copies it into each query."""
    async with sql.connect() as session:
        await sql.on(session, "SET max_threads = 3")
        assert await sql.on(
            session, "SELECT getSetting('max_threads')", settings={"max_threads": 9}
        ) == [(9,)]
        assert await sql.on(session, "SELECT getSetting('max_threads')") == [(3,)]


async def test_a_query_that_is_read_only_does_not_make_its_session_so(sql: Sql) -> None:
    async with sql.connect() as session:
        assert await sql.on(session, "SELECT 1", settings={"readonly": 1}) == [(1,)]
        await sql.on(session, "CREATE TABLE IF NOT EXISTS after_readonly (a Int8) ENGINE = Memory")


SETTINGS = {
    "unknown is passed over": ({"no_such_setting": 1}, {}, None),
    "unknown and important": ({"no_such_setting": 1}, {"settings_is_important": True}, 115),
    "time-out": ({"max_execution_time": 1}, {}, 159),
    "text too long": ({"max_query_size": 20}, {}, 62),
}


@pytest.mark.parametrize(("settings", "options", "code"), SETTINGS.values(), ids=SETTINGS.keys())
async def test_settings_have_their_effect(
    sql: Sql, settings: dict[str, int], options: dict[str, bool], code: int | None
) -> None:
    text = SLOW if code in {159, 62} else "SELECT 1"
    assert await sql.code(text, settings=settings, **options) == code


async def test_a_user_starts_with_the_settings_of_profiles_roles_and_its_own(sql: Sql) -> None:
    await sql("CREATE SETTINGS PROFILE OR REPLACE calm SETTINGS max_threads = 2 MIN 1 MAX 4")
    await sql("CREATE ROLE OR REPLACE limited SETTINGS PROFILE calm, max_rows_to_read = 1000")
    who = await user(
        sql,
        "limited_user",
        "ALTER USER limited_user SETTINGS max_bytes_to_read = 777 CONST",
        "GRANT limited TO limited_user",
    )
    names = ("max_threads", "max_rows_to_read", "max_bytes_to_read")
    ask = f"SELECT {', '.join(f'getSetting({name!r})' for name in names)}"
    assert await sql(ask, **who) == [(2, 1000, 777)]
    assert await sql.code("SELECT 1", settings={"max_threads": 4}, **who) is None
    assert await sql.code("SELECT 1", settings={"max_threads": 5}, **who) == 452
    assert await sql.code("SET max_bytes_to_read = 1", **who) == 452
    assert await sql.code("SELECT * FROM numbers(2000)", **who) == 158


@pytest.mark.parametrize("constraint", ["", "CONST"])
async def test_a_read_only_user_reads_only(sql: Sql, constraint: str) -> None:
    who = await user(
        sql,
        "reader",
        f"ALTER USER reader SETTINGS readonly = 1 {constraint}",
        "GRANT ALL ON default.* TO reader",
    )
    assert await sql("SELECT 1", **who) == [(1,)]
    assert await sql.code("CREATE TABLE written (a Int8) ENGINE = Memory", **who) == 164


async def test_two_hundred_sessions_at_once_are_served(sql: Sql) -> None:
    """A busy machine takes its time over so many log-ins; that they all succeed is the claim."""
    sessions = [sql.connect(connect_timeout=120) for _ in range(200)]
    try:
        await asyncio.gather(*(session.connect() for session in sessions))
        answers = await asyncio.gather(
            *(sql.on(session, f"SELECT {i}") for i, session in enumerate(sessions))
        )
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    assert answers == [[(i,)] for i in range(200)]


async def test_grants_to_the_current_user_are_the_callers(sql: Sql) -> None:
    await sql("CREATE ROLE OR REPLACE mine")
    who = await user(sql, "self_granter", "GRANT ROLE ADMIN ON *.* TO self_granter")
    await sql("GRANT mine TO CURRENT_USER", **who)
    assert await sql("SHOW GRANTS FOR self_granter") == [
        ("GRANT ROLE ADMIN ON *.* TO self_granter",),
        ("GRANT mine TO self_granter",),
    ]
