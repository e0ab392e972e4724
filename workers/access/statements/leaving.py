"""Asking a server about people who leave: their running queries, and what they are called there."""

from __future__ import annotations

from collections.abc import Collection

from workers.access.statements.quoting import literals, quote_literal


def running_query(names: Collection[str]) -> str:
    """Return a query for how many queries each of these users is running: (user, count)."""
    return (
        "SELECT user, count() FROM system.processes"  # noqa: S608 - every value is quoted
        f" WHERE user IN ({literals(sorted(names))}) GROUP BY user"
    )


def alike_query(names: Collection[str], marker: str) -> str:
    """Return a query for the users that have one of these names, and for the managed ones that
    have it in another case: (name).
    """
    some = literals(sorted(names))
    return (
        f"SELECT name FROM system.users WHERE name IN ({some})"  # noqa: S608 - the same
        f" OR (lowerUTF8(name) IN (SELECT lowerUTF8(arrayJoin([{some}])))"
        " AND name IN (SELECT user_name FROM system.role_grants"
        f" WHERE granted_role_name = {quote_literal(marker)}))"
    )
