"""What `access show` tells: who should hold which role on a target, why, and whether it is so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.cli.lookup import LaneName, not_reached
from app.cli.output import iso
from app.clock import Clock
from app.config.settings import Settings
from app.directory.holds import Held, Holds
from app.directory.lanes import RESYNC_DONE, LaneStore
from app.directory.link import Link
from app.directory.reader import Reader
from app.directory.shards import Shards
from app.directory.subjects import Subject, Subjects
from app.errors import TargetError
from workers.access.model import Actual, UserState
from workers.access.statements.granting import holders_query
from workers.access.why import Reason, reasons
from workers.clickhouse.pool import Pool
from workers.clickhouse.target import Target
from workers.people import People, Person, gather
from workers.setup import Setup, endpoint_of
from workers.walk import WALK_START, Walk

_AT_ONCE = 500

Told = Callable[[int], None]


@dataclass(slots=True)
class Shown:
    """`failures`: why a target can't be looked at; its rows then say only what should be."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[LaneName, str] = field(default_factory=dict)


async def shown(
    shards: Shards,
    settings: Settings,
    lanes: Iterable[LaneName],
    *,
    user: str | None,
    role: str | None,
    told: Told,
) -> Shown:
    """Return a row for each role of each user on each lane: of `user` only, of `role` only, or all.

    `user`: a userName, an agent's name, a resource's id, or a name on ClickHouse.
    """
    result = Shown()
    for lane in lanes:
        pool = Pool(endpoint_of(settings, lane.target))
        try:
            link = shards.of(lane.tenant)
            await _Lane(link, settings, lane, pool, result=result, role=role).show(user, told)
        finally:
            await pool.close()
    return result


