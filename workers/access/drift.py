"""What differs between a target as it is and as it should be, for people and programs; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TypeVar

from workers.access.model import Login, RoleState, UserState

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
    for part in fields(actual):
        is_so, should_be = (getattr(state, part.name) for state in (actual, expected))
        if is_so != should_be:
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
        case Login(method=method, params=params, until=until):
            end = [f"until {until}"] if until is not None else []
            return " ".join([method, *(f"{key} {text}" for key, text in params), *end])
        case frozenset() | tuple() | list():
            return ", ".join(sorted(map(_told, value))) or "none"
        case _:
            return str(value)
