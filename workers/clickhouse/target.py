"""One tenant's view of one target: observe users and roles, carry statements out."""

from __future__ import annotations

from collections.abc import Collection
from itertools import zip_longest

from workers.access.model import Actual
from workers.access.statements import Statement, observe_query, parse_observation
from workers.access.statements.rendering import chunks
from workers.clickhouse.pool import Pool

# Quoted names are three times in a query, quoted roles five times: far below 262,144 bytes.
NAMES_BYTES, ROLES_BYTES = 40_000, 20_000


class Target:
    """`marker`: the tenant's marker role, which tells its users and roles from all others."""

    def __init__(self, pool: Pool, marker: str) -> None:
        """`pool`: shared by all tenants of the target."""
        self._pool, self.marker = pool, marker

    async def observe(
        self, names: Collection[str], roles: Collection[str], *, log_comment: str = ""
    ) -> Actual:
        """Return what exists of these users and roles, the marker role, and users named like roles.

        One query for up to 500 names, further ones on the same connection: what this worker wrote
        before it sees, since all its connections go to one host.
        """
        parts = zip_longest(
            chunks(sorted(set(names)), NAMES_BYTES),
            chunks(sorted({*roles, self.marker}), ROLES_BYTES),
            fillvalue=(),
        )
        rows: list[tuple[str, str, str]] = []
        async with self._pool.session() as session:
            for some_names, some_roles in parts:
                sql = observe_query(some_names, some_roles, self.marker)
                for kind, name, detail in await session.query(sql, log_comment=log_comment):
                    rows.append((kind, name, detail))
        return parse_observation(rows, self.marker)

    async def execute(self, statement: Statement, *, log_comment: str) -> None:
        """Carry one statement out. Raises StatementRefused, of which a part may have been done, or
        TargetUnavailable, after which nobody knows: observe before going on.
        """
        async with self._pool.session() as session:
            await session.query(statement.sql, log_comment=log_comment)
