"""From what is wanted and what is there to the steps between: the decision, pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from workers.access.model import (
    Actual,
    Adopted,
    Door,
    Foreign,
    Home,
    Login,
    Policy,
    Refusal,
    UserState,
    Wanted,
)
from workers.access.ownership import Case, Decided, with_lost_marks
from workers.access.steps import (
    Adopt,
    Authenticate,
    Create,
    DefaultAll,
    DefaultList,
    Drop,
    GiveBack,
    Grant,
    KillQueries,
    Lock,
    Release,
    Remark,
    Rename,
    Reopen,
    RevokeAdmin,
    RevokeRoles,
    Settle,
    StripPrivileges,
    StripRoles,
    Unlock,
    UserStep,
)

UNKNOWN_ROLE = 511


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they are safe, and what can't be done.

    Everything that takes access away comes first, then renames, new users, log-ins, roles.
    `foreign`: what managed users hold that others gave them, and the steps leave alone.
    """

    steps: tuple[UserStep, ...]
    refusals: tuple[Refusal, ...]
    foreign: tuple[Foreign, ...] = ()


def plan(wanted: Sequence[Wanted], actual: Actual, policy: Policy) -> Plan:
    """Return what turns `actual` into what `wanted` says; a second plan after it is empty.

    `wanted` must have everybody who wants or was last seen under a `name` or `previous` of it, and
    `actual` must have been asked for all these and for the roles of `wanted`. Users that don't hold
    the marker role are never touched, nor are protected names. After every prefix of the steps
    nobody holds a role that is held neither before nor after, and nobody who is to be locked gets a
    way in; a plan made after a crash goes on from there (promise 4). The steps' order depends on
    the input's content only.

    While the caller has not yet recorded the new `previous`, a name that passed from one resource
    to another, and a new user that is locked, are dropped and created once more; everything else is
    recognised as done.

    A resource whose new name can't be had keeps its previous user and loses what it should lose.
    Users in `policy.unmarked` that are as they were left get the marker again, and count as managed
    from the start. Somebody whose user an operator holds (`Door.HELD`) counts as inactive.
    Somebody inactive has a locked user, also if nobody active was ever seen: what is there never
    depends on how many events came at once. A login is replaced where it differs as far as
    `system.users` shows it, or where its secret is not the one that was applied.
    """
    actual, unmarked = with_lost_marks(actual, policy)
    decided = Decided.of(_by_id(wanted), actual, policy)
    stays = _stays(decided, actual)
    refusals = (*decided.refusals, *_withheld(stays, actual))
    steps = (*_all(Remark, unmarked), *_steps(decided, stays, actual, policy))
    return Plan(steps, refusals, tuple(_foreign(stays, policy)))


