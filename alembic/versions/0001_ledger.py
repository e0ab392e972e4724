"""The tables of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op
from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import (
    Array,
    Bool,
    DateTime64,
    Float64,
    Int32,
    LowCardinality,
    Nullable,
    String,
    UInt32,
    UInt64,
)
from clickhouse_connect.cc_sqlalchemy.ddl.tableengine import ReplacingMergeTree
from sqlalchemy import Column, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A block that is sent again carries the same token; this many of them are remembered.
SETTINGS = {"non_replicated_deduplication_window": 10000}
TABLES = (
    "events",
    "statements",
    "access",
    "receipts",
    "drift",
    "admin_actions",
    "dead_letters",
)


_HOLDER = text("cityHash64(target, user)")


def _low() -> LowCardinality:
    return LowCardinality(String)


def _at(name: str = "at") -> Column:
    return Column(name, DateTime64(3, "UTC"), clickhousedb_codec="Delta, ZSTD(1)")


def _text(name: str) -> Column:
    return Column(name, String, clickhousedb_codec="ZSTD(3)")


def _strings(name: str) -> Column:
    return Column(name, Array(String), clickhousedb_codec="ZSTD(1)")


def _create(
    name: str, columns: Sequence[Column], order_by: Sequence[str], version: str | None = None
) -> None:
    """Rows with the same key are one row; of two the one with the higher `version`."""
    given = {"version": version} if version else {}
    op.create_table(
        name,
        *columns,
        clickhousedb_engine=ReplacingMergeTree(
            order_by=tuple(order_by), partition_by="toYYYYMM(at)", settings=SETTINGS, **given
        ),
        if_not_exists=True,
    )


def _index(table: str, name: str, expression: str) -> None:
    op.execute(
        f"ALTER TABLE {table} ADD INDEX IF NOT EXISTS {name} {expression}"
        " TYPE bloom_filter(0.01) GRANULARITY 1"
    )


def upgrade() -> None:
    _create(
        "events",
        [
            Column("tenant", _low()),
            Column("seq", UInt64, clickhousedb_codec="Delta, ZSTD(1)"),
            _at(),
            Column("op", _low()),
            Column("type", _low()),
            Column("resource_id", String),
            _strings("added"),
            _strings("removed"),
            _strings("groups"),
            _strings("links"),
            Column("all_members", Bool),
            Column("scores", Array(UInt64)),
            Column("created_ms", UInt64),
            Column("modified_ms", UInt64),
            Column("version", UInt64),
            Column("document_version", UInt64),
            Column("ordered", UInt64),
            Column("left", Bool),
            Column("request_id", String),
            Column("token_id", _low()),
            _text("name"),
            Column("ip", _low()),
            Column("agent", _low()),
            _text("before"),
            _text("after"),
            Column("salt", String),
            Column("personal", String),
            Column("hash", String),
            Column("erased", Bool),
        ],
        ("tenant", "seq"),
    )
    _index("events", "by_resource", "resource_id")
    _index("events", "by_name", "lowerUTF8(name)")
    _index("events", "by_request", "request_id")
    _index("events", "by_token", "token_id")
    _index("events", "by_added", "added")
    _index("events", "by_removed", "removed")
    _create(
        "statements",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("version", UInt32),
            Column("target", _low()),
            Column("epoch", UInt64),
            Column("seqs", Array(UInt64)),
            _strings("requests"),
            _strings("users"),
            _strings("resources"),
            _strings("roles"),
            Column("action", _low()),
            _text("text"),
            _at(),
            Column("duration_ms", Float64),
            Column("result", _low()),
            Column("code", Nullable(Int32)),
            _text("error"),
        ],
        ("tenant", "at", "id"),
        version="version",
    )
    _index("statements", "by_user", "users")
    _index("statements", "by_resource", "resources")
    _index("statements", "by_request", "requests")
    _create(
        "access",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("target", _low()),
            Column("user", String),
            Column("resource", String),
            Column("seq", UInt64),
            Column("state", _low()),
            Column("roles", Array(LowCardinality(String))),
            Column("explained", Array(LowCardinality(String))),
            _at(),
            # Whose this is, as a number: to find everybody's last row among millions.
            Column("holder", UInt64, clickhousedb_codec="ZSTD(1)", server_default=_HOLDER),
        ],
        ("tenant", "at", "id"),
    )
    _index("access", "by_user", "user")
    _index("access", "by_resource", "resource")
    _create(
        "receipts",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("target", _low()),
            Column("user", String),
            Column("resource", String),
            Column("seq", UInt64),
            _at("asked_at"),
            _at(),
            _strings("nodes"),
        ],
        ("tenant", "at", "id"),
    )
    _create(
        "drift",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("target", _low()),
            Column("kind_of_drift", _low()),
            Column("name", String),
            _text("expected"),
            _text("actual"),
            Column("repaired", Bool),
            _at(),
        ],
        ("tenant", "at", "id"),
    )
    _create(
        "admin_actions",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("action", _low()),
            Column("actor", _low()),
            Column("subject", String),
            _text("detail"),
            _at(),
        ],
        ("tenant", "at", "id"),
    )
    _create(
        "dead_letters",
        [
            Column("tenant", _low()),
            Column("id", String),
            Column("letter", String),
            Column("target", _low()),
            Column("change", _low()),
            Column("resource", String),
            Column("name", String),
            Column("seq_first", UInt64),
            Column("seq_last", UInt64),
            Column("code", Nullable(Int32)),
            _text("error"),
            Column("attempts", UInt32),
            Column("revocation", Bool),
            _at(),
        ],
        ("tenant", "at", "id"),
    )


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {name}")
