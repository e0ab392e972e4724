"""Which rights an account lacks, judged from what it holds; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from workers.access.statements.rights import Right


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A row of `system.grants`. None: everything at that level.

    `is_pattern`: the innermost name given is only the beginning of one. `only_for`: the grant is
    limited to users or roles of such a name, which covers nothing that is needed for all.
    """

    access: str
    database: str | None = None
    table: str | None = None
    column: str | None = None
    is_revoke: bool = False
    hand_on: bool = False
    is_pattern: bool = False
    only_for: str | None = None


@dataclass(frozen=True, slots=True)
class _Need:
    """One access type on one column, or on a whole object. A pattern is (beginning, True)."""

    access: str
    database: tuple[str, bool]
    table: tuple[str, bool]
    column: tuple[str, bool]
    hand_on: bool


def missing_rights(
    needed: Collection[Right], held: Collection[HeldGrant], groups: Mapping[str, str]
) -> tuple[Right, ...]:
    """Return those of `needed` that `held` does not give whole, in their order.

    `groups`: access type -> the group that it belongs to, as `system.privileges` has it.
    """
    return tuple(right for right in needed if not _is_held(right, held, groups))


def _is_held(right: Right, held: Collection[HeldGrant], groups: Mapping[str, str]) -> bool:
    return all(
        any(_covers(grant, need, groups) for grant in held if not grant.is_revoke)
        and not any(_takes_from(grant, need, groups) for grant in held if grant.is_revoke)
        for need in _parts(right)
    )


def _parts(right: Right) -> Iterator[_Need]:
    privilege = right.privilege
    for access, columns in privilege.access:
        for column in columns or (None,):
            yield _Need(
                access,
                (privilege.database, privilege.database_wildcard),
                (privilege.table, privilege.table_wildcard),
                ("", True) if column is None else (column, False),
                right.hand_on,
            )


def _covers(grant: HeldGrant, need: _Need, groups: Mapping[str, str]) -> bool:
    return (
        grant.access in _with_groups(need.access, groups)
        and grant.only_for is None
        and (grant.hand_on or not need.hand_on)
        and all(
            _contains(one, other)
            for one, other in zip(
                _scope(grant), (need.database, need.table, need.column), strict=True
            )
        )
    )


def _takes_from(grant: HeldGrant, need: _Need, groups: Mapping[str, str]) -> bool:
    """Whether a partial revoke leaves `need` with less than everything that it names."""
    related = grant.access in _with_groups(need.access, groups) or need.access in _with_groups(
        grant.access, groups
    )
    return related and all(
        _contains(one, other) or _contains(other, one)
        for one, other in zip(_scope(grant), (need.database, need.table, need.column), strict=True)
    )


def _with_groups(access: str, groups: Mapping[str, str]) -> set[str]:
    """Return `access` and every group that it is in; ALL has everything, told or not."""
    found = {access, "ALL"}
    while (parent := groups.get(access)) is not None and parent not in found - {"ALL"}:
        found.add(parent)
        access = parent
    return found


def _scope(grant: HeldGrant) -> tuple[tuple[str, bool], tuple[str, bool], tuple[str, bool]]:
    """Return database, table and column as patterns; the innermost name may be a beginning."""
    names = (grant.database, grant.table, grant.column)
    innermost = max((at for at, name in enumerate(names) if name is not None), default=-1)
    database, table, column = (
        ("", True) if name is None else (name, grant.is_pattern and at == innermost)
        for at, name in enumerate(names)
    )
    return database, table, column


def _contains(one: tuple[str, bool], other: tuple[str, bool]) -> bool:
    """Whether every name that `other` means is meant by `one`, too."""
    (name, is_beginning), (second, second_is_beginning) = one, other
    if is_beginning:
        return second.startswith(name)
    return name == second and not second_is_beginning
