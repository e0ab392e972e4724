"""Bringing users and roles on one target to what is wanted, and looking whether they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
from tenacity import (
    AsyncRetrying,
    retry_if_result,
    stop_after_delay,
    wait_random_exponential,
)

from app.clock import Clock
from app.directory.holds import Hold, Holds
from app.directory.lanes import ROLE, Braked, LaneStore, Letter, made_by
from app.directory.purges import Purges
from app.directory.shards import Shards
from app.directory.subjects import Subjects
from app.errors import TargetUnavailable
from workers.access.model import Actual, Adopted, Foreign, Policy, RoleDefinition, Wanted
from workers.access.ownership import ALREADY_EXISTS
from workers.access.plan import UNKNOWN_ROLE, Plan, plan
from workers.access.roles import RolePlan, plan_roles
from workers.access.statements import render
from workers.access.steps import (
    TAKING,
    Adopt,
    Authenticate,
    Create,
    Remark,
    Rename,
    Step,
    Unlock,
    UserStep,
    narrow,
)
from workers.brake import Brake, Braking
from workers.clickhouse.apply import Failure, apply
from workers.clickhouse.target import Target
from workers.lease import Lease
from workers.leaving import Farewell
from workers.letters import Fault
from workers.people import People, gather, is_stray, resource_behind
from workers.setup import Setup
from workers.witness import Witness

_ROUNDS = 3
_TOGETHER = 4  # statements that are announced to the witness in one call
LATE_ROLE_S = 3.0

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(RoleDefinition).decode
_decode_adopted = msgspec.json.Decoder(Adopted).decode


@dataclass(slots=True)
class Outcome:
    """What was reached. `names`, `settled`, `roles` and `secrets` as in `Acknowledgement`.

    `letters`: those that the resources had before, `faults`: those that they have to get, both by
    id; `tried`: the ids whose letters are over if they have no fault. `foreign`: what others gave
    and the policy keeps. `wiped`: the target had forgotten the marker role, so perhaps everything.
    `ends`: when what somebody active is to have changes by itself
    (seconds since 1970), by resource id.
    """

    names: dict[str, str | None] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    roles: dict[str, str | None] = field(default_factory=dict)
    secrets: dict[str, str | None] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    letters: Mapping[str, Letter] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    braking: Braking = field(default_factory=Braking)
    foreign: tuple[Foreign, ...] = ()
    steps: int = 0
    wiped: bool = False
    made_roles: bool = False

    def fault(self, fault: Fault) -> None:
        before = self.faults.get(fault.resource_id)
        self.faults[fault.resource_id] = before.joined(fault) if before else fault


@dataclass(frozen=True, slots=True)
class _Scope:
    """The roles of one attempt: those to be kept in shape, by name; of these the ones that are
    `made` for groups; all that somebody is to have; and all that are the tenant's to take.
    """

    definitions: Mapping[str, RoleDefinition]
    made: frozenset[str]
    roles: frozenset[str]
    vocabulary: frozenset[str]

    def with_roles(self, more: Collection[str]) -> _Scope:
        return replace(self, roles=self.roles.union(more))


@dataclass(frozen=True, slots=True)
class _Adoption:
    """What was said of single users, and what those of this attempt were that were adopted."""

    consents: Mapping[str, str]
    records: Mapping[str, Adopted]
    adopt_existing: bool

    @property
    def is_possible(self) -> bool:
        return bool(self.adopt_existing or self.consents or self.records)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(role for record in self.records.values() for role in record.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """One batch's way onto the target. `log_comment` goes with each statement (promise 9). Without
    a `brake` nothing is held. `witness` hears of statements and of what users hold then,
    `farewell` of who leaves.
    `only_takes`: what anybody would get is left to the events that give it: nobody is created,
    renamed or let in, and no letter is over. `is_new`: nothing was ever brought onto this target.
    `is_unmarked`: users may have lost the marker with its role; whoever is as they were left gets
    it again.
    """

    setup: Setup
    shards: Shards
    store: LaneStore
    subjects: Subjects
    holds: Holds
    purges: Purges
    target: Target
    lease: Lease
    vocabulary: frozenset[str]
    clock: Clock
    log_comment: str
    brake: Brake | None = None
    witness: Witness | None = None
    farewell: Farewell | None = None
    only_takes: bool = False
    is_new: bool = False
    is_unmarked: bool = False

    async def run(
        self,
        ids: Sequence[str],
        retry: frozenset[str] | None,
        strays: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> Outcome:
        """Observe, plan, apply, and look again, until nothing is left to do or nothing more helps.

        `retry`: the roles to be shaped although they have a dead letter; None for all. `strays`:
        names of managed users that no resource is behind. `groups`: ids of those that may need a
        role to be made. Raises TargetError if the target as a whole can't be used, LeaseLost,
        DirectoryUnavailable.
        """
        fresh = retry != frozenset()
        outcome = await self._attempt(ids, retry, strays, groups, fresh=fresh)
        # Perhaps only since the roles are not what they were, or not known everywhere yet.
        if outcome.faults and (outcome.made_roles or not fresh):
            once_more = replace(self, is_unmarked=self.is_unmarked or outcome.wiped)
            again = partial(once_more._attempt, ids, retry, strays, groups, fresh=True)  # noqa: SLF001 - ours
            wiped, outcome = outcome.wiped, await _until_roles_are_known(again, outcome)
            outcome.wiped = outcome.wiped or wiped
        return outcome

    async def _attempt(
        self,
        ids: Sequence[str],
        retry: frozenset[str] | None,
        strays: Sequence[str],
        groups: Sequence[str],
        *,
        fresh: bool,
        braking: Braking | None = None,
    ) -> Outcome:
        now_s = self.clock.now_ms() / 1000
        people = await gather(
            self.subjects, self.setup.rules, ids, strays, holds=self.holds, now_s=now_s
        )
        people = await self._with_purges(people)
        scope = await self._scope(people, groups, everything=retry is None)
        role_ids = [ROLE + name for name in {*scope.definitions, *(retry or ())}]
        asked = None if retry is None else [*people.persons, *ids, *role_ids]
        letters, recorded, adoption, braked, _ = await asyncio.gather(
            self.store.letters(asked),
            self.store.roles(),
            self._adoption(people),
            self._braked(people),
            self._introduce(people),
        )
        scope = scope.with_roles(adoption.roles)
        fresh = fresh or adoption.is_possible  # SHOW does not tell one user of a name from another
        tried = set() if self.only_takes else {*people.persons, *ids}
        outcome = Outcome(letters=letters, tried=tried)
        if not people.persons and not scope.made and retry == frozenset():
            return outcome
        actual = await self._observe(people, scope, fresh=fresh)
        outcome.wiped = self.setup.marker not in actual.roles
        if outcome.wiped and not self.is_new:
            await self._know_of_loss()
        await self._keep_holds(people, actual)
        for _ in range(_ROUNDS):
            sent = await self._shape_roles(actual, scope, recorded, retry, outcome)
            if sent:
                actual = await self._observe(people, scope, fresh=True)
            if not sent:
                break
            if not self._has_lost_a_race(actual, outcome):
                await self._blame_roles(actual, scope, recorded, retry, outcome)
                break
        self._settle_roles(actual, recorded, outcome)
        await self._place_users(
            people, actual, scope, outcome, adoption, fresh=fresh, braked=braked, braking=braking
        )
        return outcome

    async def _know_of_loss(self) -> None:
        """Note that the marker role is gone, before it is made again: later parts have to know."""
        text = (
            f"the marker role {self.setup.marker!r} was gone from the target: the lane goes"
            " through the whole directory, and users that it left there are marked again"
        )
        self.lease.require(await self.store.unmarked(self.lease.epoch, text))

    async def _introduce(self, people: People) -> None:
        if self.witness is not None:
            await self.witness.meet(people)

    async def _adoption(self, people: People) -> _Adoption:
        consents, texts = await asyncio.gather(
            self.store.consents(), self.store.adopted(people.names())
        )
        records = {name: _decode_adopted(text) for name, text in texts.items()}
        return _Adoption(consents, records, self.setup.adopt_existing)

    async def _scope(self, people: People, groups: Sequence[str], *, everything: bool) -> _Scope:
        """Return the roles that this attempt is about; those out of group names are remembered
        before they are given, so that they can be taken again.
        """
        rules, setup = self.setup.rules, self.setup
        made: frozenset[str] = frozenset()
        if rules.role_map.prefix is not None:
            names = await self.subjects.likes(None if everything else groups)
            links = await self.subjects.links() if names else {}
            made = people.made() | rules.made_for(names, links)
        roles, vocabulary = people.roles() | made, self.vocabulary
        if not roles <= vocabulary:
            vocabulary |= await self.store.vocabulary(roles - vocabulary)
        empty = {name: RoleDefinition(name, is_open=True) for name in made}
        return _Scope({**empty, **setup.definitions}, made, roles, vocabulary)

    async def _observe(self, people: People, scope: _Scope, *, fresh: bool) -> Actual:
        self.lease.check()
        roles = self.setup.rules.role_map.vocabulary | scope.roles | scope.definitions.keys()
        return await self.target.observe(
            people.names(),
            roles.union(*(definition.parents for definition in scope.definitions.values())),
            definitions=scope.definitions.values(),
            fresh=fresh,
            log_comment=self.log_comment,
        )

    async def _braked(self, people: People) -> Braked | None:
        return None if self.brake is None else await self.brake.look(people.persons)

    async def _keep_holds(self, people: People, actual: Actual) -> None:
        """Make holds that were made on the target alone, while Redis was away, the tenant's."""
        on_target = {name for name, state in actual.users.items() if state.is_held}
        for i, person in people.persons.items() if on_target else ():
            for name in on_target & {person.want.name, *person.candidates}:
                user = self.setup.rules.user_name_behind(name) or name
                if not people.held.covers(i, user):
                    hold = Hold(
                        user=user,
                        resource_id=None if is_stray(i) else i,
                        since_ms=self.clock.now_ms(),
                        reason=f"found on {self.setup.target}",
                        on_targets=True,
                    )
                    await self.holds.put(hold, self.setup.siblings)

    async def _shape_roles(
        self,
        actual: Actual,
        scope: _Scope,
        recorded: Mapping[str, str],
        retry: frozenset[str] | None,
        outcome: Outcome,
    ) -> bool:
        """Bring the roles of the configuration into shape; return whether anything was sent."""
        setup = self.setup
        outcome.faults = {}
        definitions = self._shapeable(scope, retry, outcome)
        shaping = await self._role_plan(definitions, actual, scope, recorded)
        outcome.foreign = shaping.foreign
        for refusal in shaping.refusals:
            outcome.fault(_role_fault(refusal.name, refusal.code, refusal.error))
        if shaping.steps:
            made = [name for name in shaping.creates if name != setup.marker]
            outcome.made_roles = outcome.made_roles or bool(made)
            self.lease.require(await self.store.intend(self.lease.epoch, {}, made))
            await self._announce(shaping.steps)
            failures = await self._apply(shaping.steps)
            outcome.steps += len(shaping.steps)
            for failure in failures:
                if failure.name == setup.marker:
                    # Without it nobody can be told to be ours: the lane waits, nobody is parked.
                    error = f"can't make the marker role {failure.name!r}: {failure.error}"
                    raise TargetUnavailable(error, code=failure.code, statement=failure.statement)
                outcome.fault(
                    _role_fault(failure.name, failure.code, failure.error, failure.statement)
                )
        outcome.tried |= {ROLE + name for name in definitions}
        outcome.tried |= {i for i in outcome.letters if self._is_of_no_role(i, scope)}
        for name, definition in definitions.items():
            if ROLE + name not in outcome.faults:
                text = _encode(definition).decode()
                if recorded.get(name) != text:
                    outcome.roles[name] = text
        return bool(shaping.steps)

    @staticmethod
    def _shapeable(
        scope: _Scope, retry: frozenset[str] | None, outcome: Outcome
    ) -> dict[str, RoleDefinition]:
        return {
            name: definition
            for name, definition in scope.definitions.items()
            if retry is None or name in retry or ROLE + name not in outcome.letters
        }

    async def _role_plan(
        self,
        definitions: Mapping[str, RoleDefinition],
        actual: Actual,
        scope: _Scope,
        recorded: Mapping[str, str],
    ) -> RolePlan:
        ours = {role for role, text in recorded.items() if not text}
        return plan_roles(
            definitions,
            actual,
            {role: _decode(text) for role, text in recorded.items() if text},
            self.setup.policy(scope.vocabulary),
            ours | await self._roles_of_partners(actual),
        )

    async def _blame_roles(
        self,
        actual: Actual,
        scope: _Scope,
        recorded: Mapping[str, str],
        retry: frozenset[str] | None,
        outcome: Outcome,
    ) -> None:
        """Blame roles that are still not as they should be, such as for a setting that the server
        writes in another way: or each batch would send the same again.
        """
        definitions = self._shapeable(scope, retry, outcome)
        made = {name: _encode(one).decode() for name, one in definitions.items()}
        left = await self._role_plan(definitions, actual, scope, {**recorded, **made})
        for step in left.steps:
            if ROLE + step.role not in outcome.faults:
                error = f"{type(step).__name__} had no effect; see what the target has"
                outcome.fault(_role_fault(step.role, None, error))
                outcome.roles.pop(step.role, None)

    def _is_of_no_role(self, letter: str, scope: _Scope) -> bool:
        """Whether this is the letter of a role that the configuration no longer makes."""
        if not letter.startswith(ROLE):
            return False
        role, prefix = letter.removeprefix(ROLE), self.setup.rules.role_map.prefix
        return role not in scope.definitions and (prefix is None or not role.startswith(prefix))

    async def _roles_of_partners(self, actual: Actual) -> set[str]:
        """Return the existing roles that another tenant's lane here has made or is about to make.

        Tenants may define one role alike on a target; whoever comes first makes it.
        """
        here = {name: actual.roles.get(name) for name in self.setup.definitions}
        names = {name for name, role in here.items() if role is not None and not role.marked}
        made: set[str] = set()
        if names:
            for link, partners in self.shards.by_link(self.setup.partners).items():
                made |= await made_by(link, self.setup.target, partners, names - made)
        return made

    def _has_lost_a_race(self, actual: Actual, outcome: Outcome) -> bool:
        """Whether a role is refused only since another tenant made it a moment earlier."""
        return any(
            fault.code == ALREADY_EXISTS and fault.name in actual.roles and self.setup.partners
            for fault in outcome.faults.values()
        )

    @staticmethod
    def _settle_roles(actual: Actual, recorded: Mapping[str, str], outcome: Outcome) -> None:
        """Forget the intention where the role was refused: one that appears later is no role of
        ours.
        """
        for fault in outcome.faults:
            role = fault.removeprefix(ROLE)
            if role not in actual.roles and not recorded.get(role):
                outcome.roles[role] = None

    async def _place_users(
        self,
        people: People,
        actual: Actual,
        scope: _Scope,
        outcome: Outcome,
        adoption: _Adoption,
        *,
        fresh: bool,
        braked: Braked | None,
        braking: Braking | None,
    ) -> None:
        policy = replace(
            self.setup.policy(scope.vocabulary),
            consents=adoption.consents,
            adopted=adoption.records,
            unmarked=self._unmarked(people, outcome),
        )
        failed: dict[str, Failure] = {}
        intended = dict(people.intents)
        for turn in range(_ROUNDS + 1):
            wanted, decided = self._decide(people, actual, policy)
            if turn == 0:
                # A second attempt keeps what was judged before the first had changed anything.
                outcome.braking = braking or await self._brake(
                    decided, wanted, actual, outcome, braked
                )
            waiting = outcome.braking.names
            steps = _without(decided.steps, failed.keys() | waiting)
            if not steps or turn == _ROUNDS:
                break
            records = await self._keep_adopted(steps, actual)
            policy = replace(policy, adopted={**policy.adopted, **records})
            made = await self._note(steps, wanted)
            intended |= made
            failures = await self._apply(steps)
            # Whoever is without the marker after this has been given back.
            again = {name for step in steps if isinstance(step, Remark) for name in step.names}
            policy = replace(policy, unmarked=policy.unmarked - again)
            failed |= {failure.name: failure for failure in failures}
            outcome.steps += len(steps)
            actual = await self._observe(people, scope, fresh=fresh)
            secrets = _secrets_set(steps, wanted, failed)
            people = people.told(_without_failed(made, steps, failed)).with_applied(secrets)
            outcome.secrets |= secrets
        if self.witness is not None:
            self.witness.saw(people, actual)
        outcome.foreign += decided.foreign
        refused = {resource_behind(refusal.resource_id) for refusal in decided.refusals}
        _add_faults(outcome, people, decided, wanted, failed, waiting)
        held = {i for i, loss in outcome.braking.held.items() if loss is not None}
        outcome.tried -= held
        people = people.without(held)
        if self.only_takes:  # whoever is to get a name has not got it
            people, intended = people.staying(), {}
        given_back = {name for name, said in policy.consents.items() if said == "no"}
        _add_names(outcome, people, actual, intended, refused=refused, given_back=given_back)
        outcome.ends = {
            i: person.want.due
            for i, person in people.persons.items()
            if (person.want.active or person.want.name is None) and person.want.due is not None
        }
        purged = [i for i, person in people.persons.items() if person.want.is_purged]
        await self.purges.forget([i for i in purged if outcome.names.get(i, "") is None])

    def _unmarked(self, people: People, outcome: Outcome) -> frozenset[str]:
        """Return the names that may have lost the marker with its role; not of those whose user
        was nobody's before.
        """
        if not (self.is_unmarked or outcome.wiped):
            return frozenset()
        strangers = {i for i, one in outcome.letters.items() if one.code == ALREADY_EXISTS}
        return frozenset(
            person.applied
            for i, person in people.persons.items()
            if person.applied is not None and i not in strangers
        )

    async def _with_purges(self, people: People) -> People:
        """Return the same with when users of deleted resources go, where they are only locked."""
        after_ms, now_ms = self.setup.purge_after_ms, self.clock.now_ms()
        if after_ms is None:
            return people
        deleted = [i for i, person in people.persons.items() if person.want.name is None]
        return people.with_purges(await self.purges.due(deleted, now_ms + after_ms), now_ms)

    def _decide(
        self, people: People, actual: Actual, policy: Policy
    ) -> tuple[Sequence[Wanted], Plan]:
        wanted = people.wanted(actual)
        if not self.only_takes:
            return wanted, plan(wanted, actual, policy)
        wanted = [want.staying for want in wanted if want.previous is not None]
        steps = plan(wanted, actual, policy).steps
        return wanted, Plan(tuple(step for step in steps if isinstance(step, TAKING)), ())

    async def _brake(
        self,
        decided: Plan,
        wanted: Sequence[Wanted],
        actual: Actual,
        outcome: Outcome,
        before: Braked | None,
    ) -> Braking:
        if self.brake is None or before is None:
            return Braking()
        return await self.brake.hold(decided.steps, wanted, actual, before, outcome.letters)

    async def _keep_adopted(self, steps: Iterable[UserStep], actual: Actual) -> dict[str, Adopted]:
        """Keep what users are that these steps adopt, before the first of them is sent."""
        names = [name for step in steps if isinstance(step, Adopt) for name in step.names]
        records = {}
        for name in names:
            state = actual.users[name]
            held = await self.target.privileges_of(name) if state.has_privileges else ()
            records[name] = Adopted.of(state, held)
        if records:
            self.lease.check()
            await self.store.keep_adopted({n: _encode(r).decode() for n, r in records.items()})
            if self.witness is not None:
                await self.witness.keep_adopted(records)
        return records

    async def _note(self, steps: Sequence[UserStep], wanted: Sequence[Wanted]) -> dict[str, str]:
        """Note, in one turn, all that has to be known before the first of these steps is sent;
        return the names that they make, as `_intend` does.
        """
        made, _, _ = await asyncio.gather(
            self._intend(steps, wanted), self._announce(steps), self._part(steps, wanted)
        )
        return made

    async def _part(self, steps: Sequence[UserStep], wanted: Sequence[Wanted]) -> None:
        if self.farewell is not None:
            await self.farewell.before(steps, wanted)

    async def _announce(self, steps: Iterable[Step]) -> None:
        """Tell the witness all statements at once, where they are few: whoever waits for one change
        does not wait for the ledger's words about each. Where they are many, a crash leaves one in
        doubt.
        """
        if self.witness is not None:
            ahead = [statement for step in steps for statement in render(step, self.setup.marker)]
            if len(ahead) <= _TOGETHER:
                await self.witness.announce(ahead)

    async def _intend(self, steps: Iterable[UserStep], wanted: Sequence[Wanted]) -> dict[str, str]:
        """Note the names that these steps make, before the first of them is sent."""
        owners = {want.name: want.resource_id for want in wanted if want.name is not None}
        made = [
            name
            for step in steps
            if isinstance(step, Create | Rename)
            for name in ((step.name,) if isinstance(step, Rename) else step.names)
        ]
        names = {name: owners[name] for name in made}
        if names:
            self.lease.require(await self.store.intend(self.lease.epoch, names))
        return names

    async def _apply(self, steps: Sequence[Step]) -> tuple[Failure, ...]:
        return await apply(
            self.target,
            steps,
            self.setup.marker,
            check=self.lease.check,
            log_comment=self.log_comment,
            witness=self.witness,
        )


