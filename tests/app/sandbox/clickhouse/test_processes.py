"""What a server tells of queries: those that run, those that ran, and how many may run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest

from app.sandbox.clickhouse.processes import Process, show_processes
from app.sandbox.clickhouse.secrets import hide_secrets

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer, Sql
    from tests.conftest import ClickHouseServer

SLOW = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

ONE = {7: Process(query_id="it's", sql="SELECT 1", user="u", address="127.0.0.1", interface="TCP")}
LEFT_ALONE = [
    "SELECT 1",
    "SELECT 'system.processes'",
    "SELECT * FROM processes",
    "SELECT * FROM system.processes_x",
    "SELECT * FROM other.processes",
    "SHOW CREATE TABLE system.processes",
    "DESCRIBE TABLE system.processes",
    "GRANT SELECT ON system.processes TO u",
]


@pytest.mark.parametrize("sql", LEFT_ALONE)
def test_a_statement_that_reads_no_processes_is_left_alone(sql: str) -> None:
    assert show_processes(sql, ONE) == sql


READS = {
    "SELECT * FROM system.processes": "AS processes",
    "SELECT query_id FROM system.processes p WHERE p.user = 'u'": "p WHERE p.user",
    'SELECT `query_id` FROM `system`."processes" AS p': "AS p",
    "SELECT query FROM a JOIN system.processes USING user": "AS processes USING user",
    "SELECT COLUMNS('q') FROM system.processes LIMIT 1": "AS processes LIMIT 1",
}


@pytest.mark.parametrize(("sql", "rest"), READS.items(), ids=READS.keys())
def test_the_table_keeps_its_alias_or_its_name(sql: str, rest: str) -> None:
    shown = show_processes(sql, ONE)
    assert "it\\'s" in shown
    assert shown.partition("WHERE nth > 0) ")[2].startswith(rest)


def test_who_asks_for_nothing_that_clients_know_better_pays_for_nothing_of_it() -> None:
    shown = show_processes("SELECT user, elapsed FROM system.processes WHERE user = 'u'", ONE)
    assert "it\\'s" not in shown
    assert "hasAny(thread_ids, CAST([7], " in shown


SECRETS = {
    "CREATE USER u IDENTIFIED BY 'x' HOST NAME 'h'": "CREATE USER u IDENTIFIED BY '[HIDDEN]' "
    "HOST NAME 'h'",
    "ALTER USER u IDENTIFIED WITH sha256_hash BY 'x' SALT 'y'": "ALTER USER u IDENTIFIED WITH "
    "sha256_hash BY '[HIDDEN]' SALT '[HIDDEN]'",
    "CREATE NAMED COLLECTION c AS k = 'x'": "CREATE NAMED COLLECTION c AS k = '[HIDDEN]'",
    "SELECT 'x' ORDER BY 'y'": "SELECT 'x' ORDER BY 'y'",
}


@pytest.mark.parametrize(("sql", "shown"), SECRETS.items(), ids=SECRETS.keys())
def test_secrets_are_hidden(sql: str, shown: str) -> None:
    assert hide_secrets(sql) == shown


async def until_running(sql: Sql, query_id: str, eventually: Eventually) -> None:
    async def runs() -> bool:
        return await sql(f"SELECT count() FROM system.processes WHERE query_id = '{query_id}'") == [
            (1,)
        ]

    await eventually(runs)


async def test_processes_have_the_clients_ids_and_nobody_elses(
    sql: Sql, eventually: Eventually
) -> None:
    await sql("CREATE USER OR REPLACE proc_user")
    slow = asyncio.create_task(sql.code(SLOW, user="proc_user", query_id="proc-slow"))
    await until_running(sql, "proc-slow", eventually)
    ask = (
        "SELECT query_id, initial_query_id, user, toString(address), toString(interface), query "
        "FROM system.processes AS p WHERE p.user IN ('proc_user', 'default') ORDER BY user"
    )
    own, theirs = await sql(ask, query_id="proc-own")
    client = "::ffff:127.0.0.1"
    assert own == ("proc-own", "proc-own", "default", client, "TCP", ask)
    assert theirs == ("proc-slow", "proc-slow", "proc_user", client, "TCP", SLOW)
    shown = await sql("SHOW PROCESSLIST")
    assert len(shown) == 2
    await sql("KILL QUERY WHERE query_id = 'proc-slow' SYNC")
    assert await slow == 394


async def test_processes_take_the_right_to_read_them(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE proc_blind")
    assert await sql.code("SELECT * FROM system.processes", user="proc_blind") == 497
    await sql("GRANT SELECT ON system.processes TO proc_blind")
    assert await sql("SELECT user FROM system.processes", user="proc_blind") == [("proc_blind",)]


async def test_the_log_tells_how_each_query_went(sql: Sql) -> None:
    comment = str(uuid4())
    settings = {"log_comment": comment}
    await sql("CREATE USER OR REPLACE log_user")
    await sql("SELECT 7", user="log_user", query_id="log-1", settings=settings)
    assert await sql.code("SELECT nonsense", user="log_user", settings=settings) == 47
    brief: dict[str, Any] = settings | {"max_execution_time": 1}
    assert await sql.code(SLOW, user="log_user", settings=brief) == 159
    await sql("CREATE USER OR REPLACE log_secret IDENTIFIED BY 'hush'", settings=settings)
    await sql("SYSTEM FLUSH LOGS")
    rows = await sql(
        "SELECT toString(type), user, exception_code, query FROM system.query_log "
        f"WHERE log_comment = '{comment}' ORDER BY event_time_microseconds, type"
    )
    assert [row[:3] for row in rows] == [
        ("QueryStart", "log_user", 0),
        ("QueryFinish", "log_user", 0),
        ("ExceptionBeforeStart", "log_user", 47),
        ("QueryStart", "log_user", 0),
        ("ExceptionWhileProcessing", "log_user", 159),
        ("QueryStart", "default", 0),
        ("QueryFinish", "default", 0),
    ]
    assert rows[0][3] == "SELECT 7"
    assert rows[-1][3] == "CREATE USER OR REPLACE log_secret IDENTIFIED BY '[HIDDEN]'"
    ((duration, query_id),) = await sql(
        f"SELECT query_duration_ms, query_id != '' FROM system.query_log "
        f"WHERE log_comment = '{comment}' AND exception_code = 159"
    )
    assert duration >= 1000
    assert query_id
    found = await sql(
        "SELECT current_database, initial_user FROM system.query_log "
        f"WHERE query_id = 'log-1' AND type = 'QueryFinish' AND log_comment = '{comment}'"
    )
    assert found == [("default", "log_user")]


async def test_the_log_is_written_without_being_asked(
    own_server: OwnServer, eventually: Eventually
) -> None:
    sql = own_server.start()
    await sql("SELECT 7", query_id="unasked")

    async def written() -> bool:
        asked = "SELECT count() FROM system.query_log WHERE query_id = 'unasked'"
        return await sql.code(asked) is None and await sql(asked) == [(2,)]

    await eventually(written)


async def test_queries_over_http_are_told_as_such(
    sql: Sql, clickhouse: ClickHouseServer, eventually: Eventually
) -> None:
    url = f"http://127.0.0.1:{clickhouse.http_port}/"
    async with aiohttp.ClientSession() as http:
        request = asyncio.create_task(http.post(url, params={"query_id": "by-http"}, data=SLOW))
        await until_running(sql, "by-http", eventually)
        rows = await sql(
            "SELECT toString(interface), query FROM system.processes WHERE query_id = 'by-http'"
        )
        assert rows == [("HTTP", SLOW)]
        await sql("KILL QUERY WHERE query_id = 'by-http' SYNC")
        (await request).close()


async def test_no_more_queries_run_than_the_server_allows(
    own_server: OwnServer, eventually: Eventually
) -> None:
    sql = own_server.start("--max-concurrent-queries", "2")
    slow = asyncio.create_task(sql.code(SLOW, query_id="first"))
    await until_running(sql, "first", eventually)

    async def insist() -> None:
        while await sql.code(SLOW) == 202:  # the one below was in its place
            pass

    second = asyncio.create_task(insist())

    async def full() -> bool:
        return await sql.code("SELECT 1") == 202

    await eventually(full)
    for task in (slow, second):
        task.cancel()
    await asyncio.gather(slow, second, return_exceptions=True)

    async def free_again() -> bool:
        return await sql.code("SELECT 1") is None

    await eventually(free_again)


async def test_no_more_queries_run_than_the_user_may_have(sql: Sql, eventually: Eventually) -> None:
    await sql("CREATE USER OR REPLACE conc_user SETTINGS max_concurrent_queries_for_user = 1")
    slow = asyncio.create_task(sql.code(SLOW, user="conc_user", query_id="conc"))
    await until_running(sql, "conc", eventually)
    assert await sql.code("SELECT 1", user="conc_user") == 202
    assert await sql.code("SELECT 1") is None
    await sql("KILL QUERY WHERE user = 'conc_user' SYNC")
    assert await slow == 394


async def test_the_limit_of_a_user_does_not_count_what_others_run(
    sql: Sql, eventually: Eventually
) -> None:
    await sql("CREATE USER OR REPLACE conc_alone SETTINGS max_concurrent_queries_for_user = 1")
    slow = asyncio.create_task(sql.code(SLOW, query_id="of others"))
    await until_running(sql, "of others", eventually)
    try:
        assert await sql.code("SELECT 1", user="conc_alone") is None
    finally:
        await sql("KILL QUERY WHERE query_id = 'of others' SYNC")
        await slow