class _Lane:
    def __init__(
        self,
        link: Link,
        settings: Settings,
        lane: LaneName,
        pool: Pool,
        *,
        result: Shown,
        role: str | None,
    ) -> None:
        setup = Setup.of(settings, *lane)
        assert setup is not None  # noqa: S101 - the lane is of the configuration
        self._setup, self._lane, self._result, self._role = setup, lane, result, role
        self._pool = pool
        self._store = LaneStore(link, *lane)
        self._subjects = Subjects(link, *lane)
        self._reader = Reader(link, lane.tenant)
        self._holds = Holds(link, lane.tenant)
        self._target = Target(pool, setup.marker, Clock())
        self._group_names: dict[str, str] = {}

    async def show(self, user: str | None, told: Told) -> None:
        count = 0
        async for ids, others in self._parts(user):
            people = await gather(
                self._subjects,
                self._setup.rules,
                ids,
                holds=self._holds,
                now_s=Clock().now_ms() / 1000,
            )
            asked = set(ids)
            persons = {i: p for i, p in people.persons.items() if i in asked}
            actual = await self._look(people, others)
            for row in await self._rows(persons, others, actual, people.held):
                if self._role is None or row["role"] == self._role:
                    self._result.rows.append(row)
            count += len(ids)
            told(count)

    async def _parts(self, user: str | None) -> AsyncIterator[tuple[Sequence[str], Sequence[str]]]:
        """Yield ids of resources, and names on the target that no resource is behind."""
        if user is not None:
            ids, names = await self._behind([user]), []
            if not ids and user in (await self._users_there([user])):
                names = [user]
            yield sorted(ids), names
        elif self._role is not None and self._role not in self._setup.rules.role_map.default_roles:
            giving = await self._groups_giving(self._role)
            ids = set(await self._subjects.below(sorted(giving))) if giving else set()
            holders = await self._holders(self._role)
            known = await self._subjects.holders(holders)
            ids |= set(known.values())
            ids -= giving
            ordered = sorted(ids)
            for at in range(0, len(ordered), _AT_ONCE):
                yield ordered[at : at + _AT_ONCE], []
            yield [], [name for name in holders if name not in known]
        else:
            walk = Walk(self._store, self._subjects, self._target)
            position = WALK_START
            is_blank = (await self._store.status()).last_seq == 0
            while position != RESYNC_DONE:
                try:
                    part = await walk.step(position, _AT_ONCE, is_blank=is_blank)
                except TargetError as error:
                    self._fail(error)
                    break
                position = part.reached
                yield part.ids, part.strays

    async def _behind(self, users: Sequence[str]) -> set[str]:
        ids = await self._subjects.named(users)
        ids |= set((await self._subjects.holders(users)).values())
        gone = await self._subjects.gone(users)
        return ids | {one for one in users if one not in gone}

    async def _groups_giving(self, role: str) -> set[str]:
        """Return the groups that an entry of the role map gives this role for."""
        role_map = self._setup.rules.role_map
        links = await self._subjects.links()
        names = await self._subjects.likes(None) if role_map.reads_names else {}
        every = {*links.values(), *names}
        return {group for group, gift in role_map.gifts(every, links, names) if role in gift.roles}

    async def _holders(self, role: str) -> list[str]:
        try:
            async with self._pool.session() as session:
                rows = await session.query(holders_query([role]))
        except TargetError as error:
            self._fail(error)
            return []
        return sorted({user for user, held in rows if held == role})

    async def _users_there(self, names: Collection[str]) -> Collection[str]:
        try:
            return (await self._target.observe(names, ())).users
        except TargetError as error:
            self._fail(error)
            return ()

    async def _look(self, people: People, others: Collection[str]) -> Actual | None:
        if self._lane in self._result.failures:
            return None
        try:
            return await self._target.observe({*people.names(), *others}, ())
        except TargetError as error:
            self._fail(error)
            return None

    def _fail(self, error: TargetError) -> None:
        why = not_reached(f"{self._lane} can't be looked at", error)
        self._result.failures.setdefault(self._lane, why)

    async def _rows(
        self,
        persons: dict[str, Person],
        others: Collection[str],
        actual: Actual | None,
        held: Held,
    ) -> list[dict[str, Any]]:
        subjects = await self._subjects.read(list(persons))
        why = await self._why(subjects)
        rows = []
        for subject in subjects:
            person = persons[subject.id]
            name = person.want.name
            state = actual.users.get(name) if actual is not None and name is not None else None
            wanted = person.want.roles if person.want.active else frozenset()
            about = {
                "user": name,
                "user_name": _user_name(subject),
                "resource_id": subject.id,
                "state": _state(person, subject, held),
                "until": iso_s(person.want.login.until),
            }
            rows += self._of(about, wanted, state, why[subject.id], looked=actual is not None)
        for name in others:
            about = {
                "user": name,
                "user_name": None,
                "resource_id": None,
                "state": "nobody",
                "until": None,
            }
            state = actual.users.get(name) if actual is not None else None
            rows += self._of(about, frozenset(), state, {}, looked=actual is not None)
        return rows

    def _of(
        self,
        about: dict[str, Any],
        wanted: frozenset[str],
        state: UserState | None,
        why: dict[str, list[Reason]],
        *,
        looked: bool,
    ) -> list[dict[str, Any]]:
        there = state.roles if state is not None else frozenset()
        door = (str(state.door) if state is not None else "missing") if looked else None
        roles: list[str | None] = [*sorted(wanted | there)]
        return [
            {
                "tenant": self._lane.tenant,
                "target": self._lane.target,
                **about,
                "door": door,
                "role": role,
                "wanted": role in wanted,
                "held": role in there if looked else None,
                "because": [self._told(reason) for reason in why.get(role or "", ())]
                if role in wanted
                else [],
            }
            for role in roles or [None]
        ]

    def _told(self, reason: Reason) -> dict[str, Any]:
        return {
            "mapping": reason.mapping,
            "groups": [self._group_names.get(group, group) for group in reason.groups],
            "until": iso_s(reason.until),
        }

    async def _why(self, subjects: Sequence[Subject]) -> dict[str, dict[str, list[Reason]]]:
        every = {group for subject in subjects for group in subject.groups}
        role_map = self._setup.rules.role_map
        names = await self._subjects.likes(every) if role_map.reads_names else {}
        above = await self._reader.groups_of(sorted(every)) if every else {}
        ids = [subject.id for subject in subjects]
        direct = await self._reader.groups_of(ids) if every else {}
        fresh = sorted(every - self._group_names.keys())
        for group, stored in (await self._reader.get_many("group", fresh)).items():
            self._group_names[group] = stored.document["displayName"]
        return {
            subject.id: reasons(
                role_map, direct.get(subject.id, frozenset()), above, subject.links, names
            )
            for subject in subjects
        }


def _user_name(subject: Subject) -> str | None:
    if subject.document is None:
        return None
    name: str = subject.document["userName" if subject.kind == "user" else "name"]
    return name


def _state(person: Person, subject: Subject, held: Held) -> str:
    """Return how the directory and the operators have it: active, inactive, held or deleted."""
    if subject.document is None:
        return "deleted"
    if held.covers(subject.id, _user_name(subject) or ""):
        return "held"
    return "active" if person.want.active else "inactive"


def iso_s(seconds: int | None) -> str | None:
    return None if seconds is None else iso(seconds * 1000)
