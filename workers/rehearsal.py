"""A dry run of a lane: its own convergence over the whole directory, with nothing written anywhere.

The target is looked at for real; what would be sent to it is kept, and its effect is simulated on
top of what was seen. What a lane would write to Redis stays in memory for as long as the dry run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from app.clock import Clock
from app.directory.holds import Hold, Holds
from app.directory.lanes import RESYNC_DONE, LaneStore
from app.directory.link import Link
from app.directory.purges import Purges
from app.directory.shards import Shards
from app.directory.subjects import Subject, Subjects
from app.errors import StatementRefused
from workers.access.guard import NOTHING, Tally, balance
from workers.access.model import Actual, Foreign, RoleDefinition, RoleState, UserState
from workers.access.simulate import Impossible, simulate
from workers.access.statements import Statement
from workers.access.steps import ROLE_STEPS, Rename
from workers.brake import Foreseen, foresee
from workers.clickhouse.pool import Pool
from workers.clickhouse.target import Target
from workers.convergence import Convergence, Outcome
from workers.lease import Lease
from workers.letters import Fault
from workers.setup import Setup
from workers.walk import WALK_START, Walk

# Resources. Each look reads all grants of the target, so with many users few looks cost least; no
# statement is sent, so nobody waits for a large part.
AT_ONCE = 2000


@dataclass(slots=True)
class Rehearsed:
    """What a lane would do. `users`, `roles`: those that would change, each as it is and as it
    would be, None where there is none. `faults`: what could not be had, by resource id; of those in
    `known` the target has, or had, a user of ours. `foreign`: what others gave and stays, in
    order. `holds`: those that the target keeps and the tenant does not know. `lost`: what users
    lose by the statements, by name; `braked`: what of it an operator would have to confirm first.
    `looked_at`: how many resources.
    """

    statements: list[Statement] = field(default_factory=list)
    users: dict[str, tuple[UserState | None, UserState | None]] = field(default_factory=dict)
    roles: dict[str, tuple[RoleState | None, RoleState | None]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    foreign: dict[Foreign, None] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    lost: dict[str, Tally] = field(default_factory=dict)
    braked: Foreseen | None = None
    looked_at: int = 0


async def rehearse(
    setup: Setup,
    shards: Shards,
    pool: Pool,
    *,
    at_once: int = AT_ONCE,
    clock: Clock,
    told: Callable[[int], None] = lambda _: None,
    most: int | None = None,
) -> Rehearsed:
    """Return what the lane of `setup` would do if it went through everybody now.

    In parts, so that neither server is asked for much at once; `told` hears after each how many
    resources were looked at. Memory grows with what would change: `most` ends it early, when so
    many users and roles would. Raises TargetError, DirectoryUnavailable.
    """
    link = shards.of(setup.tenant)
    store = _Store(link, setup.tenant, setup.target)
    subjects = _Subjects(link, store)
    done = Rehearsed()
    target = _Target(pool, setup.marker, clock, done)
    role_map = setup.rules.role_map
    await store.pretend_links(role_map.keys)
    if role_map.reads_names:
        store.likes = await store.likable(role_map.reads)
    convergence = Convergence(
        setup=setup,
        shards=shards,
        store=store,
        subjects=subjects,
        holds=_Holds(link, setup.tenant, done),
        purges=_Purges(link, setup.tenant, setup.target),
        target=target,
        lease=Lease(store, 0, math.inf, sent_at=0.0, clock=clock),
        vocabulary=role_map.vocabulary | await store.vocabulary(()),
        clock=clock,
        log_comment="",
    )
    is_blank = (await store.status()).last_seq == 0
    if await store.is_unmarked():
        convergence = replace(convergence, is_unmarked=True)
    walk = Walk(store, subjects, target)
    position = WALK_START
    retry: frozenset[str] | None = None
    while position != RESYNC_DONE:
        part = await walk.step(position, at_once, is_blank=is_blank)
        position = part.reached
        outcome = await convergence.run(part.ids, retry, part.strays)
        store.pretend(outcome)
        done.faults |= outcome.faults
        done.foreign |= dict.fromkeys(outcome.foreign)
        retry = frozenset()
        if outcome.wiped:
            convergence = replace(convergence, is_unmarked=True)
        done.looked_at += len(part.ids)
        told(done.looked_at)
        if most is not None and len(done.users) + len(done.roles) >= most:
            break
    done.known = await _known(subjects, done.faults)
    owners = await Subjects(link, setup.tenant, setup.target).holders(list(done.lost))
    done.braked = await foresee(
        store, target, setup.limit, done.lost, owners, now_ms=clock.now_ms()
    )
    return done


async def _known(subjects: Subjects, faults: Mapping[str, Fault]) -> set[str]:
    holders = await subjects.holders([fault.name for fault in faults.values()])
    return {i for i, fault in faults.items() if holders.get(fault.name) == i}


class _Target(Target):
    """Keeps what it is told to do, and answers as if it had done it."""

    def __init__(self, pool: Pool, marker: str, clock: Clock, done: Rehearsed) -> None:
        super().__init__(pool, marker, clock)
        self._done = done
        self._imagined = Actual({}, {})

    async def observe(
        self,
        names: Collection[str],
        roles: Collection[str],
        *,
        definitions: Collection[RoleDefinition] = (),
        fresh: bool = True,
        log_comment: str = "",
    ) -> Actual:
        seen = await super().observe(
            names, roles, definitions=definitions, fresh=fresh, log_comment=log_comment
        )
        users, its_roles = dict(seen.users), dict(seen.roles)
        for name in {*names, *roles, *seen.users} & self._done.users.keys():
            _put(users, name, self._done.users[name][1])
        for name in {*roles, self.marker} & self._done.roles.keys():
            _put(its_roles, name, self._done.roles[name][1])
        self._imagined = Actual(users, its_roles, seen.written)
        return self._imagined

    async def execute(self, statement: Statement, *, log_comment: str) -> None:
        del log_comment
        step, before = statement.step, self._imagined
        try:
            after = simulate([step], before)
        except Impossible as error:
            raise StatementRefused(str(error), statement=statement.sql) from error
        self._done.statements.append(statement)
        if not isinstance(step, ROLE_STEPS):
            for name, tally in balance([step], before.users)[0].items():
                self._done.lost[name] = self._done.lost.get(name, NOTHING) + tally
        touched = {*statement.names, step.name} if isinstance(step, Rename) else statement.names
        for name in touched:
            _note(self._done.users, name, before.users.get(name), after.users.get(name))
            _note(self._done.roles, name, before.roles.get(name), after.roles.get(name))
        self._imagined = after


class _Store(LaneStore):
    """Reads the lane's state, and remembers what it is asked to write."""

    def __init__(self, link: Link, tenant: str, target: str) -> None:
        super().__init__(link, tenant, target)
        self.names: dict[str, str | None] = {}
        self.holders: dict[str, str] = {}
        self.digests: dict[str, str | None] = {}
        self.links: Mapping[str, str] = {}
        self.likes: Mapping[str, str] = {}
        self._roles: dict[str, str | None] = {}
        self._adopted: dict[str, str] = {}

    async def pretend_links(self, keys: Sequence[str]) -> None:
        self.links = await self.linkable(keys)

    def pretend(self, outcome: Outcome) -> None:
        """Take an outcome as acknowledged."""
        self.names |= outcome.names
        self.holders |= {name: i for i, name in outcome.names.items() if name is not None}
        self.digests |= outcome.secrets
        self._roles |= outcome.roles

    async def roles(self) -> dict[str, str]:
        roles = {**await super().roles(), **self._roles}
        return {role: text for role, text in roles.items() if text is not None}

    async def vocabulary(self, now: Collection[str]) -> frozenset[str]:
        return await super().vocabulary(()) | frozenset(now)

    async def adopted(self, names: Collection[str]) -> dict[str, str]:
        return {**await super().adopted(names), **_those(self._adopted, names)}

    async def keep_adopted(self, records: Mapping[str, str]) -> None:
        self._adopted |= records

    async def unmarked(self, epoch: int, what: str) -> bool:
        del epoch, what
        return True

    async def intend(self, epoch: int, names: Mapping[str, str], roles: Sequence[str] = ()) -> bool:
        del epoch, names
        recorded = await self.roles()
        self._roles |= {role: "" for role in roles if role not in recorded}
        return True


