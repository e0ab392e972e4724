"""Which user on a target belongs to which resource, and which belongs to nobody any more.

A user is told by its name. Where a name passes from one resource to another within a plan, the
newcomer gets a new user, never the old one: an open session of the former holder would go on with
every role that the newcomer may hold too (what a session may do follows the user's grants, so a
role that is granted back works in it again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from workers.access.model import (
    Actual,
    Adopted,
    Door,
    Home,
    Login,
    Policy,
    Refusal,
    UserState,
    Wanted,
)

NO_HOME = Home()
ALREADY_EXISTS = 493  # ACCESS_ENTITY_ALREADY_EXISTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One user as it should be. `source`: the user that exists and becomes it, None for a new one.

    `login` None: leave door, login, home and default roles as they are. `is_secret_due`: the login
    is to be set although it looks the same. `admin`, `dormant`, `made`: as in `Wanted`.
    `kept`: what the user was before it was adopted; its log-in and home stay as they were.
    """

    resource_id: str
    name: str
    source: str | None
    active: bool
    roles: frozenset[str]
    login: Login | None
    is_secret_due: bool = False
    admin: frozenset[str] = frozenset()
    dormant: frozenset[str] = frozenset()
    kept: Adopted | None = None
    made: frozenset[str] = frozenset()
    home: Home = NO_HOME


