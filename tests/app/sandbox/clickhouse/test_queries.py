"""Statements and data as an unchanged client sends and reads them."""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import Sql

COMPRESSIONS = [False, "lz4", "lz4hc", "zstd"]
AT = dt.datetime(2026, 5, 4, 3, 2, 1, 123000, dt.UTC)
TYPES: dict[str, list[Any]] = {
    "Int8": [-128, 0, 127],
    "UInt64": [0, 2**64 - 1],
    "Int128": [-(2**127), 2**127 - 1],
    "UInt256": [0, 2**256 - 1],
    "Float64": [0.0, -1.5],
    "Bool": [True, False],
    "String": ["", "it's `quoted`\\\n", "é" * 100, "x" * 70_000],
    "FixedString(3)": ["abc", "xyz"],
    "UUID": [UUID(int=0), UUID("a1b2c3d4-0000-1111-2222-333344445555")],
    "Date": [dt.date(1970, 1, 1), dt.date(2100, 1, 1)],
    "DateTime": [AT.replace(microsecond=0, tzinfo=None)],
    "DateTime64(3, 'UTC')": [AT],
    "Decimal(9, 2)": [Decimal("1.25"), Decimal("-1.25")],
    "Decimal(38, 4)": [Decimal("1234567890.1234")],
    "Enum8('it''s, (a)' = 1, 'b' = 2)": ["it's, (a)", "b"],
    "Enum16('a' = 1, 'b' = 1000)": ["a", "b"],
    "IPv4": [IPv4Address("127.0.0.1")],
    "IPv6": [IPv6Address("::1")],
    "LowCardinality(String)": ["a", "b", "a", ""],
    "LowCardinality(Nullable(String))": ["a", None, "a"],
    "Array(LowCardinality(String))": [["a", "a"], [], ["b"]],
    "Nullable(Int32)": [None, 5],
    "Nullable(String)": [None, "", "x"],
    "Array(String)": [[], ["a", "b"]],
    "Array(Array(Nullable(Int16)))": [[[], [1, None]], []],
    "Array(Nullable(UUID))": [[None, UUID(int=7)], []],
    "Map(String, UInt8)": [{}, {"a": 1, "b": 2}],
    "Map(LowCardinality(String), Array(String))": [{"a": ["x"]}, {}],
    "Tuple(Int8, String)": [(1, "a")],
    "Tuple(number Int8, `a text` Array(String))": [(1, ["a"])],
    "SimpleAggregateFunction(max, UInt32)": [4],
}


@pytest.mark.parametrize("compression", [False, "lz4"])
@pytest.mark.parametrize(("kind", "values"), TYPES.items(), ids=TYPES.keys())
async def test_a_column_of_each_type_comes_back_as_it_was_sent(
    sql: Sql, kind: str, values: list[Any], compression: str | bool
) -> None:
    rows = [(i, value) for i, value in enumerate(values)]
    async with sql.connect(compression=compression) as session:
        await sql.on(session, "DROP TABLE IF EXISTS kinds")
        await sql.on(
            session, f"CREATE TABLE kinds (i UInt8, v {kind}) ENGINE = MergeTree ORDER BY i"
        )
        await sql.on(session, "INSERT INTO kinds (i, v) VALUES", rows)
        assert await sql.on(session, "SELECT i, v FROM kinds ORDER BY i") == rows


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_large_results_and_inserts_are_taken_block_by_block(
    sql: Sql, compression: str | bool
) -> None:
    rows = [(i, str(i) * (i % 20)) for i in range(150_000)]
    async with sql.connect(
        compression=compression, settings={"insert_block_size": 40_000}
    ) as session:
        await sql.on(session, "DROP TABLE IF EXISTS large")
        await sql.on(
            session, "CREATE TABLE large (a UInt32, b String) ENGINE = MergeTree ORDER BY a"
        )
        await sql.on(session, "INSERT INTO large VALUES", rows)
        assert await sql.on(session, "SELECT a, b FROM large ORDER BY a") == rows


EMPTY = {
    "select": ("SELECT 1 AS a, 'x' AS b WHERE 0", [("a", "UInt8"), ("b", "String")]),
    "with": ("WITH 1 AS x SELECT x WHERE 0", [("x", "UInt8")]),
    "comment at the end": ("SELECT 1 AS a WHERE 0 -- all", [("a", "UInt8")]),
    "show": ("SHOW TABLES FROM nothing_here", [("name", "String")]),
}


@pytest.mark.parametrize(("text", "columns"), EMPTY.values(), ids=EMPTY.keys())
async def test_a_result_without_rows_has_its_columns(
    sql: Sql, text: str, columns: list[tuple[str, str]]
) -> None:
    await sql("CREATE DATABASE IF NOT EXISTS nothing_here")
    async with sql.connect() as session, session.cursor() as cursor:
        await cursor.execute(text)
        assert await cursor.fetchall() == []
        assert [(column[0], column[1]) for column in cursor.description or ()] == columns


