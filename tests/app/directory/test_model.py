"""Any sequence of writes leaves in Redis what a plain-Python model of the directory has."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from app.directory.directory import Committed, Directory, Origin, Stale
from app.directory.events import read
from app.directory.keys import Keys, Kind
from app.directory.link import connect
from app.directory.record import Stored
from app.errors import InvalidValue, NotFound, Uniqueness
from app.scim.members import MemberChange
from app.scim.text import fold

if TYPE_CHECKING:
    from tests.conftest import RedisServer

T = TypeVar("T")

KINDS = st.sampled_from(("user", "group"))
NAMES = st.sampled_from(("ana", "ANA", "bo", "Zoë", "zoe\u0308", "{x}", "a b"))
EXTERNAL_IDS = st.sampled_from(("", "1", "1 2", "é", "A", "a"))
STRANGERS = st.sampled_from(("stranger", "u-1", "}"))
ROLE_KEYS = st.sets(st.sampled_from(("name:ana", "ext:1", "name:bo")), max_size=2)
TARGETS = ("main", "second")


@dataclass(slots=True)
class Resource:
    """What the model has of a user or a group."""

    kind: Kind
    document: dict[str, Any]
    created: int
    version: int
    document_version: int
    members: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        name: str = self.document["userName" if self.kind == "user" else "displayName"]
        return name


class DirectoryMachine(RuleBasedStateMachine):
    """Each rule does one thing in both worlds; the invariant compares all of Redis."""

    resources = Bundle("resources")
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.link = connect(self.url)
        tenant = f"m-{uuid.uuid4().hex}"
        self.keys = Keys(tenant)
        self.directory = Directory(self.link, tenant, TARGETS)
        self.alive: dict[str, Resource] = {}
        self.links: dict[str, str] = {}
        self.events: list[tuple[Any, ...]] = []
        self.dirty: set[str] = set()
        self.before: dict[str, Stored] = {}

    def teardown(self) -> None:
        async def clear() -> None:
            names = [k async for k in self.link.redis.scan_iter(f"{self.keys.prefix}*", 20_000)]
            if names:
                await self.link.redis.delete(*names)
            await self.link.close()

        self.run(clear())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def worked() -> T:
            return await work

        return self.runner.run(worked())

    # --- the model's side ---------------------------------------------------------------------

    @property
    def seq(self) -> int:
        return len(self.events)

    def holder(self, kind: Kind, name: str) -> str | None:
        for i, resource in self.alive.items():
            if resource.kind == kind and fold(resource.name) == fold(name):
                return i
        return None

    def changed_members(self, group: Resource, change: MemberChange) -> tuple[set[str], set[str]]:
        after = set(change.applied_to(group.members))
        return after - set(group.members), set(group.members) - after

    def at_or_above(self, i: str) -> set[str]:
        """Return the group and every group that holds it, at any depth."""
        found = {i}
        while fresh := {g for g, r in self.alive.items() if found & r.members.keys()} - found:
            found |= fresh
        return found

    def note(self, op: str, i: str, resource: Resource, **more: Any) -> None:
        """Append the event that the model expects."""
        self.events.append(
            (
                op,
                resource.kind,
                i,
                resource.name,
                frozenset(more.get("added", ())),
                frozenset(more.get("removed", ())),
                more.get("linked", False),
            )
        )

    def committed(self, committed: Committed, seq: int) -> None:
        assert committed.seq == committed.version == seq
        assert set(committed.wake) == set(TARGETS) - self.dirty
        self.dirty = set(TARGETS)

    def link_to(self, i: str, role_keys: set[str]) -> bool:
        fresh = role_keys - self.links.keys()
        self.links |= dict.fromkeys(fresh, i)
        return bool(fresh)

    # --- the rules ----------------------------------------------------------------------------

    @initialize(target=resources)
    def begin(self) -> Any:
        return multiple()

    @rule(
        target=resources,
        kind=KINDS,
        name=NAMES,
        external_id=EXTERNAL_IDS,
        members=st.lists(STRANGERS, max_size=3) | st.lists(resources | STRANGERS, max_size=3),
        role_keys=ROLE_KEYS,
    )
    def create(
        self, kind: Kind, name: str, external_id: str, members: list[str], role_keys: set[str]
    ) -> Any:
        if kind == "user":
            members, role_keys = [], set()
        document = document_of(kind, name, external_id)
        asked = Origin(request_id="r", token_id="t", digest=uuid.uuid4().hex)
        work = self.directory.create(
            kind, document, asked, members=list(dict.fromkeys(members)), role_keys=[*role_keys]
        )
        if self.holder(kind, name) is not None:
            raises(Uniqueness, self.runner, work)
            return multiple()
        committed = self.run(work)
        seq = self.seq + 1
        self.committed(committed, seq)
        made = Resource(kind, document, seq, seq, seq, dict.fromkeys(members, seq))
        self.alive[committed.id] = made
        linked = self.link_to(committed.id, role_keys)
        self.note("created", committed.id, made, added=members, linked=linked)
        self.look(committed.id)
        return committed.id

    @rule(i=resources)
    def look(self, i: str) -> None:
        """Read a resource now, for a change that comes later."""
        if i in self.alive:
            stored = self.run(self.directory.get(self.alive[i].kind, i))
            assert stored is not None
            self.before[i] = stored

    @rule(
        i=resources,
        name=st.none() | NAMES,
        external_id=EXTERNAL_IDS,
        add=st.just([]) | st.lists(STRANGERS) | st.lists(resources | STRANGERS, max_size=3),
        remove=st.just([]) | st.lists(resources | STRANGERS, max_size=3),
        replace=st.sampled_from((False, False, True)),
        role_keys=ROLE_KEYS,
    )
    def update(
        self,
        *,
        i: str,
        name: str | None,
        external_id: str,
        add: list[str],
        remove: list[str],
        replace: bool,
        role_keys: set[str],
    ) -> None:
        if i not in self.before:
            return
        seen, resource = self.before[i], self.alive.get(i)
        kind: Kind = "user" if "userName" in seen.document else "group"
        document = seen.document if name is None else document_of(kind, name, external_id)
        change = (
            MemberChange(replace=tuple(add))
            if replace
            else MemberChange(add=tuple(add), remove=tuple(remove))
        )
        if kind == "user":
            change, role_keys = MemberChange(), set()
        work = self.directory.update(
            kind,
            seen,
            document,
            Origin(request_id="r", token_id="t", digest="d"),
            members=change,
            role_keys=[*role_keys],
        )
        same_document = document == seen.document
        if same_document and change.is_empty and not role_keys:
            assert self.run(work).seq is None
            return
        if resource is None:
            raises(NotFound, self.runner, work)
            return
        fresh = role_keys - self.links.keys()
        moved = resource.document_version != seen.document_version
        if moved and (fresh or not same_document):
            raises(Stale, self.runner, work)
            return
        if not same_document and self.holder(kind, name or "") not in {None, i}:
            raises(Uniqueness, self.runner, work)
            return
        added, removed = self.changed_members(resource, change)
        if added & self.at_or_above(i):
            raises(InvalidValue, self.runner, work)
            return
        committed = self.run(work)
        if same_document and not added and not removed and not fresh:
            assert (committed.seq, committed.version) == (None, resource.version)
            return
        seq = self.seq + 1
        self.committed(committed, seq)
        resource.version = seq
        if not same_document:
            resource.document, resource.document_version = document, seq
        for member in removed:
            del resource.members[member]
        resource.members |= dict.fromkeys(added, seq)
        named = Resource(kind, document, 0, 0, 0)  # the event has the name that was written with
        self.note(
            "updated", i, named, added=added, removed=removed, linked=self.link_to(i, role_keys)
        )

    @rule(i=resources)
    def delete_it(self, i: str) -> None:
        """Delete a resource that stays known, as one that is gone."""
        self.delete(i)

    @rule(i=consumes(resources))
    def delete(self, i: str) -> None:
        resource = self.alive.get(i)
        kind: Kind = "user" if resource is None else resource.kind
        work = self.directory.delete(kind, i, Origin(request_id="r", token_id="t", digest="d"))
        if resource is None:
            raises(NotFound, self.runner, work)
            return
        committed = self.run(work)
        seq = self.seq + 1
        self.committed(committed, seq)
        del self.alive[i]
        removed = set(resource.members) - {i}
        for group in self.alive.values():
            if group.members.pop(i, None) is not None:
                group.version = seq
        self.links = {key: group for key, group in self.links.items() if group != i}
        self.note("deleted", i, resource, removed=removed)

    @rule(target_name=st.sampled_from(TARGETS))
    def drain(self, target_name: str) -> None:
        """A worker has brought a lane up to date."""
        self.run(self.link.redis.hdel(self.keys.dirty, target_name))  # type: ignore[arg-type]
        self.dirty.discard(target_name)

    # --- the comparison -----------------------------------------------------------------------

    @invariant()
    def redis_holds_what_the_model_has(self) -> None:
        self.run(self.compare())

    async def compare(self) -> None:
        redis, keys = self.link.redis, self.keys
        assert await self.directory.last_seq() == self.seq
        events = await read(self.link, keys, 0, 10_000)
        assert [e.seq for e in events] == list(range(1, self.seq + 1))
        told = [
            (e.op, e.type, e.id, e.name, frozenset(e.added), frozenset(e.removed), e.all_members)
            for e in events
        ]
        assert told == self.events
        expected = set()
        for kind in ("user", "group"):
            of_kind = {i: r for i, r in self.alive.items() if r.kind == kind}
            stored = await self.directory.get_many(kind, list(of_kind))
            assert {i: (s.document, s.version, s.document_version) for i, s in stored.items()} == {
                i: (r.document, r.version, r.document_version) for i, r in of_kind.items()
            }
            names = await redis.hgetall(keys.names(kind))  # type: ignore[misc]
            assert names == {fold(r.name).encode(): i.encode() for i, r in of_kind.items()}
            entries = await redis.zrange(keys.external_ids(kind), 0, -1)
            with_id = {i: r.document.get("externalId") for i, r in of_kind.items()}
            assert set(entries) == {f"{x}\x00{i}".encode() for i, x in with_id.items() if x}
            for i, external_id in with_id.items():
                if external_id:
                    assert i in await self.directory.find(kind, "externalId", external_id)
            in_order = sorted(of_kind, key=lambda i: self.alive[i].created)
            assert await self.directory.page(kind, 0, 100) == in_order
            assert await self.directory.count(kind) == len(in_order)
            expected |= {keys.resource(kind, i) for i in of_kind}
            expected |= {keys.order(kind), keys.names(kind)} if of_kind else set()
            expected |= {keys.external_ids(kind)} if entries else set()
        member_of: dict[str, set[str]] = {}
        for i, resource in self.alive.items():
            if resource.kind == "group":
                members = (await self.directory.members([i]))[i]
                assert members == sorted(
                    resource.members, key=lambda m: (resource.members[m], m.encode())
                )
                for member in members:
                    member_of.setdefault(member, set()).add(i)
                if members:
                    expected.add(keys.members(i))
        assert await self.directory.groups_of(list(member_of)) == member_of
        waiting = {(g, m) for m, groups in member_of.items() for g in groups if m not in self.alive}
        pending = await self.directory.pending()
        assert {(p.group_id, p.member_id) for p in pending} == waiting
        expected |= {keys.pending} if waiting else set()
        expected |= {keys.member_of(member) for member in member_of}
        links = await redis.hgetall(keys.links)  # type: ignore[misc]
        assert {k.decode(): v.decode() for k, v in links.items()} == self.links
        expected |= {keys.links} if links else set()
        dirty = await redis.hkeys(keys.dirty)  # type: ignore[misc]
        assert {target.decode() for target in dirty} == self.dirty
        expected |= {keys.dirty} if dirty else set()
        expected |= {keys.seq, keys.events} if self.seq else set()
        found = {k.decode() async for k in redis.scan_iter(f"{keys.prefix}*", 20_000)}
        # Who loses access out of turn is the lanes' own list: `express`.
        express = {keys.lane("express", target) for target in TARGETS}
        assert found - express == expected


def document_of(kind: Kind, name: str, external_id: str) -> dict[str, Any]:
    document = {"userName" if kind == "user" else "displayName": name}
    return document | ({"externalId": external_id} if external_id else {})


def raises(error: type[Exception], runner: asyncio.Runner, work: Awaitable[object]) -> None:
    async def worked() -> None:
        try:
            await work
        except error:
            return
        raise AssertionError(f"no {error.__name__}")

    runner.run(worked())


def test_any_sequence_of_writes_leaves_what_the_model_has(redis_server: RedisServer) -> None:
    class Machine(DirectoryMachine):
        url = redis_server.url

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
