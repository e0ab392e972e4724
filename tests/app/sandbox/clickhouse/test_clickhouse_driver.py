"""clickhouse-driver, unchanged: parameters, progress, and what an older client does not ask for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer

AT = dt.datetime(2026, 5, 4, 3, 2, 1, 123000, dt.UTC)
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "id": ("UUID", [UUID(int=1), UUID("a1b2c3d4-0000-1111-2222-333344445555")]),
    "at": ("DateTime64(3, 'UTC')", [AT, AT]),
    "whole": ("DateTime", [AT.replace(microsecond=0, tzinfo=None)] * 2),
    "day": ("Date", [dt.date(1970, 1, 1), dt.date(2100, 1, 1)]),
    "kind": ("LowCardinality(Nullable(String))", ["user", None]),
    "names": ("Array(LowCardinality(String))", [["a", "é"], []]),
    "labels": ("Map(String, String)", [{"a": "b"}, {}]),
    "maybe": ("Nullable(Int64)", [None, -5]),
    "state": ("Enum8('on' = 1, 'off' = 2)", ["on", "off"]),
    "wide": ("Enum16('a' = 1, 'b' = 1000)", ["a", "b"]),
    "pair": ("Tuple(Int8, String)", [(1, "x"), (2, "y")]),
    "price": ("Decimal(18, 4)", [Decimal("1.2500"), Decimal("-1.2500")]),
    "four": ("IPv4", [IPv4Address("127.0.0.1")] * 2),
    "six": ("IPv6", [IPv6Address("::1")] * 2),
    "yes": ("Bool", [True, False]),
    "code": ("FixedString(3)", ["abc", "xyz"]),
    "text": ("String", ["it's `quoted`\\\n", "x" * 70_000]),
    "document": ("JSON", [{"a": {"b": 1}}, {"c": ["x"], "d": [{"e": 1.5}]}]),
}


@pytest.fixture(params=[False, "lz4", "lz4hc", "zstd"])
def client(clickhouse: ClickHouseServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    opened = Client(clickhouse.host, clickhouse.port, compression=request.param)
    yield opened
    opened.disconnect()


@pytest.fixture
def plain(clickhouse: ClickHouseServer) -> Iterator[Client]:
    opened = Client(
        clickhouse.host, clickhouse.port, settings={"server_side_params": True}, compression=False
    )
    yield opened
    opened.disconnect()


def test_a_column_of_each_type_comes_back_as_it_was_inserted(client: Client) -> None:
    described = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    client.execute(f"CREATE OR REPLACE TABLE cd ({described}) ENGINE = MergeTree ORDER BY id")
    rows = list(zip(*(values for _, values in COLUMNS.values()), strict=True))
    assert client.execute("INSERT INTO cd VALUES", rows) == 2
    for got, sent in zip(client.execute("SELECT * FROM cd ORDER BY id"), rows, strict=True):
        for name, value, wanted in zip(COLUMNS, got, sent, strict=True):
            assert value == wanted, name


def test_large_results_and_inserts_go_in_blocks(client: Client) -> None:
    client.execute("CREATE OR REPLACE TABLE cd_large (a UInt32, b String) ENGINE = Memory")
    rows = [(i, str(i) * (i % 7)) for i in range(150_000)]
    client.execute("INSERT INTO cd_large VALUES", rows, settings={"insert_block_size": 40_000})
    assert client.execute("SELECT a, b FROM cd_large ORDER BY a") == rows
    assert sum(1 for _ in client.execute_iter("SELECT * FROM cd_large")) == 150_000


PARAMETERS = {
    "String": "it's\t\\ `quoted`\n",
    "Array(String)": ["a", "it's"],
    "Date": dt.date(2026, 1, 2),
    "Int32": -5,
    "UUID": UUID(int=7),
    "Tuple(UInt8, String)": (1, "x"),
}


@pytest.mark.parametrize(("kind", "value"), PARAMETERS.items(), ids=PARAMETERS.keys())
def test_a_parameter_arrives_as_a_value(plain: Client, kind: str, value: Any) -> None:
    assert plain.execute(f"SELECT {{x:{kind}}}", {"x": value}) == [(value,)]


def test_a_query_tells_what_it_read_and_returned(plain: Client) -> None:
    plain.execute("SELECT number FROM numbers(1000) WHERE number % 100 = 0")
    told = plain.last_query
    assert (told.progress.rows, told.profile_info.rows) == (1000, 10)
    plain.execute("CREATE OR REPLACE TABLE cd_told (a UInt8) ENGINE = Memory")
    plain.execute("INSERT INTO cd_told VALUES", [(1,), (2,), (3,)])
    assert plain.last_query.progress.written_rows == 3


def test_errors_have_their_code_and_leave_the_connection_usable(plain: Client) -> None:
    for text, code in {"SELECT missing": 47, "SELEC": 62, "USE missing_database": 81}.items():
        with pytest.raises(ServerException) as refused:
            plain.execute(text)
        assert refused.value.code == code
    with pytest.raises(ServerException) as refused:
        plain.execute("SELECT throwIf(number = 900000) FROM numbers(1000000)")
    assert refused.value.code == 395
    plain.execute("CREATE OR REPLACE TABLE cd_ck (a UInt8, CONSTRAINT c CHECK a < 9) ENGINE=Memory")
    with pytest.raises(ServerException) as refused:
        plain.execute("INSERT INTO cd_ck VALUES", [(1,), (50,)])
    assert refused.value.code == 469
    assert plain.execute("SELECT count() FROM cd_ck") == [(0,)]


@pytest.mark.parametrize("method", ["ZSTD", "LZ4"])
def test_a_client_chooses_how_results_are_packed(clickhouse: ClickHouseServer, method: str) -> None:
    settings = {"network_compression_method": method}
    packed = Client(clickhouse.host, clickhouse.port, compression="lz4", settings=settings)
    try:
        assert len(packed.execute("SELECT number FROM numbers(100000)")) == 100_000
    finally:
        packed.disconnect()


def test_a_cancelled_query_leaves_the_connection_usable(plain: Client) -> None:
    rows = plain.execute_iter("SELECT number FROM numbers(1000000000)", chunk_size=1)
    next(iter(rows))
    plain.cancel()
    assert plain.execute("SELECT 5") == [(5,)]


def test_a_type_that_cannot_be_told_apart_is_refused(plain: Client) -> None:
    """A newer client wants marks in the blocks; where a column ends must be known for that."""
    with pytest.raises(ServerException) as refused:
        plain.execute("SELECT sumState(number), 1 FROM numbers(3)")
    assert refused.value.code == 48
    assert plain.execute("SELECT 5") == [(5,)]


@pytest.mark.parametrize(("sql", "code"), {"SELECT * FROM outside": 48, ";": 62}.items())
def test_a_query_that_is_refused_with_tables_behind_it_leaves_the_connection_usable(
    client: Client, sql: str, code: int
) -> None:
    outside = {"name": "outside", "structure": [("x", "String")], "data": [{"x": "a"}] * 1000}
    with pytest.raises(ServerException) as refused:
        client.execute(sql, external_tables=[outside])
    assert refused.value.code == code
    assert client.execute("SELECT 5") == [(5,)]
