"""Who gains and who loses what, between access as it is and as it would be; pure.

A grant is counted as it was given: whoever gets `db.t` for `db.*` gains the one and loses the
other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.config.privileges import Privilege
from workers.access.model import Door, UserState

Pairs = Mapping[str, tuple[UserState | None, UserState | None]]


@dataclass(frozen=True, slots=True, order=True)
class Granted:
    """`object`: such as `crm.customers`, `crm.*`. `access`: such as `SELECT` or `SELECT(id)`;
    `minus SELECT(id)` for what a wider grant leaves out.
    """

    object: str
    access: str


T = TypeVar("T", str, Granted)


@dataclass(frozen=True, slots=True)
class Change:
    """Names of users, in order."""

    gains: tuple[str, ...]
    loses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grants:
    """What roles hold: themselves, and by the roles that they hold."""

    own: Mapping[str, frozenset[Granted]]
    parents: Mapping[str, frozenset[str]]

    def of(self, roles: Iterable[str]) -> frozenset[Granted]:
        """Return all that somebody with these roles holds by them."""
        closed, waiting = set(roles), list(roles)
        while waiting:
            fresh = self.parents.get(waiting.pop(), frozenset()) - closed
            closed |= fresh
            waiting += fresh
        return frozenset().union(*(self.own.get(role, frozenset()) for role in closed))

    def under(self, roles: Iterable[str]) -> set[str]:
        """Return these roles and all that hold one of them, directly or not."""
        found, size = set(roles), -1
        while size != len(found):
            size = len(found)
            found |= {role for role, above in self.parents.items() if above & found}
        return found


def granted_by(privileges: Iterable[Privilege]) -> frozenset[Granted]:
    """Return the grants of a definition in the form in which a target tells its own."""
    return frozenset(
        Granted(_object(p.database, p.table, p.database_wildcard, p.table_wildcard), access)
        for p in privileges
        for name, columns in p.access
        for access in ([f"{name}({column})" for column in columns] or [name])
    )


def _object(database: str, table: str, *wildcards: bool) -> str:
    return ".".join(f"{n}{'*' * w}" for n, w in zip((database, table), wildcards, strict=True))


def usable(state: UserState | None) -> frozenset[str]:
    """Return the roles that somebody can use: none for whoever can't log in for good."""
    return frozenset() if state is None or state.door.is_shut else state.roles


def log_ins(users: Pairs) -> Change:
    """Return who can log in then and can't now, and the other way round."""
    return _change(
        (name for name, (old, new) in users.items() if not _is_in(old) and _is_in(new)),
        (name for name, (old, new) in users.items() if _is_in(old) and not _is_in(new)),
    )


def _is_in(state: UserState | None) -> bool:
    return state is not None and state.door is Door.OPEN


def role_changes(users: Pairs) -> dict[str, Change]:
    """Return, by role, who gets it and who loses it."""
    held = {name: (usable(old), usable(new)) for name, (old, new) in users.items()}
    return _changes(held)


def table_changes(
    users: Pairs, before: Grants, after: Grants, holders: Mapping[str, Collection[str]]
) -> dict[Granted, Change]:
    """Return, by grant, who gets it and who loses it.

    `holders`: the roles of people who hold a role whose grants change, whether or not they are in
    `users`.
    """
    held = {name: (usable(old), usable(new)) for name, (old, new) in users.items()}
    held |= {n: (frozenset(r), frozenset(r)) for n, r in holders.items() if n not in users}
    by_roles = {(old, new): (before.of(old), after.of(new)) for old, new in set(held.values())}
    return _changes({name: by_roles[pair] for name, pair in held.items()})


def _changes(held: Mapping[str, tuple[frozenset[T], frozenset[T]]]) -> dict[T, Change]:
    gains: defaultdict[T, list[str]] = defaultdict(list)
    loses: defaultdict[T, list[str]] = defaultdict(list)
    for name, (old, new) in held.items():
        for one in new - old:
            gains[one].append(name)
        for one in old - new:
            loses[one].append(name)
    return {
        one: _change(gains.get(one, ()), loses.get(one, ()))
        for one in sorted(gains.keys() | loses.keys())
    }


def _change(gains: Iterable[str], loses: Iterable[str]) -> Change:
    return Change(tuple(sorted(gains)), tuple(sorted(loses)))