class _Holds(Holds):
    """Reads holds, and makes none."""

    def __init__(self, link: Link, tenant: str, done: Rehearsed) -> None:
        super().__init__(link, tenant)
        self._done = done

    async def put(self, hold: Hold, targets: Sequence[str]) -> None:
        del targets
        self._done.holds.append(hold)


class _Purges(Purges):
    """Reads when users go, and notes nothing."""

    async def due(self, ids: Sequence[str], at_ms: int) -> dict[str, int]:
        return {i: (await self.noted(i)) or at_ms for i in ids}

    async def forget(self, ids: Collection[str]) -> None:
        del ids


class _Subjects(Subjects):
    """The directory, and the lane as it would be by now."""

    def __init__(self, link: Link, store: _Store) -> None:
        super().__init__(link, store.tenant, store.target)
        self._store = store

    async def read(self, ids: Sequence[str]) -> list[Subject]:
        return [self._told(subject) for subject in await super().read(ids)]

    def _told(self, subject: Subject) -> Subject:
        store, i = self._store, subject.id
        return replace(
            subject,
            links={**store.links, **subject.links},
            applied=store.names.get(i, subject.applied),
            applied_digest=store.digests.get(i, subject.applied_digest) or "",
        )

    async def holders(self, names: Sequence[str]) -> dict[str, str]:
        return {**await super().holders(names), **_those(self._store.holders, names)}

    async def links(self) -> dict[str, str]:
        return {**self._store.links, **await super().links()}

    async def likes(self, groups: Collection[str] | None) -> dict[str, str]:
        pretended = self._store.likes
        ours = pretended if groups is None else _those(pretended, groups)
        return {**ours, **await super().likes(groups)}


def _those(whole: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: whole[name] for name in names if name in whole}


S = TypeVar("S", UserState, RoleState)


def _put(states: dict[str, S], name: str, state: S | None) -> None:
    if state is None:
        states.pop(name, None)
    else:
        states[name] = state


def _note(
    changes: dict[str, tuple[S | None, S | None]], name: str, old: S | None, new: S | None
) -> None:
    """Note how `name` would be; one that is again as it was does not change."""
    was = changes[name][0] if name in changes else old
    if was == new:
        changes.pop(name, None)
    else:
        changes[name] = (was, new)
