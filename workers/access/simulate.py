"""What ClickHouse does with the steps of a plan, as a pure function: the model that tests hold.

Tests check this model against a real engine, and a plan against this model.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import assert_never

from workers.access.model import Actual, Door, RoleState, RowFilter, Shape, UserState
from workers.access.reach import granted, grants_of, revoked
from workers.access.steps import (
    Adopt,
    Authenticate,
    Create,
    CreateRole,
    DefaultAll,
    DefaultList,
    Drop,
    DropQuota,
    DropRowFilter,
    GiveBack,
    Grant,
    GrantParents,
    GrantPrivilege,
    Hold,
    KillQueries,
    Lock,
    MarkRole,
    Release,
    Remark,
    Rename,
    Reopen,
    RevokeAdmin,
    RevokeParents,
    RevokePrivilege,
    RevokeRoles,
    SetQuota,
    SetRowFilter,
    SetSettings,
    Settle,
    ShapingStep,
    Step,
    StripPrivileges,
    StripRoles,
    TakeGrants,
    Unlock,
)


class Impossible(ValueError):
    """ClickHouse would refuse this step: a name exists or is missing (errors 192, 493, 511)."""


def simulate(steps: Iterable[Step], actual: Actual) -> Actual:
    """Return what exists after `steps`. Raises Impossible where the server would refuse one."""
    users, roles = dict(actual.users), dict(actual.roles)
    for step in steps:
        _apply(step, users, roles)
    return replace(actual, users=users, roles=roles)


def _apply(step: Step, users: dict[str, UserState], roles: dict[str, RoleState]) -> None:
    match step:
        case RevokeRoles(names, taken):
            for name in names:
                state = _user(users, name)
                _must_exist(roles.keys() | state.roles, taken)
                users[name] = _holding(state, state.roles.difference(taken), state.admin)
        case RevokeAdmin(names, taken):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, admin=state.admin.difference(taken))
        case StripRoles(names):
            for name in names:
                users[name] = _holding(_user(users, name), frozenset(), frozenset())
        case StripPrivileges(names):
            for name in names:
                users[name] = replace(_user(users, name), privileges=())
        case KillQueries():
            pass
        case Lock(names):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, door=Door.LOCKED, login=state.login.shut)
        case Hold(names):
            for name in names:
                state = _user(users, name)
                users[name] = replace(state, door=Door.HELD, login=state.login.shut)
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
            shown = login.observable.shut if locked else login.observable
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
        case Grant(names, given, admin):
            _must_exist(roles.keys(), given)
            for name in names:
                state = _user(users, name)
                handed_on = state.admin.union(given if admin else ())
                users[name] = _holding(state, state.roles.union(given), handed_on)
        case Settle(names, home, _):
            for name in names:
                users[name] = replace(_user(users, name), home=home)
        case DefaultAll(names, dormant):
            for name in names:
                state = _user(users, name)
                users[name] = replace(
                    state, default_all=True, dormant=frozenset(dormant), listed=frozenset()
                )
        case Adopt(names) | Remark(names) | Release(names):
            for name in names:
                users[name] = replace(_user(users, name), managed=not isinstance(step, Release))
        case Reopen(names, hosts, until):
            for name in names:
                state = _user(users, name)
                login = replace(state.login, hosts=hosts, until=until)
                users[name] = replace(state, login=login, door=Door.OPEN)
        case GiveBack(names, privileges):
            for name in names:
                users[name] = replace(_user(users, name), privileges=privileges)
        case DefaultList(names, some):
            for name in names:
                listed = frozenset(some)
                _must_exist(_user(users, name).roles, some)
                users[name] = replace(
                    users[name], default_all=False, dormant=frozenset(), listed=listed
                )
        case CreateRole(role, settings):
            if role in roles:
                raise Impossible(f"role {role!r} exists")
            roles[role] = RoleState(shape=Shape(settings=settings))
        case MarkRole(role):
            _must_exist(roles.keys(), (role,))
            if role in users:
                raise Impossible(f"GRANT … TO {role!r} means the user of that name, not the role")
            roles[role] = replace(roles[role], marked=True)
        case (
            RevokePrivilege(role)
            | GrantPrivilege(role)
            | SetRowFilter(role)
            | DropRowFilter(role)
            | SetSettings(role)
            | TakeGrants(role)
            | GrantParents(role)
            | RevokeParents(role)
            | SetQuota(role)
            | DropQuota(role)
        ):
            _must_exist(roles.keys(), (role,))
            if (shape := roles[role].shape) is not None:
                roles[role] = replace(roles[role], shape=_shaped(shape, step))
        case _:
            assert_never(step)


def _shaped(shape: Shape, step: ShapingStep) -> Shape:
    match step:
        case GrantPrivilege(_, privilege):
            return replace(shape, grants=granted(shape.grants, privilege))
        case RevokePrivilege(_, privilege):
            return replace(shape, grants=revoked(shape.grants, grants_of(privilege)))
        case TakeGrants(_, grants):
            return replace(shape, grants=revoked(shape.grants, grants))
        case GrantParents(_, parents):
            return replace(shape, parents=shape.parents.union(parents))
        case RevokeParents(_, parents):
            return replace(shape, parents=shape.parents.difference(parents))
        case SetRowFilter(_, database, table, expression, restrictive):
            new = RowFilter(database, table, expression, restrictive)
            return replace(shape, row_filters=(*_others(shape, database, table), new))
        case DropRowFilter(_, database, table):
            return replace(shape, row_filters=_others(shape, database, table))
        case SetSettings(_, settings, gone, profiles):
            changed = {*gone, *(setting.name for setting in settings)}
            kept = (setting for setting in shape.settings if setting.name not in changed)
            rest = shape.profiles.difference(profiles)
            return replace(shape, settings=(*kept, *settings), profiles=rest)
        case SetQuota(_, quota):
            return replace(shape, quota=quota)
        case DropQuota():
            return replace(shape, quota=())
        case _:
            assert_never(step)


def _others(shape: Shape, database: str, table: str) -> tuple[RowFilter, ...]:
    return tuple(f for f in shape.row_filters if (f.database, f.table) != (database, table))


def _user(users: dict[str, UserState], name: str) -> UserState:
    if name not in users:
        raise Impossible(f"there is no user {name!r}")
    return users[name]


def _must_be_free(users: dict[str, UserState], name: str) -> None:
    if name in users:
        raise Impossible(f"user {name!r} exists")


def _holding(state: UserState, held: frozenset[str], admin: frozenset[str]) -> UserState:
    """A role that is gone can't be handed on either."""
    return replace(state, roles=held, admin=admin & held)


def _must_exist(roles: AbstractSet[str], wanted: Iterable[str]) -> None:
    for role in wanted:
        if role not in roles:
            raise Impossible(f"there is no role {role!r}")
