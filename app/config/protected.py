"""Roles that no role map gives, whatever an identity provider or a file says."""

from __future__ import annotations

from collections.abc import Collection

from app.scim.text import fold

ADMINISTRATORS = frozenset({"admin", "default"})
PREFIX = "scim_"


def why_protected(role: str, marker: str, listed: Collection[str] = ()) -> str | None:
    """Return why this role can't be given, to go behind its name; None if it can.

    `listed`: the roles that the target's table protects. Careful where ClickHouse is exact: case
    makes no difference.
    """
    folded = fold(role)
    if folded in ADMINISTRATORS:
        return "belongs to the server's administrators"
    if role == marker:
        return "marks who is managed and is given by the software itself"
    if folded.startswith(PREFIX):
        return f"begins with {PREFIX}, which is kept for the software itself"
    if folded in map(fold, listed):
        return "is protected on this target"
    return None
