"""Keeping the roles that the configuration defines in shape on a target: the decision, pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from workers.access.model import (
    Actual,
    Foreign,
    Policy,
    RoleDefinition,
    RoleRefusal,
    RoleState,
    RowFilter,
    Setting,
    Shape,
)
from workers.access.ownership import ALREADY_EXISTS
from workers.access.reach import excess, is_held
from workers.access.steps import (
    CreateRole,
    DropQuota,
    DropRowFilter,
    GrantParents,
    GrantPrivilege,
    MarkRole,
    RevokeParents,
    RevokePrivilege,
    RoleStep,
    SetQuota,
    SetRowFilter,
    SetSettings,
    TakeGrants,
)

UNKNOWN_ROLE = 511
NO_SHAPE = Shape()
_UNITS = {unit: 1000**power for power, unit in enumerate(("", "K", "M", "G", "T"))}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate(("K", "M", "G", "T"), start=1)}


@dataclass(frozen=True, slots=True)
class RolePlan:
    """`creates`: roles that the steps create; record them as intended before the first step.
    `foreign`: what others gave to defined roles, and the steps leave alone.
    """

    steps: tuple[RoleStep, ...]
    refusals: tuple[RoleRefusal, ...]
    creates: tuple[str, ...]
    foreign: tuple[Foreign, ...] = ()


def plan_roles(
    definitions: Mapping[str, RoleDefinition],
    actual: Actual,
    applied: Mapping[str, RoleDefinition],
    policy: Policy,
    intended: Collection[str] = (),
) -> RolePlan:
    """Return what makes each defined role and keeps it in shape; applied again, it is empty.

    A role is ours if it holds the marker, if `applied` has it (the definition that this target got
    last), or if `intended` has it: the caller records a name there before CREATE ROLE, and takes it
    out when that was refused, so that a crash between CREATE ROLE and the marker is no conflict.
    A role that exists and is not ours is not changed, only refused; granting it is fine. A role
    that vanished from `definitions` stays as it is. A missing role is made again completely.

    `actual` must have been asked for the defined roles, with their shapes, and for their parents. A
    role is compared with its shape; what the definition does not give and `applied` did is taken,
    what neither gives is foreign, and taken if the policy says so. The steps of a role take away
    before they give, a row policy is there before the grant that it limits, and parents come when
    all roles are in shape.
    """
    marker, steps, parents = policy.marker, list[RoleStep](), list[RoleStep]()
    refusals: list[RoleRefusal] = []
    foreign: list[Foreign] = []
    creates = [] if marker in actual.roles else [marker]
    steps += [CreateRole(name, ()) for name in creates]
    for name, definition in sorted(definitions.items()):
        state = actual.roles.get(name)
        if name in actual.users:
            # GRANT … TO name would mean the user: it would get what the role should hold.
            refusals.append(RoleRefusal(name, None, f"a user is named {name!r} like the role"))
            continue
        if state is None:
            creates.append(name)
            steps += [CreateRole(name, definition.settings), MarkRole(name)]
            there = RoleDefinition(name, settings=definition.settings)
        elif not (state.marked or name in applied or name in intended):
            error = f"role {name!r} exists and was not made by this software"
            refusals.append(RoleRefusal(name, ALREADY_EXISTS, error))
            continue
        else:
            steps += [] if state.marked else [MarkRole(name)]
            there = _seen(state, definition, applied.get(name), actual.written)
        if definition.is_open:
            continue
        strange = _strange(name, state, definition, applied.get(name), policy)
        foreign += [] if policy.revoke_foreign else strange.told()
        steps += _difference(there, definition, strange, revoke=policy.revoke_foreign)
        given, why = _parents(there, definition, actual, definitions, policy)
        parents += given
        refusals += why
    return RolePlan((*steps, *parents), tuple(refusals), tuple(creates), tuple(foreign))


def _seen(
    state: RoleState,
    definition: RoleDefinition,
    applied: RoleDefinition | None,
    written: Mapping[str, str],
) -> RoleDefinition:
    """Return the role as it is there, in the words of its definition and of the one before; where
    its shape was not asked, as it was applied.
    """
    shape, before = state.shape, applied or RoleDefinition(definition.name)
    if shape is None:
        return before
    known = dict.fromkeys((*definition.grants, *before.grants))
    wanted = {setting.name: setting for setting in (*before.settings, *definition.settings)}
    there = {setting.name: setting for setting in shape.settings}
    filters = {(f.database, f.table): f for f in (*before.row_filters, *definition.row_filters)}
    return RoleDefinition(
        definition.name,
        grants=tuple(privilege for privilege in known if is_held(privilege, shape.grants)),
        settings=tuple(
            setting if _is_set(setting, there[name]) else there[name]
            for name, setting in wanted.items()
            if name in there
        ),
        row_filters=tuple(_as_written(f, filters, written) for f in shape.row_filters),
        parents=tuple(sorted(shape.parents & {*definition.parents, *before.parents})),
        quota=shape.quota if definition.quota else before.quota,
    )


def _as_written(
    there: RowFilter, wanted: Mapping[tuple[str, str], RowFilter], written: Mapping[str, str]
) -> RowFilter:
    want = wanted.get((there.database, there.table))
    if want is None or want.restrictive is not there.restrictive:
        return there
    return want if written.get(want.expression, want.expression) == there.expression else there


def _is_set(want: Setting, there: Setting) -> bool:
    """Whether the server says what is wanted, as numbers where both are numbers."""
    return want.const is there.const and all(
        one == other or _number(one) == _number(other)
        for one, other in ((want.value, there.value), (want.min, there.min), (want.max, there.max))
    )


def _number(value: object) -> object:
    """Return a setting's value as a number if it is one: true is 1, 10G is ten thousand million."""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    digits = text.rstrip("KMGTi")
    try:
        return Decimal(digits) * _UNITS[text[len(digits) :]]
    except (InvalidOperation, KeyError):
        return text