@dataclass(slots=True)
class Decided:
    """Whose user is which. `doomed` go; `shut` stay locked; `returned` become what they were before
    they were adopted; all of them are managed. `adopting`: those that become managed now.
    """

    cases: list[Case] = field(default_factory=list)
    doomed: set[str] = field(default_factory=set)
    shut: set[str] = field(default_factory=set)
    returned: dict[str, Adopted] = field(default_factory=dict)
    adopting: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: Sequence[Wanted], actual: Actual, policy: Policy) -> Decided:
        decided = cls()
        holders = decided._give_names(wanted, actual, policy)
        sources = decided._find_previous(wanted, holders, actual, policy)
        for want in wanted:
            source = sources.get(want.resource_id)
            if want.name is None:
                if source is not None:
                    goes = policy.drop_deleted or want.is_purged
                    (decided.doomed if goes else decided.shut).add(source)
            elif holders.get(want.name) is want:
                decided._settle(want, want.name, source, actual, policy)
            elif source is not None:
                decided._only_take(want, source, actual.users[source])
        return decided

    def _give_names(
        self, wanted: Sequence[Wanted], actual: Actual, policy: Policy
    ) -> dict[str, Wanted]:
        """Return who gets each name; refuse the others. Whoever had it last time goes first."""
        holders: dict[str, Wanted] = {}
        for want in sorted(wanted, key=lambda w: w.previous != w.name):
            if want.name is None:
                continue
            state = actual.users.get(want.name)
            if policy.protects(want.name):
                self._refuse(want, want.name, None, "is a protected name and is never touched")
            elif want.name == policy.marker or want.name in policy.vocabulary:
                # GRANT … TO x means the user where a role has the same name.
                self._refuse(want, want.name, None, "is the name of a role of this tenant")
            elif state is not None and (why := self._why_not(want, want.name, state, policy)):
                self._refuse(want, want.name, ALREADY_EXISTS, why)
            elif want.name in holders:
                self._refuse(want, want.name, ALREADY_EXISTS, "belongs to another resource")
            else:
                holders[want.name] = want
                if state is not None and not state.managed:
                    self.adopting.add(want.name)
        return holders

    def _why_not(self, want: Wanted, name: str, state: UserState, policy: Policy) -> str | None:
        """Return why the user of this name can't be the resource's; None if it can."""
        record = policy.record_of(name, state)
        if state.managed:
            if record is None or policy.consents.get(name) != "no":
                return None
            self.returned[name] = record
            return "was adopted and is given back"
        if not (policy.adopts(name) and want.active):
            return _stranger(name, policy)
        if state.manages_access or any(map(policy.why_never_given, state.roles)):
            return "exists and manages access, so it is not adopted"
        if state.door is not Door.OPEN:
            return "exists and can't log in as it is, so it is not adopted"
        return None

    def _find_previous(
        self,
        wanted: Sequence[Wanted],
        holders: dict[str, Wanted],
        actual: Actual,
        policy: Policy,
    ) -> dict[str, str]:
        """Return, by resource, the managed user under another name that is still its own.

        A user whose name goes to another resource of this plan is nobody's: it is doomed.
        """
        sources: dict[str, str] = {}
        taken: set[str] = set()
        for want in sorted(wanted, key=lambda w: (w.name is not None, w.active)):  # leavers first
            previous = want.previous
            state = actual.users.get(previous) if previous is not None else None
            if previous is None or state is None or policy.protects(previous):
                continue
            holder, record = holders.get(previous), policy.record_of(previous, state)
            if not state.managed:
                if want.name is None and record is None:
                    self._refuse(want, previous, ALREADY_EXISTS, _stranger(previous, policy))
            elif holder is want or previous in self.returned:
                continue
            elif record is not None:
                self.returned[previous] = record
            elif holder is not None:
                if holder.previous != previous:
                    self.doomed.add(previous)
            elif previous not in taken:
                taken.add(previous)
                sources[want.resource_id] = previous
        return sources

    def _settle(
        self, want: Wanted, name: str, source: str | None, actual: Actual, policy: Policy
    ) -> None:
        state = None if name in self.doomed else actual.users.get(name)
        record = policy.record_of(name, state)
        if state and record and want.previous != name and state.door is not Door.OPEN:
            self.returned[name] = record
        if name in self.returned:
            self._refuse(want, name, ALREADY_EXISTS, "was adopted for another and is given back")
            return
        if state and want.previous != name and state.door not in {Door.OPEN, Door.HELD}:
            # What somebody who left has kept under this name, maybe with a session still open.
            self.doomed.add(name)
            state = None
        if state is not None:
            if source is not None:
                self.doomed.add(source)
            source = name
        is_held = source is not None and actual.users[source].door is Door.HELD
        never = self._never_given(want, name, policy) if want.active else frozenset()
        self.cases.append(
            Case(
                resource_id=want.resource_id,
                name=name,
                source=source,
                active=want.active and not is_held,
                roles=want.roles - never,
                login=want.login,
                is_secret_due=want.is_secret_due,
                admin=want.admin - never,
                dormant=want.dormant - never,
                made=want.made - never,
                home=want.home,
                kept=Adopted.of(state) if state and name in self.adopting else record,
            )
        )

    def _never_given(self, want: Wanted, name: str, policy: Policy) -> frozenset[str]:
        """Return the roles that nobody gets, and tell of them: group names may have made them."""
        never = {role: why for role in want.roles if (why := policy.why_never_given(role))}
        for role, why in sorted(never.items()):
            error = f"role {role!r}, wanted for user {name!r}, {why}: it is never given"
            self.refusals.append(Refusal(want.resource_id, name, None, error))
        return frozenset(never)

    def _only_take(self, want: Wanted, source: str, state: UserState) -> None:
        """A refused name is no reason to keep what was to be taken: a revocation never waits."""
        self.cases.append(
            Case(
                resource_id=want.resource_id,
                name=source,
                source=source,
                active=want.active,
                roles=want.roles & state.roles,
                login=None,
                admin=want.admin & state.admin,
            )
        )

    def _refuse(self, want: Wanted, name: str, code: int | None, reason: str) -> None:
        self.refusals.append(Refusal(want.resource_id, name, code, f"user {name!r} {reason}"))


def _stranger(name: str, policy: Policy) -> str:
    if name in policy.unmarked:
        return (
            "exists and is not managed: the marker role was dropped, and the user is not as this"
            " software left it"
        )
    return "exists and is not managed"


def with_lost_marks(actual: Actual, policy: Policy) -> tuple[Actual, frozenset[str]]:
    """Return `actual` with those users managed that lost their mark with the role, and who it is.

    Taking access from them must not wait until they have it again.
    """
    lost = {n: state for n, state in actual.users.items() if policy.has_lost_mark(n, state)}
    managed = {name: replace(state, managed=True) for name, state in lost.items()}
    return replace(actual, users={**actual.users, **managed}), frozenset(lost)
