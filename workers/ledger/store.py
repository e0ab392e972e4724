"""The ledger's tables, over the native protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from app.config.ledger import LedgerSettings
from workers.access.statements.quoting import quote_identifier, quote_literal
from workers.clickhouse.pool import Endpoint, Pool, Row

_CONNECT_S, _WRITE_S, READ_S = 5.0, 30.0, 600.0
# FINAL makes one row of two with the same key, whatever has been merged; filters on columns that
# are the same in both may use indexes before that.
_READING = {"use_skip_indexes_if_final": 1, "do_not_merge_across_partitions_select_final": 1}


class Store:
    """Reads and writes the ledger. Raises TargetUnavailable or StatementRefused."""

    def __init__(
        self, settings: LedgerSettings, *, database: str | None = None, seconds: float = _WRITE_S
    ) -> None:
        """`database`: another than the ledger's. `seconds`: for one query."""
        self._pool = Pool(
            Endpoint(
                hosts=((settings.host.name, settings.host.port),),
                user=settings.user,
                password=settings.secret() or "",
                database=settings.database if database is None else database,
                secure=settings.secure,
                ca_file=settings.ca_file,
                max_connections=4,
                connect_s=_CONNECT_S,
                query_s=seconds,
            )
        )

    async def insert(
        self, table: str, columns: Sequence[str], rows: Sequence[Row], *, token: str
    ) -> None:
        """Insert one block. With the token of an insert that was done it does nothing."""
        named = ", ".join(map(quote_identifier, columns))
        sql = f"INSERT INTO {quote_identifier(table)} ({named}) VALUES"
        async with self._pool.session() as session:
            await session.insert(sql, rows, {"insert_deduplication_token": token})

    async def query(self, sql: str) -> Sequence[Row]:
        async with self._pool.session() as session:
            return await session.query(sql, settings=_READING)

    async def events(
        self,
        tenant: str,
        columns: Sequence[str],
        *,
        after: int = 0,
        until: int | None = None,
        page: int = 10_000,
    ) -> AsyncIterator[Sequence[Row]]:
        """Yield a tenant's events in the order of their seq, `page` at a time."""
        seq = columns.index("seq")
        named = ", ".join(map(quote_identifier, columns))
        end = f" AND seq <= {until:d}" if until is not None else ""
        while True:
            rows = await self.query(
                f"SELECT {named} FROM events FINAL WHERE tenant = {quote_literal(tenant)}"  # noqa: S608
                f" AND seq > {after:d}{end} ORDER BY seq LIMIT {page:d}"
            )
            if rows:
                yield rows
                after = rows[-1][seq]
            if len(rows) < page:
                return

    async def close(self) -> None:
        await self._pool.close()
