"""How alembic runs here: the migrations become statements, and the caller sends them.

`clickhouse-scim migrate` is the caller (`workers/ledger/schema.py`): it speaks the native protocol,
as the ledger's writer does, so that one address is enough. To read the statements without it:

    python -m alembic -c alembic/alembic.ini upgrade head --sql
"""

from __future__ import annotations

from typing import Any

from alembic import context
from clickhouse_connect.cc_sqlalchemy.alembic.impl import ClickHouseImpl
from sqlalchemy import Insert, Update, text

VERSION_TABLE = "schema_version"


class LedgerImpl(ClickHouseImpl):
    """Notes each version that is reached as a row of its own: the highest is the current one.

    By `INSERT … SELECT`: data in the text of a statement is for HTTP. And without the mutation that
    would delete the version before: a crash in between would leave two heads. alembic has one class
    a dialect in a process, so other people's tables of versions are left as they are.
    """

    __dialect__ = "clickhousedb"

    def _exec(self, construct: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(construct, Insert | Update) and construct.table.name == VERSION_TABLE:
            (value,) = construct._values.values()
            note = f"INSERT INTO {VERSION_TABLE} (version_num) SELECT {self._compile_clause(value)}"
            return super()._exec(text(note))
        return super()._exec(construct, *args, **kwargs)


if not context.is_offline_mode():
    raise SystemExit("run `clickhouse-scim migrate`, or add --sql to read the statements")

buffer = context.config.attributes.get("buffer")
context.configure(
    dialect_name="clickhousedb",
    version_table=VERSION_TABLE,
    dialect_opts={"paramstyle": "named"},
    **({"output_buffer": buffer} if buffer is not None else {}),
)
with context.begin_transaction():
    context.run_migrations()
