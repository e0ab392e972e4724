"""clickhouse-connect, its SQLAlchemy dialect and alembic, unchanged, over HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import clickhouse_connect
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from tests.app.sandbox.clickhouse.conftest import Sql
    from tests.conftest import ClickHouseServer

AT = dt.datetime(2026, 5, 4, 3, 2, 1, 123000, dt.UTC)
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "id": ("UUID", [UUID(int=1), UUID("a1b2c3d4-0000-1111-2222-333344445555")]),
    "at": ("DateTime64(3, 'UTC')", [AT, AT]),
    "whole": ("DateTime('UTC')", [AT.replace(microsecond=0), AT.replace(microsecond=0)]),
    "day": ("Date", [dt.date(1970, 1, 1), dt.date(2100, 1, 1)]),
    "kind": ("LowCardinality(String)", ["user", "user"]),
    "names": ("Array(String)", [["a", "é"], []]),
    "labels": ("Map(String, String)", [{"a": "b"}, {}]),
    "maybe": ("Nullable(Int64)", [None, -5]),
    "state": ("Enum8('on' = 1, 'off' = 2)", ["on", "off"]),
    "wide": ("Enum16('a' = 1, 'b' = 1000)", ["a", "b"]),
    "pair": ("Tuple(Int8, String)", [(1, "x"), (2, "y")]),
    "price": ("Decimal(18, 4)", [Decimal("1.2500"), Decimal("-1.2500")]),
    "four": ("IPv4", [IPv4Address("127.0.0.1")] * 2),
    "six": ("IPv6", [IPv6Address("::1")] * 2),
    "yes": ("Bool", [True, False]),
    "code": ("FixedString(3)", [b"abc", b"xyz"]),
    "text": ("String", ["it's `quoted`\\\n", "x" * 70_000]),
    "document": ("JSON", [{"a": {"b": 1}}, {"c": ["x"]}]),
}


def connect(server: ClickHouseServer, **options: Any) -> Client:
    # the client leaves its pool of sockets to the collector unless it has one of its own
    return clickhouse_connect.get_client(
        host=server.host, port=server.http_port, dedicated_pool=True, **options
    )


@pytest.fixture
def client(clickhouse: ClickHouseServer) -> Iterator[Client]:
    opened = connect(clickhouse)
    yield opened
    opened.close()


def test_queries_and_commands_have_their_rows(client: Client) -> None:
    assert client.ping()
    assert client.query("SELECT 1 AS a, 'x' AS b").result_rows == [(1, "x")]
    assert client.query("SELECT 1 AS a, 'x' AS b LIMIT 0").column_names == ("a", "b")
    assert client.command("SELECT currentUser()") == "default"
    assert client.query("EXISTS TABLE system.one").result_rows == [(1,)]
    asked = client.query(
        "SELECT {text:String}, {day:Date}, {list:Array(UInt8)}",
        parameters={"text": "it's\t\\n", "day": dt.date(2026, 1, 2), "list": [1, 2]},
    )
    assert asked.result_rows == [("it's\t\\n", dt.date(2026, 1, 2), [1, 2])]


def test_settings_and_sessions_are_kept(client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE only_here (a Int8)")
    client.insert("only_here", [[5]])
    ask = "SELECT a, getSetting('log_comment') FROM only_here"
    assert client.query(ask, settings={"log_comment": "c"}).result_rows == [(5, "c")]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_a_column_of_each_type_comes_back_as_it_was_inserted(
    clickhouse: ClickHouseServer, compress: str | bool
) -> None:
    client = connect(clickhouse, compress=compress, tz_mode="aware")
    try:
        described = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
        client.command(f"CREATE OR REPLACE TABLE cc ({described}) ENGINE = MergeTree ORDER BY id")
        rows = list(zip(*(values for _, values in COLUMNS.values()), strict=True))
        summary = client.insert("cc", rows, column_names=list(COLUMNS))
        assert summary.written_rows == 2
        found = client.query("SELECT * FROM cc ORDER BY id")
        assert found.column_names == tuple(COLUMNS)
        for got, sent in zip(found.result_rows, rows, strict=True):
            for name, value, wanted in zip(COLUMNS, got, sent, strict=True):
                assert value == wanted, name
    finally:
        client.close()


def test_large_results_and_inserts_are_streamed(client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE cc_large (a UInt32, b String) ENGINE = Memory")
    client.insert("cc_large", [[i, str(i)] for i in range(300_000)])
    with client.query_row_block_stream("SELECT a, b FROM cc_large ORDER BY a") as blocks:
        rows = [row for block in blocks for row in block]
    assert rows == [(i, str(i)) for i in range(300_000)]
    assert client.raw_insert("cc_large", ["a"], "1\n2\n", fmt="TSV").written_rows == 2


def test_errors_have_their_code(clickhouse: ClickHouseServer, client: Client) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT missing")
    assert (refused.value.code, refused.value.name) == (47, "UNKNOWN_IDENTIFIER")
    with pytest.raises(DatabaseError, match="Code: 60"):
        client.insert("missing_table", [[1]], column_names=["a"], column_type_names=["UInt8"])
    with pytest.raises(DatabaseError, match="516"):
        connect(clickhouse, username="default", password="wrong")


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Client) -> None:
    text = "SELECT throwIf(number = 3000000), number FROM numbers(5000000)"
    with (
        pytest.raises(StreamFailureError, match=r"Code: 395\."),
        client.query_row_block_stream(text) as blocks,
    ):
        for _ in blocks:
            pass


async def test_the_asynchronous_client_works_too(clickhouse: ClickHouseServer) -> None:
    client = await clickhouse_connect.get_async_client(
        host=clickhouse.host, port=clickhouse.http_port, autogenerate_session_id=False
    )
    try:
        answers = await asyncio.gather(*(client.query(f"SELECT {i}") for i in range(10)))
        assert [answer.result_rows for answer in answers] == [[(i,)] for i in range(10)]
    finally:
        await client.close()


def test_the_sqlalchemy_dialect_reads_and_reflects(clickhouse: ClickHouseServer) -> None:
    engine = sa.create_engine(address(clickhouse), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE OR REPLACE TABLE sa (a UInt8, b String) ENGINE=Memory"))
        connection.execute(sa.text("INSERT INTO sa (a, b) VALUES (:a, :b)"), {"a": 1, "b": "it's"})
        rows = connection.execute(sa.text("SELECT * FROM sa WHERE a = :a"), {"a": 1}).all()
        assert [tuple(row) for row in rows] == [(1, "it's")]
        assert "sa" in sa.inspect(connection).get_table_names()
        columns = sa.inspect(connection).get_columns("sa")
        assert [column["name"] for column in columns] == ["a", "b"]


ENV = """
import clickhouse_connect.cc_sqlalchemy.alembic
from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.get_main_option("sqlalchemy.url")
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=None, version_table="cc_version")
    with context.begin_transaction():
        context.run_migrations()
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import DateTime64, LowCardinality, String
from clickhouse_connect.cc_sqlalchemy.ddl.tableengine import ReplacingMergeTree