SHOWN = {
    "SELECT 1 FORMAT TSV": [(1,)],
    "SELECT 1 FORMAT Null SETTINGS max_threads = 1": [(1,)],
    "(SELECT 1) UNION ALL (SELECT 1);": [(1,), (1,)],
    "SELECT 'FORMAT' AS format, 1": [("FORMAT", 1)],
    "EXISTS TABLE system.one": [(1,)],
    "SHOW CREATE USER default": [
        ("CREATE USER default IDENTIFIED WITH plaintext_password SETTINGS PROFILE `default`",)
    ],
    "EXECUTE AS default SELECT currentUser()": [("default",)],
    "CHECK GRANT SELECT ON *.*": [(1,)],
    "SELECT initial_user = user FROM system.processes WHERE query LIKE '%processes%'": [(1,)],
}


@pytest.mark.parametrize(("text", "rows"), SHOWN.items(), ids=SHOWN.keys())
async def test_statements_have_their_rows(sql: Sql, text: str, rows: list[Any]) -> None:
    assert await sql(text) == rows


async def test_a_long_list_is_one_result(sql: Sql) -> None:
    """More rows than fit in one block, from a statement that the engine cannot stream."""
    await sql(f"CREATE ROLE IF NOT EXISTS {', '.join(f'long_{i:05}' for i in range(3000))}")
    try:
        names = [name for (name,) in await sql("SHOW ROLES") if name.startswith("long_")]
    finally:
        await sql(f"DROP ROLE {', '.join(f'long_{i:05}' for i in range(3000))}")
    assert names == [f"long_{i:05}" for i in range(3000)]


ERRORS = {
    "SELEC 1": 62,
    "SELECT 1; SELECT 2": 62,
    "": 62,
    " -- nothing\n": 62,
    "CREATE USER twice; DROP USER twice": 62,
    "SELECT " + "1," * 140_000 + "1": 62,
    "SELECT * FROM missing_table": 60,
    "SELECT * FROM missing_database.t": 81,
    "SELECT throwIf(number = 100000) FROM numbers(1000000)": 395,
    "CREATE USER u1 IDENTIFIED WITH nonsense BY 'x'": 62,
    "CREATE USER u1 HOST IP 'nonsense'": 1000,
    "CREATE USER u1 IDENTIFIED WITH sha256_hash BY 'abc'": 36,
    "ALTER USER missing_user HOST NONE": 192,
    "GRANT missing_role TO default2": 511,
    "KILL QUERY WHERE nonsense = 1": 47,
    "USE missing_database": 81,
    "SELECT 1 INTO OUTFILE '/tmp/never'": 48,
    "INSERT INTO inserts FROM INFILE '/etc/passwd' FORMAT TSV": 78,
}


@pytest.mark.parametrize(("text", "code"), ERRORS.items(), ids=[text[:40] for text in ERRORS])
async def test_errors_carry_the_servers_code(sql: Sql, text: str, code: int) -> None:
    async with sql.connect() as session:
        with pytest.raises(Exception, match=f"Code: {code}\\.\n(DB|Poco)::") as refused:
            await sql.on(session, text)
        assert str(refused.value).count("Code: ") == (1 if code != 1000 else 2)
        assert await sql.on(session, "SELECT 1") == [(1,)]  # and the connection goes on


INSERTS = {
    "a missing table": ("INSERT INTO missing_table VALUES", [(1, "a")], 60),
    "a missing column": ("INSERT INTO inserts (a, zz) VALUES", [(1, "a")], 16),
    "no right": ("INSERT INTO inserts VALUES", [(1, "a")], 497),
}


@pytest.mark.parametrize(("text", "rows", "code"), INSERTS.values(), ids=INSERTS.keys())
async def test_an_insert_is_refused_before_its_data(
    sql: Sql, text: str, rows: list[Any], code: int
) -> None:
    await sql("CREATE TABLE IF NOT EXISTS inserts (a UInt8, b String) ENGINE = Memory")
    await sql("CREATE USER IF NOT EXISTS inserter")
    who = "inserter" if code == 497 else "default"
    async with sql.connect(who) as session:
        with pytest.raises(Exception, match=f"Code: {code}"):
            await sql.on(session, text, rows)
        assert await sql.on(session, "SELECT 1") == [(1,)]


async def test_an_insert_that_fails_in_the_middle_says_so(sql: Sql) -> None:
    columns = "a UInt8, CONSTRAINT small CHECK a < 10"
    await sql(f"CREATE TABLE IF NOT EXISTS checked ({columns}) ENGINE = Memory")
    assert await sql.code("INSERT INTO checked VALUES", rows=[(1,), (50,)]) == 469
    assert await sql("SELECT count() FROM checked") == [(0,)]


FORMS = [
    "INSERT INTO forms VALUES",
    "INSERT INTO forms (a, b) VALUES",
    "insert into table forms (`a`, b) format Native",
    "INSERT INTO default.forms (* EXCEPT made) VALUES",
    "INSERT INTO `default`.`forms` (a, b) SETTINGS async_insert = 0 VALUES",
]


