"""What differs between a target as it is and as it should be, for people and programs; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TypeVar

from workers.access.model import (
    Home,
    Interval,
    Login,
    RoleState,
    RowFilter,
    Setting,
    Shape,
    UserState,
)

State = TypeVar("State", UserState, RoleState)
MISSING = "missing"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """`kind`: user or role. `what`: a part of its state, or `exists`. No value holds a secret.

    `kept`: the policy leaves it as it is, so that no repair mends it.
    """

    kind: str
    name: str
    what: str
    expected: str
    actual: str
    kept: bool = False


def differences(
    users: Mapping[str, tuple[UserState | None, UserState | None]],
    roles: Mapping[str, tuple[RoleState | None, RoleState | None]],
) -> list[Difference]:
    """Return, in order, what differs between each pair (as it is, as it should be)."""
    found = [
        *(d for name, pair in users.items() for d in _compared("user", name, *pair)),
        *(d for name, pair in roles.items() for d in _compared("role", name, *pair)),
    ]
    return sorted(found)


def _compared(
    kind: str, name: str, actual: State | None, expected: State | None
) -> Iterator[Difference]:
    if actual is None or expected is None:
        yield Difference(kind, name, "exists", _whole(expected), _whole(actual))
        return
    yield from _parts(kind, name, actual, expected)


def _parts(
    kind: str, name: str, actual: State | Shape, expected: State | Shape
) -> Iterator[Difference]:
    """Yield a difference for each part that differs; of a role's shape, for each part of that."""
    for part in fields(actual):
        is_so, should_be = (getattr(state, part.name) for state in (actual, expected))
        if is_so == should_be:
            continue
        if isinstance(is_so, Shape) and isinstance(should_be, Shape):
            yield from _parts(kind, name, is_so, should_be)
        else:
            yield Difference(kind, name, part.name, _told(should_be), _told(is_so))


def _whole(state: UserState | RoleState | None) -> str:
    match state:
        case None:
            return MISSING
        case UserState(door=door, roles=roles):
            return f"{door}, with roles {_told(roles)}"
        case RoleState():
            return "there"


def _told(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case Login(methods=methods, until=until, hosts=hosts):
            ways = (
                " ".join([one.method, *(f"{key} {text}" for key, text in one.params)])
                for one in methods
            )
            end = f" until {until}" if until is not None else ""
            return ", ".join(ways) + end + (f" from {_told(hosts)}" if hosts else "")
        case Home(database=database, profiles=profiles):
            return f"database {database or 'none'}, profiles {_told(profiles)}"
        case Setting(name, amount, least, most, const):
            bounds = (("=", amount), ("min", least), ("max", most))
            told = [f"{word} {bound}" for word, bound in bounds if bound is not None]
            return " ".join([name, *told, *(["const"] * const)])
        case RowFilter(database, table, expression, restrictive):
            kind = "restrictive " if restrictive else ""
            return f"{kind}{database}.{table}: {expression}"
        case Interval(seconds, limits):
            most = ", ".join(f"{name} {amount}" for name, amount in sorted(limits))
            return f"{seconds} s: {most}"
        case frozenset() | tuple() | list():
            return ", ".join(sorted(map(_told, value))) or "none"
        case _:
            return str(value)