revision, down_revision = "0001", None


def upgrade():
    op.create_table(
        "cc_facts",
        sa.Column("tenant", LowCardinality(String)),
        sa.Column("at", DateTime64(3, "UTC")),
        clickhousedb_engine=ReplacingMergeTree(version="at", order_by=("tenant", "at")),
    )


def downgrade():
    op.drop_table("cc_facts")
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import UInt64

revision, down_revision = "0002", "0001"


def upgrade():
    op.add_column("cc_facts", sa.Column("seq", UInt64), if_not_exists=True)


def downgrade():
    op.drop_column("cc_facts", "seq")
"""


async def test_alembic_goes_up_and_down_and_says_where_it_is(
    clickhouse: ClickHouseServer, sql: Sql, tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "versions" / "0001_facts.py").write_text(FIRST)
    (tmp_path / "versions" / "0002_seq.py").write_text(SECOND)
    said = StringIO()
    config = Config(stdout=said)
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", address(clickhouse))

    async def columns() -> list[str]:
        rows = await sql("SELECT name FROM system.columns WHERE table = 'cc_facts' ORDER BY 1")
        return [name for (name,) in rows]

    await asyncio.to_thread(command.upgrade, config, "head")
    assert await columns() == ["at", "seq", "tenant"]
    await asyncio.to_thread(command.current, config)
    assert "0002 (head)" in said.getvalue()
    await asyncio.to_thread(command.downgrade, config, "-1")
    assert await columns() == ["at", "tenant"]
    await asyncio.to_thread(command.upgrade, config, "head")
    await asyncio.to_thread(command.downgrade, config, "base")
    assert await columns() == []
    assert await sql("SELECT count() FROM cc_version") == [(0,)]


def address(server: ClickHouseServer) -> str:
    return f"clickhousedb://default:@{server.host}:{server.http_port}/default"