async def _until_roles_are_known(
    attempt: Callable[..., Awaitable[Outcome]], first: Outcome
) -> Outcome:
    """Return what comes of another attempt; where roles have just been made, of some more of them.

    On a replicated storage a role may be unknown for a moment after its CREATE ROLE
    (ClickHouse#106521). A role that stays unknown is not there.
    """
    retrying = AsyncRetrying(
        stop=stop_after_delay(LATE_ROLE_S if first.made_roles else 0),
        wait=wait_random_exponential(multiplier=0.05, max=0.5),
        retry=retry_if_result(
            lambda outcome: any(fault.code == UNKNOWN_ROLE for fault in outcome.faults.values())
        ),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    return await retrying(attempt, braking=first.braking)


def _role_fault(name: str, code: int | None, error: str, statement: str = "") -> Fault:
    named = error if repr(name) in error or f"`{name}`" in error else f"role {name!r}: {error}"
    return Fault(resource_id=ROLE + name, name=name, code=code, error=named, statement=statement)


def _without(steps: Iterable[UserStep], names: Collection[str]) -> list[UserStep]:
    """Return the steps for everybody but these."""
    parts = ((step, tuple(n for n in step.names if n not in names)) for step in steps)
    return [narrow(step, rest) for step, rest in parts if rest]


def _without_failed(
    made: Mapping[str, str], steps: Iterable[UserStep], failed: Collection[str]
) -> dict[str, str]:
    """Return the names that were really made: a refused DROP or RENAME leaves the old user."""
    stayed = {step.name for step in steps if isinstance(step, Rename) and step.previous in failed}
    return {name: i for name, i in made.items() if name not in failed and name not in stayed}


def _secrets_set(
    steps: Iterable[UserStep], wanted: Iterable[Wanted], failed: Collection[str]
) -> dict[str, str]:
    """Return the digests of the passwords that these steps have set, by resource id."""
    owners = {want.name: want.resource_id for want in wanted if want.name is not None}
    return {
        owners[name]: step.login.digest
        for step in steps
        if isinstance(step, Create | Unlock | Authenticate)
        for name in step.names
        if name not in failed
    }


def _add_faults(  # noqa: PLR0917 - one caller, every part its own
    outcome: Outcome,
    people: People,
    decided: Plan,
    wanted: Iterable[Wanted],
    failed: Mapping[str, Failure],
    waiting: Collection[str],
) -> None:
    """Blame whoever is refused, and whoever is still not what the last plan wants."""
    for refusal in (*people.refusals, *decided.refusals):
        outcome.fault(
            Fault(
                resource_id=resource_behind(refusal.resource_id),
                name=refusal.name,
                code=refusal.code,
                error=refusal.error,
            )
        )
    owners = {want.previous: want.resource_id for want in wanted if want.previous is not None}
    owners |= {want.name: want.resource_id for want in wanted if want.name is not None}
    for step in decided.steps:
        for name in step.names:
            if name in waiting:
                continue
            failure = failed.get(name)
            error = failure.error if failure else f"{type(step).__name__} had no effect"
            outcome.fault(
                Fault(
                    resource_id=resource_behind(owners[name]),
                    name=name,
                    code=failure.code if failure else None,
                    error=f"user {name!r}: {error}",
                    revocation=isinstance(step, TAKING),
                    step=type(step).__name__,
                    statement=failure.statement if failure else "",
                )
            )


def _add_names(
    outcome: Outcome,
    people: People,
    actual: Actual,
    intended: Mapping[str, str],
    *,
    refused: Collection[str],
    given_back: Collection[str],
) -> None:
    """Tell from what exists now who is called what, and which intentions are over.

    A user that somebody has taken the marker from is not ours to change, but it stays known whose
    it was: what it still holds must not look as if it were in order. Not so if we gave it back.
    """
    managed = {name for name, state in actual.users.items() if state.managed}
    owners = {
        person.want.name: i
        for i, person in people.persons.items()
        if person.want.name in managed and i not in refused
    }
    for i, person in people.persons.items():
        called = (person.want.name, *person.candidates)
        name = next((n for n in called if n in managed and owners.get(n, i) == i), None)
        kept = person.applied
        if name is None and kept == person.want.name and kept in actual.users.keys() - given_back:
            name = kept
        if name != person.applied:
            outcome.names[i] = name
        if name is None:
            outcome.secrets[i] = None
        for intent, owner in intended.items():
            if owner == i and (intent not in managed or intent == name or intent in owners):
                outcome.settled.append(intent)
