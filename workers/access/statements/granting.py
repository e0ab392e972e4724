"""What roles hold on a target: queries, and their rows as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from workers.access.effects import Granted, Grants
from workers.access.statements.quoting import literals

GrantRow = tuple[str, str, str | None, str | None, str | None, int, int]


def grants_query(roles: Collection[str]) -> str:
    """Return a query for the privileges that these roles hold themselves; not for no role."""
    return (
        "SELECT assumeNotNull(role_name), toString(access_type), database, table, column,"  # noqa: S608
        " is_partial_revoke, is_wildcard"
        f" FROM system.grants WHERE role_name IN ({literals(sorted(roles))})"
    )


def parents_query() -> str:
    """Return a query for the roles that roles hold: (role, held)."""
    return (
        "SELECT assumeNotNull(role_name), granted_role_name FROM system.role_grants"
        " WHERE isNotNull(role_name)"
    )


def holders_query(roles: Collection[str]) -> str:
    """Return a query for all roles of whoever holds one of these: (user, role)."""
    some = literals(sorted(roles))
    return (
        "SELECT assumeNotNull(user_name), granted_role_name FROM system.role_grants"  # noqa: S608
        " WHERE user_name IN (SELECT user_name FROM system.role_grants"
        f" WHERE isNotNull(user_name) AND granted_role_name IN ({some}))"
    )


def parse_pairs(rows: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Return the second ones by the first."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one, other in rows:
        found[one].add(other)
    return {one: frozenset(others) for one, others in found.items()}


def parse_grants(rows: Iterable[GrantRow], parents: dict[str, frozenset[str]]) -> Grants:
    """Return what the rows of `grants_query` and `parents_query` say."""
    own: defaultdict[str, set[Granted]] = defaultdict(set)
    for role, access, database, table, column, is_revoke, is_wildcard in rows:
        star = "*" * bool(is_wildcard)
        if not database and table is None:
            on = f"{star or '*'}.*"
        elif table is None:
            on = f"{database}{star}.*"
        else:
            on = f"{database}.{table}{star}"
        what = f"{access}({column})" if column else access
        own[role].add(Granted(on, f"minus {what}" if is_revoke else what))
    return Grants({role: frozenset(grants) for role, grants in own.items()}, parents)