@dataclass(frozen=True, slots=True)
class _Strange:
    """What a role has that neither its definition nor the one before gave it."""

    role: str
    shape: Shape = NO_SHAPE
    taken: TakeGrants | None = None
    settings: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()

    def told(self) -> list[Foreign]:
        grants = self.taken.grants if self.taken else ()
        return [
            *(Foreign(self.role, "privilege", str(grant), is_role=True) for grant in grants),
            *(Foreign(self.role, "setting", name, is_role=True) for name in self.settings),
            *(
                Foreign(self.role, "setting", f"PROFILE {name}", is_role=True)
                for name in sorted(self.shape.profiles)
            ),
            *(Foreign(self.role, "parent role", name, is_role=True) for name in self.parents),
        ]


def _strange(
    name: str,
    state: RoleState | None,
    definition: RoleDefinition,
    applied: RoleDefinition | None,
    policy: Policy,
) -> _Strange:
    shape = state.shape if state else None
    if shape is None:
        return _Strange(name)
    ours = (definition, applied or definition)
    grants = tuple(excess(shape.grants, [grant for one in ours for grant in one.grants]))
    named = {setting.name for one in ours for setting in one.settings}
    given = {parent for one in ours for parent in one.parents} | {policy.marker}
    return _Strange(
        name,
        shape,
        TakeGrants(name, grants) if grants else None,
        tuple(sorted({setting.name for setting in shape.settings} - named)),
        tuple(sorted(shape.parents - given - policy.markers)),
    )


def _difference(
    old: RoleDefinition, new: RoleDefinition, strange: _Strange, *, revoke: bool
) -> Iterator[RoleStep]:
    """Yield what is taken, then what is given.

    A REVOKE reaches further than the grant it undoes: on `db.*` it takes a grant on `db.t` along,
    and on `db.t` it bites a hole into a grant on `db.*`. So after one, all that stays is granted
    again; a GRANT of what is held changes nothing, and closes such a hole.
    """
    gone_parents = {*old.parents} - {*new.parents} | {*(strange.parents if revoke else ())}
    if gone_parents:
        yield RevokeParents(new.name, tuple(sorted(gone_parents)))
    taken = [privilege for privilege in old.grants if privilege not in new.grants]
    for privilege in taken:
        yield RevokePrivilege(new.name, privilege)
    if revoke and strange.taken:
        yield strange.taken
    yield from _settings(old, new, strange, revoke=revoke)
    for row_filter in new.row_filters:
        if row_filter not in old.row_filters:
            yield SetRowFilter(new.name, *row_filter)
    yield from _quota(old, new)
    for privilege in new.grants:
        if taken or (revoke and strange.taken) or privilege not in old.grants:
            yield GrantPrivilege(new.name, privilege)
    filtered = {(one.database, one.table) for one in new.row_filters}
    for one in old.row_filters:
        if (one.database, one.table) not in filtered:
            yield DropRowFilter(new.name, one.database, one.table)
    if old.quota and not new.quota:
        yield DropQuota(new.name)


def _settings(
    old: RoleDefinition, new: RoleDefinition, strange: _Strange, *, revoke: bool
) -> Iterator[SetSettings]:
    changed = tuple(setting for setting in new.settings if setting not in old.settings)
    gone = {one.name for one in old.settings} - {one.name for one in new.settings}
    gone.update(strange.settings if revoke else ())
    profiles = tuple(sorted(strange.shape.profiles)) if revoke else ()
    if changed or gone or profiles:
        yield SetSettings(new.name, changed, tuple(sorted(gone)), profiles)


def _quota(old: RoleDefinition, new: RoleDefinition) -> Iterator[SetQuota]:
    had, has = ({one.seconds: {*one.limits} for one in each.quota} for each in (old, new))
    if new.quota and had != has:
        gone = {one.seconds for one in old.quota} - {one.seconds for one in new.quota}
        yield SetQuota(new.name, new.quota, tuple(sorted(gone)))


def _parents(
    old: RoleDefinition,
    new: RoleDefinition,
    actual: Actual,
    definitions: Mapping[str, RoleDefinition],
    policy: Policy,
) -> tuple[list[RoleStep], list[RoleRefusal]]:
    """Return what gives a role its parents, and why some of them can't be."""
    missing, refusals = [], []
    for parent in new.parents:
        state = actual.roles.get(parent)
        if (why := policy.why_never_given(parent)) is not None:
            error = f"parent role {parent!r} {why}: it is never given"
            refusals.append(RoleRefusal(new.name, None, error))
        elif state is None and parent not in definitions:
            error = f"there is no role {parent!r} to be the parent of {new.name!r}"
            refusals.append(RoleRefusal(new.name, UNKNOWN_ROLE, error))
        elif state is not None and state.manages_access:
            error = f"parent role {parent!r} manages access on this target: it is never given"
            refusals.append(RoleRefusal(new.name, None, error))
        elif parent not in old.parents:
            missing.append(parent)
    return ([GrantParents(new.name, tuple(missing))] if missing else []), refusals
