"""Large changes of a group's members: in steps for Redis, in one moment for everybody else."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app.directory.directory import Directory, Origin, Stale
from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.pipelined import PipelinedRedis
from app.directory.record import Stored
from app.directory.scripts import Scripts
from app.directory.staging import LARGE, LEASE_MS, Stage, settle, unsettled
from app.directory.subjects import Subjects
from app.errors import InvalidValue, NotFound
from app.scim.members import MemberChange

if TYPE_CHECKING:
    from tests.app.directory.conftest import Tenant
    from tests.conftest import RedisServer

ASKED = Origin(request_id="request-1", token_id="token-1", digest="0" * 32)
MANY = 3 * LARGE


def ids(prefix: str, count: int = MANY) -> tuple[str, ...]:
    return tuple(f"{prefix}{n:05}" for n in range(count))


async def made(directory: Directory, members: Sequence[str] = ()) -> Stored:
    committed = await directory.create("group", {"displayName": "all"}, ASKED, members=members)
    return await stored(directory, committed.id)


async def stored(directory: Directory, group_id: str) -> Stored:
    found = await directory.get("group", group_id)
    assert found is not None
    return found


async def change(directory: Directory, group: Stored, change: MemberChange) -> int | None:
    before = await stored(directory, group.id)
    return (await directory.update("group", before, before.document, ASKED, members=change)).seq


async def members(directory: Directory, group_id: str) -> set[str]:
    return set((await directory.members_of(group_id)).scores)


async def assert_tidy(tenant: Tenant, group_ids: Iterable[str]) -> None:
    """Nothing is left of any change, and the two directions of membership say the same."""
    redis, keys = tenant.link.redis, tenant.keys
    names = {k.decode() async for k in redis.scan_iter(f"{keys.prefix}*", 20_000)}
    for word in ("unsettled", "staged:", "left:"):
        assert not [name for name in names if name.startswith(keys.prefix + word)]
    held = {g: await members(tenant.directory, g) for g in group_ids}
    reverse: dict[str, set[str]] = {}
    for group, its_members in held.items():
        for member in its_members:
            reverse.setdefault(keys.member_of(member), set()).add(group)
    assert {n for n in names if n.startswith(f"{keys.prefix}memberof:")} == reverse.keys()
    for name, groups in reverse.items():
        assert {g.decode() for g in await redis.smembers(name)} == groups  # type: ignore[misc]
    known = await tenant.directory.kinds(sorted({m for ms in held.values() for m in ms}))
    waiting = {f"{g}\x00{m}".encode() for g, ms in held.items() for m in ms if m not in known}
    assert set(await redis.zrange(keys.pending, 0, -1)) == waiting


@asynccontextmanager
async def watched(tenant: Tenant, group: Stored, allowed: list[set[str]]) -> AsyncIterator[None]:
    """Read the group all the time, in every way that there is; it must be one of `allowed`."""
    directory, done = tenant.directory, asyncio.Event()
    subjects = Subjects(tenant.link, tenant.name, "main")
    sample = sorted(random.Random(7).sample(sorted(set().union(*allowed)), 60))
    seen = []

    async def look() -> None:
        while not done.is_set():
            held = await members(directory, group.id)
            assert held in allowed
            seen.append(allowed.index(held))
            some = [held & set(sample) for held in allowed]
            found = await directory.groups_of(sample)
            assert {m for m, groups in found.items() if group.id in groups} in some
            assert {s.id for s in await subjects.read(sample) if group.id in s.groups} in some
            among = await directory.members_among([group.id], sample)
            assert set(among[group.id]) in some
            below = await subjects.below([group.id])
            assert set(below) - {group.id} in allowed
            pending = {p.member_id for p in await directory.pending(count=10_000)}
            assert pending in allowed  # in this test nobody is a resource

    looking = asyncio.create_task(look())
    yield
    done.set()
    await looking
    assert seen == sorted(seen), "what was new stays so"
    assert {0, len(allowed) - 1} <= set(seen)


async def test_a_large_change_is_one_event_and_nobody_sees_a_part_of_it(tenant: Tenant) -> None:
    old, new = ids("a"), (*ids("a")[::3], *ids("b"))
    group = await made(tenant.directory, old)
    async with asyncio.timeout(60), watched(tenant, group, [set(old), set(new)]):
        await asyncio.sleep(0.1)
        await change(tenant.directory, group, MemberChange(replace=new))
        await asyncio.sleep(0.1)
    created, replaced = await tenant.events()
    assert (created.added, created.removed) == (old, ())
    assert (set(replaced.added), set(replaced.removed)) == (
        set(new) - set(old),
        set(old) - set(new),
    )
    await assert_tidy(tenant, [group.id])
    assert (await stored(tenant.directory, group.id)).version == 2


@pytest.mark.parametrize(
    ("large", "left"),
    [
        (MemberChange(add=ids("b")), {*ids("a"), *ids("b")}),
        (MemberChange(remove=ids("a")[10:]), set(ids("a")[:10])),
        (MemberChange(replace=()), set()),
        (MemberChange(replace=ids("b")), set(ids("b"))),
    ],
    ids=["add", "remove", "empty", "replace"],
)
async def test_every_large_change_leaves_what_it_says_and_no_more(
    tenant: Tenant, large: MemberChange, left: set[str]
) -> None:
    group = await made(tenant.directory, ids("a"))
    assert await change(tenant.directory, group, large) == 2
    assert await members(tenant.directory, group.id) == left
    await assert_tidy(tenant, [group.id])
    assert await change(tenant.directory, group, large) is None
    assert len(await tenant.events()) == 2


async def test_a_large_group_is_deleted_in_one_moment(tenant: Tenant) -> None:
    old = ids("a")
    outer = await tenant.directory.create("group", {"displayName": "outer"}, ASKED)
    group = await made(tenant.directory, old)
    await change(
        tenant.directory, await stored(tenant.directory, outer.id), MemberChange(add=(group.id,))
    )
    await tenant.directory.delete("group", group.id, ASKED)
    assert set((await tenant.events())[-1].removed) == set(old)
    assert await tenant.directory.groups_of(old[:5]) == dict.fromkeys(old[:5], frozenset())
    await assert_tidy(tenant, [outer.id])
    assert group.id not in " ".join(await tenant.everything())


async def test_changes_in_the_middle_of_a_large_one_are_lost_neither_way(tenant: Tenant) -> None:
    """The log tells what happened in which order: played from the start it ends as Redis does."""
    directory = tenant.directory
    users = [(await directory.create("user", {"userName": f"u{n}"}, ASKED)).id for n in range(40)]
    group = await made(directory, (*ids("a"), *users[:20]))
    begun = await directory.last_seq()
    done = asyncio.Event()

    async def meddle(number: int) -> None:
        chance = random.Random(number)
        for user in users[number::4]:
            if done.is_set():
                break
            kind = chance.randrange(4)
            if kind == 0:
                await directory.delete("user", user, ASKED)
            elif kind == 1:
                await change(directory, group, MemberChange(add=(user, f"x{number}")))
            elif kind == 2:
                await change(directory, group, MemberChange(remove=(user, ids("b")[number])))
            else:
                await directory.create("user", {"userName": f"{user}2"}, ASKED)
            await asyncio.sleep(chance.random() * 0.05)

    async def replace() -> None:
        await change(directory, group, MemberChange(replace=(*ids("b"), *users[10:])))
        await change(directory, group, MemberChange(add=(*ids("c"), *users)))
        done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(replace(), *(meddle(n) for n in range(4)))
    held = dict.fromkeys((*ids("a"), *users[:20]), begun)
    for event in await tenant.events(begun):
        if event.type == "group":
            assert held.keys().isdisjoint(event.added), "who comes was not there"
            assert held.keys() >= set(event.removed), "who leaves was there"
            held |= dict.fromkeys(event.added, event.seq)
        for gone in event.removed if event.type == "group" else [event.id]:
            if event.type == "group" or event.op == "deleted":
                held.pop(gone, None)
    assert (await directory.members_of(group.id)).scores == held, "and since when"
    await assert_tidy(tenant, [group.id])


class Interrupted(Scripts):
    """Scripts that let something else happen first, once, before a staged commit is sent."""

    def __init__(self, redis: PipelinedRedis, happen: Callable[[], Awaitable[None]]) -> None:
        super().__init__(redis)
        self._happen: Callable[[], Awaitable[None]] | None = happen

    async def run(self, name: str, key: str, *args: str | bytes | int) -> Any:
        happen = self._happen
        if name == "write" and args[18] and happen is not None:  # the stage's token
            self._happen = None
            await happen()
        return await super().run(name, key, *args)


async def test_who_leaves_or_goes_right_before_the_switch_is_told_apart(tenant: Tenant) -> None:
    """Users that are members, staged, or both are deleted; others are taken out and put in."""
    directory = tenant.directory
    users = [(await directory.create("user", {"userName": f"u{n}"}, ASKED)).id for n in range(8)]
    stays, comes, leaves, removed, removed_new, added, added_staged, late = users
    group = await made(directory, (*ids("a"), stays, leaves, removed))

    async def happen() -> None:
        for user in (stays, comes, leaves):
            await directory.delete("user", user, ASKED)
        await change(
            directory,
            group,
            MemberChange(remove=(removed, removed_new, *ids("a")[:2]), add=(added, added_staged)),
        )
        await directory.create("user", {"userName": "first"}, ASKED, resource_id=ids("b")[0])
        await directory.delete("user", late, ASKED)

    redis = tenant.link.redis
    interrupted = Directory(Link("", redis, Interrupted(redis, happen)), tenant.name, ["main"])
    wanted = (*ids("b"), stays, comes, removed, removed_new, added_staged, late)
    await change(interrupted, group, MemberChange(replace=wanted))
    assert await members(directory, group.id) == set(wanted)
    await assert_tidy(tenant, [group.id])
    assert await directory.groups_of([stays, late]) == {i: {group.id} for i in (stays, late)}


async def test_two_large_changes_at_once_happen_one_after_the_other(tenant: Tenant) -> None:
    directory = tenant.directory
    group = await made(directory, ids("a"))
    one, two = MemberChange(add=ids("b")), MemberChange(remove=ids("a"), add=ids("c"))
    await asyncio.gather(change(directory, group, one), change(directory, group, two))
    assert await members(directory, group.id) == {*ids("b"), *ids("c")}
    assert [e.op for e in await tenant.events()] == ["created", "updated", "updated"]
    await assert_tidy(tenant, [group.id])


async def test_a_refused_large_change_leaves_no_trace(tenant: Tenant) -> None:
    directory = tenant.directory
    group = await made(directory, ids("a", 5))
    outer = await directory.create("group", {"displayName": "outer"}, ASKED, members=[group.id])
    before = await stored(directory, group.id)
    with pytest.raises(InvalidValue, match=outer.id):
        await change(directory, group, MemberChange(add=(*ids("b"), outer.id)))
    await change(directory, group, MemberChange(add=("one",)))
    for document in (before.document, {"displayName": "x"}):
        with pytest.raises(Stale):
            await directory.update(
                "group",
                before,
                document,
                ASKED,
                members=MemberChange(add=ids("b")),
                exactly=True,
            )
    assert await members(directory, group.id) == {*ids("a", 5), "one"}
    await assert_tidy(tenant, [group.id, outer.id])
    assert len(await tenant.events()) == 3


async def test_a_group_that_is_deleted_under_a_large_change_is_gone(tenant: Tenant) -> None:
    directory = tenant.directory
    group = await made(directory, ids("a"))
    stage = Stage(tenant.link, tenant.keys, group.id)
    await stage.begin()
    await stage.bring_to(ids("b"), (await directory.members_of(group.id)).scores, hold=False)
    await directory.delete("group", group.id, ASKED)
    await stage.end()
    await assert_tidy(tenant, [])
    with pytest.raises(NotFound):
        await directory.update(
            "group", group, group.document, ASKED, members=MemberChange(add=ids("b"))
        )
    await assert_tidy(tenant, [])


WRITER = """
import asyncio, sys
from app.directory.directory import Directory, Origin
from app.directory.link import connect
from app.scim.members import MemberChange

