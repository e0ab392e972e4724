"""What ClickHouse does with the steps of a plan, as a pure function: the model that tests hold.

Tests check this model against a real engine, and a plan against this model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from workers.access.model import Actual, Door, RoleState, UserState
from workers.access.steps import (
    Authenticate,
    Create,
    CreateRole,
    DefaultAll,
    Drop,
    DropRowFilter,
    Grant,
    GrantPrivilege,
    Hold,
    KillQueries,
    Lock,
    MarkRole,
    Rename,
    RevokePrivilege,
    RevokeRoles,
    SetRowFilter,
    SetSettings,
    Step,
    StripPrivileges,
    StripRoles,
    Unlock,
)


class Impossible(ValueError):
    """ClickHouse would refuse this step: a name exists or is missing (errors 192, 493, 511)."""


def simulate(steps: Iterable[Step], actual: Actual) -> Actual:
    """Return what exists after `steps`. Raises Impossible where the server would refuse one."""
    users, roles = dict(actual.users), dict(actual.roles)
    for step in steps:
        _apply(step, users, roles)
    return Actual(users, roles)


def _apply(step: Step, users: dict[str, UserState], roles: dict[str, RoleState]) -> None:
    match step:
        case RevokeRoles(names, taken):
            _must_exist(roles, taken)
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, roles=state.roles.difference(taken))
        case StripRoles(names):
            for name in names:
                users[name] = replace(_user(users, name), roles=frozenset())
        case StripPrivileges(names):
            for name in names:
                users[name] = replace(_user(users, name), has_privileges=False)
        case KillQueries():
            pass
        case Lock(names):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, door=Door.LOCKED, login=state.login.endless)
        case Hold(names):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, door=Door.HELD, login=state.login.endless)
        case Drop(names):
            for name in names:
                users.pop(name, None)
        case Rename(previous, name):
            state = _user(users, previous)
            _must_be_free(users, name)
            users[name] = state
            del users[previous]
        case Create(names, login, locked):
            door = Door.LOCKED if locked else Door.OPEN
            shown = login.observable.endless if locked else login.observable
            for name in names:
                _must_be_free(users, name)
                users[name] = UserState(managed=True, login=shown, door=door, default_all=False)
        case Authenticate(names, login):
            for name in names:
                if _user(users, name).door is not Door.OPEN:
                    raise Impossible(f"{name!r} is not open: which lock it keeps is not modelled")
                users[name] = replace(users[name], login=login.observable)
        case Unlock(names, login):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, login=login.observable, door=Door.OPEN)
        case Grant(names, given):
            _must_exist(roles, given)
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, roles=state.roles.union(given))
        case DefaultAll(names):
            for name in names:
                users[name] = replace(_user(users, name), default_all=True)
        case CreateRole(role):
            if role in roles:
                raise Impossible(f"role {role!r} exists")
            roles[role] = RoleState()
        case MarkRole(role):
            _must_exist(roles, (role,))
            if role in users:
                raise Impossible(f"GRANT … TO {role!r} means the user of that name, not the role")
            roles[role] = RoleState(marked=True)
        case (
            RevokePrivilege(role)
            | GrantPrivilege(role)
            | SetRowFilter(role)
            | DropRowFilter(role)
            | SetSettings(role)
        ):
            _must_exist(roles, (role,))
        case _:
            assert_never(step)


def _user(users: dict[str, UserState], name: str) -> UserState:
    if name not in users:
        raise Impossible(f"there is no user {name!r}")
    return users[name]


def _must_be_free(users: dict[str, UserState], name: str) -> None:
    if name in users:
        raise Impossible(f"user {name!r} exists")


def _must_exist(roles: dict[str, RoleState], wanted: Iterable[str]) -> None:
    for role in wanted:
        if role not in roles:
            raise Impossible(f"there is no role {role!r}")