def _by_id(wanted: Iterable[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda w: (w.resource_id, w.name or "", w.previous or ""))


@dataclass(frozen=True, slots=True)
class _Stay:
    """Somebody who is to be active: as wanted, and as there (None: there is no such user yet)."""

    case: Case
    state: UserState | None

    @property
    def held(self) -> frozenset[str]:
        return self.state.roles if self.state else frozenset()

    def missing(self, actual: Actual, *, admin: bool) -> frozenset[str]:
        """Return the roles to be granted, those to be handed on or the others."""
        case, held = self.case, self.held
        some = case.admin - self._admin if admin else case.roles - held - case.admin
        return frozenset(
            role for role in some if role in held or _why_not(self, role, actual) == ""
        )

    @property
    def _admin(self) -> frozenset[str]:
        return self.state.admin if self.state else frozenset()

    @property
    def too_much_admin(self) -> frozenset[str]:
        return (self._admin & self.case.roles) - self.case.admin

    @property
    def has_other_defaults(self) -> bool:
        """A new user's DEFAULT ROLE is the marker alone, from how it was created."""
        if self.state is None:
            return True
        seen = self.state.dormant & (self.held | self.case.roles)
        return not self.state.default_all or seen != self.case.dormant


def _stays(decided: Decided, actual: Actual) -> list[_Stay]:
    return [
        _Stay(case, actual.users[case.source] if case.source else None)
        for case in decided.cases
        if case.active
    ]


def _steps(
    decided: Decided, stays: Sequence[_Stay], actual: Actual, policy: Policy
) -> tuple[UserStep, ...]:
    users, cases = actual.users, decided.cases
    closing = decided.doomed | decided.shut
    closing |= {case.source for case in cases if case.source and not case.active}
    with_roles = {name for name in closing if users[name].roles}
    with_privileges = {name for name in closing if users[name].has_privileges}
    not_locked = {name for name in closing if not users[name].door.is_shut}
    privileged = {
        s.case.source for s in stays if s.case.source and s.state and s.state.has_privileges
    }
    back = [_Return(name, users[name], record) for name, record in sorted(decided.returned.items())]
    return (
        *_all(Adopt, decided.adopting),
        *_by_roles(RevokeRoles, _excess(stays, policy) | {r.name: r.excess for r in back}),
        *_by_roles(
            RevokeAdmin,
            {s.case.source: s.too_much_admin for s in stays if s.case.source}
            | {r.name: r.too_much_admin for r in back},
        ),
        *_all(StripRoles, with_roles),
        *_all(StripPrivileges, with_privileges | (privileged if policy.revoke_foreign else set())),
        # Killed between losing all rights and the lock: what begins in between can do nothing, and
        # whoever is found locked after a crash has been killed.
        *_all(KillQueries, with_roles | with_privileges | not_locked),
        *_all(Lock, not_locked),
        *_all(Drop, decided.doomed),
        *_renames(cases),
        *_by_login(Create, ((s.case.name, s.case.login) for s in stays if s.state is None)),
        *(
            Create(step.names, step.login, locked=True)
            for step in _by_login(
                Create,
                ((c.name, c.login) for c in cases if not c.active and c.source is None),
            )
        ),
        *_by_login(Unlock, _logins(stays, closed=True)),
        *_by_login(Authenticate, _logins(stays, closed=False)),
        *_reopened(stays),
        *_homes(stays),
        *_defaults(stays, dormant=True),
        *_by_roles(Grant, {s.case.name: s.missing(actual, admin=False) for s in stays}),
        *(
            replace(step, admin=True)
            for step in _by_roles(
                Grant, {s.case.name: s.missing(actual, admin=True) for s in stays}
            )
        ),
        *_defaults(stays, dormant=False),
        *(step for each in back for step in each.steps(actual)),
        *_all(Release, decided.returned),
    )


def _excess(stays: Iterable[_Stay], policy: Policy) -> dict[str, frozenset[str]]:
    return {
        stay.case.source: (stay.held if policy.revoke_foreign else stay.held & policy.vocabulary)
        - stay.case.roles
        for stay in stays
        if stay.case.source is not None
    }


def _foreign(stays: Iterable[_Stay], policy: Policy) -> Iterator[Foreign]:
    """Yield what is not ours to take, unless the policy says so; then it is gone by now."""
    if policy.revoke_foreign:
        return
    for stay in sorted(stays, key=lambda stay: stay.case.name):
        for role in sorted(stay.held - policy.vocabulary - stay.case.roles):
            yield Foreign(stay.case.name, "role", role)
        for privilege in stay.state.privileges if stay.state else ():
            yield Foreign(stay.case.name, "privilege", privilege)


def _renames(cases: Iterable[Case]) -> list[Rename]:
    """In any order: a new name is free by now, and an old one is wanted by nobody else."""
    pairs = ((case.source, case.name) for case in cases if case.source is not None)
    return sorted(
        (Rename(source, name) for source, name in pairs if source != name), key=lambda r: r.previous
    )


def _logins(stays: Iterable[_Stay], *, closed: bool) -> Iterator[tuple[str, Login | None]]:
    """Yield whose door is to be opened; or, of the open ones, who has another login or secret."""
    for stay in stays:
        if stay.state is None or stay.case.login is None or stay.case.kept is not None:
            continue
        if (stay.state.door is not Door.OPEN) is closed and (
            closed or stay.state.login != stay.case.login.observable or stay.case.is_secret_due
        ):
            yield stay.case.name, stay.case.login


@dataclass(frozen=True, slots=True)
class _Return:
    """Somebody who becomes what it was before it was adopted."""

    name: str
    state: UserState
    record: Adopted

    @property
    def excess(self) -> frozenset[str]:
        return self.state.roles.difference(self.record.roles)

    @property
    def too_much_admin(self) -> frozenset[str]:
        return self.state.admin.intersection(self.record.roles).difference(self.record.admin)

    def steps(self, actual: Actual) -> Iterator[UserStep]:
        """Yield what gives it back; roles that are no more can't be."""
        names, state, record = (self.name,), self.state, self.record
        login = state.login
        if state.door is not Door.OPEN or (login.hosts, login.until) != (
            record.hosts,
            record.until,
        ):
            yield Reopen(names, record.hosts, record.until)
        there = actual.roles.keys() | state.roles
        for roles, is_admin in (
            (set(record.roles) - state.roles - set(record.admin), False),
            (set(record.admin) - state.admin, True),
        ):
            if some := tuple(sorted(roles & there)):
                yield Grant(names, some, is_admin)
        if record.privileges and not state.has_privileges:
            yield GiveBack(names, record.privileges)
        if not record.default_all:
            listed = tuple(role for role in record.listed if role in there)
            if state.default_all or state.listed != set(listed):
                yield DefaultList(names, listed)
        elif not state.default_all or state.dormant != set(record.dormant):
            yield DefaultAll(names, record.dormant)


def _reopened(stays: Iterable[_Stay]) -> Iterator[Reopen]:
    """An adopted user gets in as it could before, at most until it may."""
    for stay in stays:
        kept, state, login = stay.case.kept, stay.state, stay.case.login
        if kept is None or state is None or login is None:
            continue
        until = min((end for end in (kept.until, login.until) if end is not None), default=None)
        if state.door is not Door.OPEN or state.login.until != until:
            yield Reopen((stay.case.name,), kept.hosts, until)


def _homes(stays: Iterable[_Stay]) -> Iterator[Settle]:
    groups: defaultdict[tuple[Home, tuple[str, ...]], list[str]] = defaultdict(list)
    for stay in stays:
        home, there = stay.case.home, stay.state.home if stay.state else Home()
        if stay.case.login is not None and stay.case.kept is None and home != there:
            groups[home, tuple(sorted(there.profiles - home.profiles))].append(stay.case.name)
    for (home, leaving), names in sorted(groups.items(), key=lambda group: min(group[1])):
        yield Settle(tuple(sorted(names)), home, leaving)


def _defaults(stays: Iterable[_Stay], *, dormant: bool) -> Iterator[DefaultAll]:
    """Roles that are to be dormant are told before they come; what is active at log-in, after."""
    groups: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for stay in stays:
        case = stay.case
        if case.login is not None and stay.has_other_defaults and bool(case.dormant) is dormant:
            groups[case.dormant].append(case.name)
    for roles, names in sorted(groups.items(), key=lambda group: min(group[1])):
        yield DefaultAll(tuple(sorted(names)), tuple(sorted(roles)))


def _why_not(stay: _Stay, role: str, actual: Actual) -> str:
    """Return why this role is not granted though it is wanted, "" if it is."""
    state = actual.roles.get(role)
    if state is None:
        return "is missing"
    if state.manages_access:
        return "manages access on this target: it is never given"
    if role in stay.case.made and not state.marked:
        return "exists and was not made by this software"
    return ""


def _withheld(stays: Iterable[_Stay], actual: Actual) -> Iterator[Refusal]:
    """Yield a refusal for whoever does not get a role; what somebody holds already is kept."""
    for stay in stays:
        case = stay.case
        missing = sorted(case.roles - stay.held)
        reasons = {role: why for role in missing if (why := _why_not(stay, role, actual))}
        unknown = [role for role, why in reasons.items() if why == "is missing"]
        if unknown:
            named = ", ".join(map(repr, unknown))
            error = f"there is no role {named} for user {case.name!r} on this target"
            yield Refusal(case.resource_id, case.name, UNKNOWN_ROLE, error)
        for role in sorted(reasons.keys() - unknown):
            error = f"role {role!r}, wanted for user {case.name!r}, {reasons[role]}"
            yield Refusal(case.resource_id, case.name, None, error)


_Many = TypeVar(
    "_Many", Adopt, Remark, Release, StripRoles, StripPrivileges, KillQueries, Lock, Drop
)
_WithLogin = TypeVar("_WithLogin", Create, Unlock, Authenticate)
_WithRoles = TypeVar("_WithRoles", RevokeRoles, RevokeAdmin, Grant)


def _all(kind: type[_Many], names: Iterable[str]) -> list[_Many]:
    ordered = tuple(sorted(names))
    return [kind(ordered)] if ordered else []


def _by_login(
    kind: type[_WithLogin], logins: Iterable[tuple[str, Login | None]]
) -> Iterator[_WithLogin]:
    groups: defaultdict[Login, list[str]] = defaultdict(list)
    for name, login in logins:
        if login is not None:
            groups[login].append(name)
    for login, names in sorted(groups.items(), key=lambda group: min(group[1])):
        yield kind(tuple(sorted(names)), login)


def _by_roles(
    kind: type[_WithRoles], changes: Mapping[str, frozenset[str]]
) -> Iterator[_WithRoles]:
    """Share steps by equal change, or, where that makes fewer, have one step for each role."""
    by_change: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    by_role: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, roles in changes.items():
        if roles:
            by_change[tuple(sorted(roles))].append(name)
        for role in roles:
            by_role[(role,)].append(name)
    for shared, names in sorted(min(by_change, by_role, key=len).items()):
        yield kind(tuple(sorted(names)), shared)
