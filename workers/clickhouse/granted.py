"""What roles hold on a target, and who holds the roles."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from workers.access.effects import Grants
from workers.access.statements.granting import (
    GrantRow,
    grants_query,
    holders_query,
    parents_query,
    parse_grants,
    parse_pairs,
)
from workers.access.statements.rendering import chunks
from workers.clickhouse.pool import Pool, Session

_ROLES_BYTES, _ROLES_AT_ONCE = 100_000, 2000


async def read_grants(
    pool: Pool, roles: Collection[str], changing: Collection[str]
) -> tuple[Grants, Mapping[str, frozenset[str]]]:
    """Return what these roles hold, also by other roles, and the roles of everybody who holds one
    of `changing`, directly or by another role. Raises TargetError.
    """
    async with pool.session() as session:
        pairs = await session.query(parents_query())
        parents = parse_pairs((role, held) for role, held in pairs)
        above = Grants({}, parents)
        holders: dict[str, frozenset[str]] = {}
        for some in _parts(above.under(changing)):
            rows = await session.query(holders_query(some))
            holders |= parse_pairs((user, role) for user, role in rows)
        wanted = set(roles).union(changing, *holders.values())
        wanted = wanted.union(*parents.values())
        grants = await _grants(session, wanted, parents)
    return grants, holders


async def _grants(
    session: Session, roles: Collection[str], parents: dict[str, frozenset[str]]
) -> Grants:
    rows: list[GrantRow] = []
    for some in _parts(roles):
        rows += await session.query(grants_query(some))
    return parse_grants(rows, parents)


def _parts(roles: Collection[str]) -> list[tuple[str, ...]]:
    return list(chunks(sorted(roles), _ROLES_BYTES, _ROLES_AT_ONCE))
