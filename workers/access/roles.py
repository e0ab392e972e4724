"""Keeping the roles that the configuration defines in shape on a target: the decision, pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from workers.access.model import Actual, RoleDefinition, RoleRefusal
from workers.access.ownership import ALREADY_EXISTS
from workers.access.steps import (
    CreateRole,
    DropRowFilter,
    GrantPrivilege,
    MarkRole,
    RevokePrivilege,
    RoleStep,
    SetRowFilter,
    SetSettings,
)


@dataclass(frozen=True, slots=True)
class RolePlan:
    """`creates`: roles that the steps create; record them as intended before the first step."""

    steps: tuple[RoleStep, ...]
    refusals: tuple[RoleRefusal, ...]
    creates: tuple[str, ...]


def plan_roles(
    definitions: Mapping[str, RoleDefinition],
    actual: Actual,
    applied: Mapping[str, RoleDefinition],
    marker: str,
    intended: Collection[str] = (),
) -> RolePlan:
    """Return what makes each defined role and keeps it in shape; applied again, it is empty.

    A role is ours if it holds the marker, if `applied` has it (the definition that this target got
    last), or if `intended` has it: the caller records a name there before CREATE ROLE, and takes it
    out when that was refused, so that a crash between CREATE ROLE and the marker is no conflict.
    A role that exists and is not ours is not changed, only refused; granting it is fine. A role
    that vanished from `definitions` stays as it is. A missing role is made again completely.

    `actual` must have been asked for the defined roles. The steps of a role take away before they
    give, and a row policy is there before the grant that it limits.
    """
    steps: list[RoleStep] = []
    refusals: list[RoleRefusal] = []
    creates = [] if marker in actual.roles else [marker]
    steps += [CreateRole(name, ()) for name in creates]
    for name, definition in sorted(definitions.items()):
        state = actual.roles.get(name)
        if name in actual.users:
            # GRANT … TO name would mean the user: it would get what the role should hold.
            refusals.append(RoleRefusal(name, None, f"a user is named {name!r} like the role"))
        elif state is None:
            creates.append(name)
            steps += [CreateRole(name, definition.settings), MarkRole(name)]
            steps += _difference(_bare(definition), definition)
        elif not (state.marked or name in applied or name in intended):
            error = f"role {name!r} exists and was not made by this software"
            refusals.append(RoleRefusal(name, ALREADY_EXISTS, error))
        else:
            steps += [] if state.marked else [MarkRole(name)]
            steps += [] if definition.is_open else _shape(applied.get(name), definition)
    return RolePlan(tuple(steps), tuple(refusals), tuple(creates))


def _shape(applied: RoleDefinition | None, definition: RoleDefinition) -> Iterator[RoleStep]:
    """Yield the least change; without a record all of the definition, which takes nothing away."""
    if applied is None:
        yield SetSettings(definition.name, definition.settings)
        yield from _difference(
            RoleDefinition(definition.name, settings=definition.settings), definition
        )
    else:
        yield from _difference(applied, definition)


def _bare(definition: RoleDefinition) -> RoleDefinition:
    return RoleDefinition(definition.name, settings=definition.settings)


def _difference(old: RoleDefinition, new: RoleDefinition) -> Iterator[RoleStep]:
    """Yield what is taken, then what is given.

    A REVOKE reaches further than the grant it undoes: on `db.*` it takes a grant on `db.t` along,
    and on `db.t` it bites a hole into a grant on `db.*`. So after one, all that stays is granted
    again; a GRANT of what is held changes nothing, and closes such a hole.
    """
    taken = [privilege for privilege in old.grants if privilege not in new.grants]
    for privilege in taken:
        yield RevokePrivilege(new.name, privilege)
    for row_filter in new.row_filters:
        if row_filter not in old.row_filters:
            yield SetRowFilter(new.name, *row_filter)
    if old.settings != new.settings:
        yield SetSettings(new.name, new.settings)
    for privilege in new.grants:
        if taken or privilege not in old.grants:
            yield GrantPrivilege(new.name, privilege)
    filtered = {(database, table) for database, table, _ in new.row_filters}
    for database, table, _ in old.row_filters:
        if (database, table) not in filtered:
            yield DropRowFilter(new.name, database, table)