@pytest.mark.parametrize("text", FORMS)
async def test_inserts_in_every_form_take_the_clients_rows(sql: Sql, text: str) -> None:
    await sql("DROP TABLE IF EXISTS forms")
    await sql(
        "CREATE TABLE forms (a UInt8, b String, made UInt8 MATERIALIZED a + 1, al ALIAS a)"
        " ENGINE = Memory"
    )
    await sql(text, [(1, "x"), (2, "y")])
    assert await sql("SELECT a, b, made FROM forms ORDER BY a") == [(1, "x", 2), (2, "y", 3)]


async def test_a_right_to_insert_into_some_columns_is_enough_for_those(sql: Sql) -> None:
    """It does not cover DESCRIBE of the table, which the types are asked with."""
    await sql("CREATE OR REPLACE TABLE partly (a UInt8, b UInt8 DEFAULT 7) ENGINE = Memory")
    await sql("CREATE USER OR REPLACE partial IDENTIFIED BY 'p'")
    await sql("GRANT INSERT(a) ON default.partly TO partial")
    await sql("INSERT INTO partly (a) VALUES", [(1,)], user="partial", password="p")
    assert await sql("SELECT * FROM partly") == [(1, 7)]
    for text in ("INSERT INTO partly (a, b) VALUES", "INSERT INTO partly VALUES"):
        assert await sql.code(text, rows=[(1, 2)], user="partial", password="p") == 497


async def test_a_user_inserts_as_itself(sql: Sql) -> None:
    await sql("CREATE TABLE IF NOT EXISTS ledger (who String, at UInt8) ENGINE = Memory")
    await sql("CREATE USER OR REPLACE writer IDENTIFIED BY 'p'")
    await sql("GRANT INSERT ON default.ledger TO writer")
    await sql("INSERT INTO ledger (who, at) VALUES", [("w", 1)], user="writer", password="p")
    assert await sql.code("SELECT * FROM ledger", user="writer", password="p") == 497
    assert await sql("SELECT who FROM ledger") == [("w",)]


async def test_names_of_any_kind_arrive_literally(sql: Sql) -> None:
    name = "a'b`c\\d\n\"é🙂; DROP USER x --"
    quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
    await sql(f"CREATE USER OR REPLACE {quoted} IDENTIFIED BY 'p'")
    assert await sql("SELECT currentUser()", user=name, password="p") == [(name,)]
    await sql(f"DROP USER {quoted}")


async def test_a_stranger_to_the_protocol_is_let_go(sql: Sql) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sql.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    assert await sql("SELECT 1") == [(1,)]


async def test_a_greeting_that_promises_gigabytes_is_let_go(sql: Sql) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sql.port)
    writer.write(b"\x00" + b"\xff\xff\xff\xff\x7f" + struct.pack("<Q", 0))
    assert await reader.read() == b""
    writer.close()


QUOTA = "SELECT queries, query_selects, query_inserts FROM system.quotas_usage WHERE quota_name = "
COUNTED = {  # a statement, and what a quota counts of it
    "select": ("SELECT a FROM quota_table", (1, 1, 0)),
    "nothing found": ("SELECT a FROM quota_table WHERE a = 99", (1, 1, 0)),
    "insert of rows": ("INSERT INTO quota_table VALUES", (1, 0, 1)),
    "show nothing": ("SHOW TABLES LIKE 'no such table'", (1, 1, 0)),
}


@pytest.mark.parametrize(("text", "counted"), COUNTED.values(), ids=COUNTED.keys())
async def test_a_quota_counts_what_the_client_sent_and_nothing_else(
    sql: Sql, text: str, counted: tuple[int, int, int]
) -> None:
    await sql("CREATE TABLE IF NOT EXISTS quota_table (a Int8) ENGINE = Memory")
    await sql("CREATE USER OR REPLACE quota_user SETTINGS max_threads = 2")
    await sql("GRANT SELECT, INSERT ON default.quota_table TO quota_user")
    limits = "MAX queries = 9, query_selects = 9, query_inserts = 9"
    await sql(f"CREATE QUOTA OR REPLACE q_count FOR INTERVAL 10 YEAR {limits} TO quota_user")
    rows = [(1,), (2,)] if text.startswith("INSERT") else None
    await sql(text, rows, user="quota_user")
    assert await sql(f"{QUOTA} 'q_count'") == [counted]
    await sql("DROP QUOTA q_count")


async def test_roles_take_the_profiles_of_users_xml(sql: Sql) -> None:
    await sql("CREATE ROLE OR REPLACE prof_role SETTINGS PROFILE 'readonly', PROFILE default")
    await sql("CREATE USER OR REPLACE prof_user")
    await sql("GRANT prof_role TO prof_user")
    assert await sql.code("CREATE TABLE prof_table (a Int8) ENGINE = Memory", user="prof_user") in {
        164,
        497,
    }
    assert await sql("SELECT getSetting('readonly')", user="prof_user") == [(1,)]
    assert await sql.code("ALTER SETTINGS PROFILE readonly SETTINGS max_threads = 1") == 495