async def main(url, tenant, group):
    directory = Directory(connect(url), tenant, ["main"])
    asked = Origin(request_id="r", token_id="t", digest="d")
    turn = 0
    while True:
        turn += 1
        before = await directory.get("group", group)
        ids = tuple(f"{'ab'[turn % 2]}{n:05}" for n in range(3000))
        print("begun", flush=True)
        await directory.update(
            "group", before, before.document, asked, members=MemberChange(replace=ids)
        )

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_writer_that_is_killed_leaves_the_old_or_the_new_members(
    tenant: Tenant, redis_server: RedisServer
) -> None:
    """SIGKILL at any moment; the next change and the housekeeping find nothing in their way."""
    directory, chance = tenant.directory, random.Random(11)
    group = await made(directory, ids("a"))
    allowed = [set(ids("a")), set(ids("b"))]
    for _ in range(8):
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, redis_server.url, tenant.name, group.id),
            stdout=asyncio.subprocess.PIPE,
        )
        assert writer.stdout is not None
        assert await writer.stdout.readline() == b"begun\n"
        await asyncio.sleep(chance.uniform(0, 0.6))
        writer.kill()
        await writer.wait()
        assert await members(directory, group.id) in allowed
        small = MemberChange(add=("one",))
        assert await change(directory, group, small) is not None, "nobody waits for the dead"
        await change(directory, group, MemberChange(remove=("one",)))
    await expire(tenant.link, tenant.keys, group.id)
    for name, group_id in await unsettled(tenant.link, [tenant.name]):
        await settle(tenant.link, Keys(name), group_id)
    await assert_tidy(tenant, [group.id])
    held = await members(directory, group.id)
    for event in await tenant.events():
        held ^= {*event.added, *event.removed}
    assert held == set(), "each change is told by an event"


async def expire(link: Link, keys: Keys, group_id: str) -> None:
    """Have it be long ago that anything was heard of the writer of a large change."""
    raw = await link.redis.hget(keys.unsettled, group_id)  # type: ignore[misc]
    if raw is not None:
        token, till, held, rest = raw.decode().split(" ", 3)
        assert int(till) <= time.time() * 1000 + LEASE_MS + 1000
        value = f"{token} 1 {held} {rest}"
        await link.redis.hset(keys.unsettled, group_id, value)  # type: ignore[misc]
