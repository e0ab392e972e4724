"""What a lane does next: the users that events, requests of operators and a resync touch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from app.config.rolemap import RoleMap
from app.directory.events import Event, read, read_some
from app.directory.keys import Keys
from app.directory.lanes import RESYNC_START, ROLE, LaneStore, ResyncStep
from app.directory.link import Link
from app.directory.subjects import SUBJECT_KINDS, Subjects
from workers.clickhouse.target import Target
from workers.walk import WALK_START, Walk

BATCH_S = 0.3
_TELLING_USERS = 50
_LEAST_USERS = 250  # however slow the target: 1,000 people who get a role are four GRANTs at most
_SHARE = 4  # the to-do list and a resync get this part of a batch even if events fill it
_PAGE = 100  # events read at once: one may name many thousand members
_NAMED = 100  # members; events that name more are looked at one by one


@dataclass(frozen=True, slots=True)
class Span:
    """The events of a batch that touch one user. `at_ms`: when the last of them was committed, and
    `trace`: its request's.

    `itself`: one of them changes the user's own document; `leaves`: one takes it, and nobody else,
    out of a group.
    """

    first: int
    last: int
    at_ms: int = 0
    itself: bool = False
    leaves: bool = False
    trace: str = ""


@dataclass(slots=True)
class Batch:
    """`users`: in the order in which they were touched; None where no event asked.

    `ahead`: who loses access by events that the lane has not come to yet, with their seq: nothing
    else is done in such a batch, and the cursor stays.
    `missed`: how many events the log has lost, or given up, before those of this batch.
    `last`: the tenant's last event when it was read.
    `roles`: names of roles to try again though they have a dead letter; None: all of them.
    `resync`: the part of a resync that belongs to this batch. `strays`: names on the target that no
    resource is behind. `groups`: ids of the groups that events are about. `traces`: of the requests
    that are traced.
    """

    cursor: int
    users: dict[str, Span | None] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    roles: frozenset[str] | None = frozenset()
    resync: ResyncStep | None = None
    requests: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    ahead: Mapping[str, int] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    missed: int = 0
    last: int = 0

    @property
    def is_empty(self) -> bool:
        return not (
            self.users or self.done or self.resync or self.requests or self.ahead or self.missed
        )

    def touch(self, event: Event, users: Iterable[str]) -> None:
        """Count `event` to the batch; it touches these users."""
        itself = event.type in SUBJECT_KINDS
        leaves = len(event.removed) == 1 and not event.added and not event.all_members
        for user in users:
            span = self.users.get(user)
            self.users[user] = Span(
                span.first if span else event.seq,
                event.seq,
                event.at_ms,
                itself or (span is not None and span.itself),
                (leaves and user in event.removed) or (span is not None and span.leaves),
                event.trace,
            )
        if event.type == "group":
            self.groups.append(event.id)
        self.cursor = event.seq
        self.requests.append(event.request_id)
        if event.trace:
            self.traces.append(event.trace)


@dataclass(slots=True)
class Pace:
    """How many users of a lane take about BATCH_S: a revocation waits for a batch that long."""

    users_per_s: float = math.inf

    def note(self, users: int, seconds: float) -> None:
        """Count a batch; a small one tells little."""
        if users >= _TELLING_USERS:
            self.users_per_s = users / max(seconds, 0.001)

    def size(self, most: int) -> int:
        return max(min(_LEAST_USERS, most), int(min(most, self.users_per_s * BATCH_S)))


class Work:
    """Reads what a lane has to do. Its holder is the only one that moves the lane on."""

    def __init__(
        self,
        link: Link,
        store: LaneStore,
        subjects: Subjects,
        target: Target,
        *,
        role_map: RoleMap,
        max_events: int,
        max_users: int,
        pace: Pace,
    ) -> None:
        """`role_map`: the tenant's, which a resync links to groups."""
        self._link, self._store, self._subjects = link, store, subjects
        self._walk = Walk(store, subjects, target)
        self._keys = Keys(store.tenant)
        self._role_map = role_map
        self._max_events, self._max_users = max_events, max_users
        self._pace, self._is_whole = pace, False

    @property
    def _size(self) -> int:
        return self._max_users if self._is_whole else self._pace.size(self._max_users)

    async def next(self, cursor: int, *, whole: bool = False) -> Batch:
        """Return the next batch: events in their order, then the to-do list, then the resync.

        Users as many as take about BATCH_S, `max_users` at most, or so many anyway if `whole`; the
        to-do list and the resync have a share of their own. One event that touches more users is
        never cut.
        """
        self._is_whole = whole
        batch = Batch(cursor=cursor)
        page, batch.last, (asked, position) = await asyncio.gather(
            self._page(cursor, 0), self._store.last_seq(), self._store.asked(self._size)
        )
        await self._add_events(batch, page)
        batch.done = dict(islice(asked.items(), self._left(batch)))
        self._add_todo(batch)
        if position:
            await self._add_resync(batch, position)
        return batch

    def _left(self, batch: Batch) -> int:
        return max(self._size - len(batch.users), self._size // _SHARE, 1)

    async def ahead(self, cursor: int, beyond: int) -> Batch:
        """Return who loses access by events after `beyond`, in a batch for that alone."""
        batch = Batch(cursor=cursor, ahead=await self._store.express(beyond, self._size))
        if batch.ahead:
            events = await read_some(self._link, self._keys, batch.ahead.values())
            nested = await self._groups_named(events)
            for event in events:
                batch.touch(event, await self._touched(event, nested))
            batch.cursor = cursor
        return batch

    async def _page(self, cursor: int, taken: int) -> list[Event]:
        """Return the events that come next, where `taken` are in the batch."""
        count = min(_PAGE, self._max_events - taken)
        return await read(self._link, self._keys, cursor, count) if count else []

    async def _add_events(self, batch: Batch, page: Sequence[Event]) -> None:
        """Add what fits of `page`, and of the pages after it."""
        taken = 0
        while page:
            nested = await self._groups_named(page)
            for event in page:
                if len(batch.users) >= self._size:
                    return
                batch.missed += event.seq - batch.cursor - 1
                batch.touch(event, await self._touched(event, nested))
            taken += len(page)
            if len(page) < _PAGE or len(batch.users) >= self._size:
                return
            page = await self._page(batch.cursor, taken)
        if taken < self._max_events:
            await self._pass_over_lost(batch)

    async def _pass_over_lost(self, batch: Batch) -> None:
        """Where the log ends before the tenant's last event, go on from that one."""
        if batch.last > batch.cursor and not await read(self._link, self._keys, batch.cursor, 1):
            batch.missed += batch.last - batch.cursor
            batch.cursor = batch.last

    async def _groups_named(self, events: Iterable[Event]) -> frozenset[str]:
        """Return which of the members that these events name are groups, where they name few."""
        named = dict.fromkeys(i for event in events if _names_few(event) for i in event.named)
        return frozenset(await self._subjects.groups_among(list(named)))

    async def _touched(self, event: Event, nested: frozenset[str]) -> Iterable[str]:
        """Return the users whose access the event may change; ids of others do no harm. `nested`:
        what `_groups_named` says.
        """
        if event.type in SUBJECT_KINDS:
            return (event.id,)
        if _names_few(event) and nested.isdisjoint(event.named):
            return event.named
        itself = (event.id,) if event.all_members else ()
        return await self._subjects.below((*event.named, *itself))

    @staticmethod
    def _add_todo(batch: Batch) -> None:
        for resource_id in batch.done:
            if resource_id.startswith(ROLE):
                batch.roles = (batch.roles or frozenset()) | {resource_id.removeprefix(ROLE)}
            else:
                batch.users.setdefault(resource_id, None)

    async def _add_resync(self, batch: Batch, position: str) -> None:
        reached = position
        if position.startswith(RESYNC_START):
            role_map = self._role_map
            await self._store.link_groups(role_map.keys)
            if role_map.reads_names:
                await self._store.like_groups(role_map.reads)
            batch.roles, reached = None, WALK_START
        part = await self._walk.step(reached, self._left(batch), is_blank=batch.cursor == 0)
        for user in part.ids:
            batch.users.setdefault(user, None)
        batch.strays = list(part.strays)
        batch.resync = ResyncStep(position, part.reached)


def _names_few(event: Event) -> bool:
    return not event.all_members and len(event.named) <= _NAMED
