"""Filters on a group's members, answered without reading a large group whole.

Entra ID asks `id eq "…" and members eq "…"` before it changes a membership, for each member.
"""

from __future__ import annotations

from app.scim.filter import And, Comparison, Filter, Not, Or, Present, ValuePath

_NONE: frozenset[str] = frozenset()


def deciding_members(filter_: Filter) -> frozenset[str] | None:
    """Return the ids whose membership decides the filter, or None if it has to see all members."""
    match filter_:
        case And(filters) | Or(filters):
            parts = [deciding_members(f) for f in filters]
            known = [part for part in parts if part is not None]
            return _NONE.union(*known) if len(known) == len(parts) else None
        case Not(inner):
            return deciding_members(inner)
        case Comparison(path) | Present(path) | ValuePath(path) if path.attribute.name != "members":
            return _NONE
        case _:
            member = named_member(filter_)
            return None if member is None else frozenset({member})


def named_member(filter_: Filter) -> str | None:
    """Return the id in `members eq "id"`, `members.value eq "id"` or `members[value eq "id"]`."""
    match filter_:
        case Comparison(path, "eq", str(member)) if path.attribute.name == "members":
            return member if path.leaf.name == "value" else None
        case ValuePath(path, Comparison(inner, "eq", str(member))) if (
            path.attribute.name == "members"
        ):
            return member if inner.leaf.name == "value" else None
        case _:
            return None


def member_anchor(filter_: Filter) -> str | None:
    """Return a member that every group which fulfils the filter has, or None."""
    if isinstance(filter_, And):
        return next((m for f in filter_.filters if (m := member_anchor(f)) is not None), None)
    return named_member(filter_)
