"""A directory that is rebuilt from the ledger is the one that was lost, byte for byte."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from app.cli.actions import record_action
from app.clock import Clock
from app.directory.directory import Directory
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneStore
from app.scim.members import MemberChange
from tests.workers.ledger.conftest import ORIGIN, Command, Told
from workers.access.model import Adopted
from workers.access.statements.quoting import quote_literal
from workers.ledger.chain import Verification
from workers.witness import Witness

# What belongs to the directory itself; the rest of a tenant's keys are streams, lanes and tokens.
PARTS = (
    "seq",
    "user",
    "group",
    "agent",
    "application",
    "members:",
    "memberof:",
    "pending",
    "links",
    "likes",
)


async def directory(told: Told) -> dict[str, Any]:
    """Return every key of the directory with what it holds."""
    prefix, redis = Keys(told.tenant).prefix, told.link.redis
    found: dict[str, Any] = {}
    async for raw in redis.scan_iter(match=f"{prefix}*".replace("{", r"\{").replace("}", r"\}")):
        key = raw.decode().removeprefix(prefix)
        if not key.startswith(PARTS):
            continue
        match await redis.type(raw):
            case b"string":
                found[key] = await redis.get(raw)
            case b"zset":
                found[key] = await redis.zrange(raw, 0, -1, withscores=True)
            case b"hash":
                found[key] = await redis.hgetall(raw)  # type: ignore[misc]
            case b"set":
                found[key] = await redis.smembers(raw)  # type: ignore[misc]
    return found


async def lose(told: Told) -> None:
    """Lose everything that Redis holds of the tenant."""
    prefix = Keys(told.tenant).prefix.replace("{", r"\{").replace("}", r"\}")
    async for key in told.link.redis.scan_iter(match=f"{prefix}*"):
        await told.link.redis.delete(key)


@pytest.fixture
def rebuild(told: Told, command: Command) -> Command:
    """Run `directory rebuild` of the tenant."""

    async def run(*options: str) -> tuple[int, Any, str]:
        return await command("directory", "rebuild", told.tenant, *options)

    return run


async def live(told: Told, rng: random.Random, changes: int) -> None:
    """Have an identity provider do something of everything."""
    users: list[str] = []
    groups: list[str] = []
    for number in range(changes):
        match rng.choice(["user", "user", "group", "change", "members", "members", "delete"]):
            case "user":
                more = {"externalId": f"x/{number}"} if rng.random() < 0.5 else {}
                users.append(await told.user(f"Üser{number}/\x7f@acme.example", **more))
            case "group":
                some = rng.sample(users, min(len(users), 3))
                unknown = [f"unknown-{number}"] if rng.random() < 0.3 else []
                keys = rng.choice([(f"name:g{number}",), ("like",), ()])
                groups.append(await told.group(f"G{number}", *some, *unknown, keys=keys))
            case "change" if users:
                await told.set_user(rng.choice(users), active=rng.random() < 0.5, title=str(number))
            case "members" if groups and users:
                stored = await told.directory.get("group", group := rng.choice(groups))
                assert stored is not None
                change = MemberChange(
                    add=tuple(rng.sample(users, min(len(users), 2))),
                    remove=tuple(rng.sample(users, min(len(users), 1))),
                )
                document = stored.document | ({"displayName": f"{group}!"} if number % 5 else {})
                await told.directory.update("group", stored, document, ORIGIN, members=change)
            case "delete" if len(users) > 3:
                await told.directory.delete("user", users.pop(rng.randrange(3)), ORIGIN)
    if groups:
        await told.directory.delete("group", groups[0], ORIGIN)


@pytest.mark.parametrize("seed", range(4))
async def test_a_rebuilt_directory_is_the_same_to_the_byte(
    seed: int, told: Told, rebuild: Any
) -> None:
    await live(told, random.Random(seed), 80)
    await told.write()
    before = await directory(told)
    await lose(told)
    code, done, said = await rebuild()
    assert (code, said) == (0, "")
    assert done["seq"] == int(before["seq"])
    assert await directory(told) == before


async def test_a_group_of_many_is_rebuilt_the_same(told: Told, rebuild: Any) -> None:
    """Its members were put down in steps; they have the seq and the time of their event."""
    known = [await told.user(f"u{n}") for n in range(5)]
    group = await told.group("All", *known[:3])
    for change in (
        MemberChange(add=(*known, *(f"a{n}" for n in range(1500)))),
        MemberChange(add=("one",), remove=("a7",)),
        MemberChange(replace=(*known[1:], *(f"b{n}" for n in range(1500)), "a8", "one")),
    ):
        stored = await told.directory.get("group", group)
        assert stored is not None
        await told.directory.update("group", stored, stored.document, ORIGIN, members=change)
    await told.write()
    before = await directory(told)
    await lose(told)
    assert (await rebuild())[0] == 0
    assert await directory(told) == before


async def test_a_directory_from_before_its_ledger_is_rebuilt_too(told: Told, rebuild: Any) -> None:
    with_ledger = told.directory
    told.directory = Directory(told.link, told.tenant, ["main"])
    await live(told, random.Random(9), 60)
    told.directory = with_ledger
    await told.write()
    await told.write()
    await live(told, random.Random(10), 0)
    before = await directory(told)
    await lose(told)
    assert (await rebuild())[0] == 0
    after = await directory(told)
    # Since when somebody waits who is no resource is not told: only that they do.
    assert {k for k, _ in after.pop("pending", [])} == {k for k, _ in before.pop("pending", [])}
    assert after == before


async def test_life_goes_on_after_a_rebuild(told: Told, rebuild: Any) -> None:
    ana = await told.user("ana")
    await told.write()
    await lose(told)
    await rebuild()
    status = await LaneStore(told.link, told.tenant, "main").status()
    assert status.applied_seq == status.last_seq == 1
    assert await told.link.redis.hget(Keys(told.tenant).lane("lane", "main"), "resync")  # type: ignore[misc]
    await told.set_user(ana, active=False)
    await told.write()
    assert [e.seq for e in await told.events()] == [1, 2]
    assert not list(Verification().check(await told.events()))
    assert (await told.progress()).cursor == 2
    actions = await told.rows("admin_actions", "groupArray(action)")
    assert list(actions) == ["directory.rebuilt"]


async def test_a_directory_that_is_there_is_not_touched(told: Told, rebuild: Any) -> None:
    await told.user("ana")
    await told.write()
    before = await directory(told)
    code, _, said = await rebuild()
    assert code == 1
    assert "not empty" in said
    assert await directory(told) == before


async def test_an_interrupted_rebuild_is_run_again(told: Told, rebuild: Any) -> None:
    await live(told, random.Random(5), 40)
    await told.write()
    before = await directory(told)
    await lose(told)
    await told.link.redis.set(Keys(told.tenant).rebuilding, "1")
    await told.link.redis.set(Keys(told.tenant).seq, 1)
    assert (await rebuild())[0] == 0
    assert await directory(told) == before


async def test_events_that_were_changed_by_hand_are_not_believed(told: Told, rebuild: Any) -> None:
    await told.user("ana")
    await told.user("bo")
    await told.write()
    await told.store.query(
        "ALTER TABLE events UPDATE after = replaceAll(after, 'bo', 'mallory')"
        f" WHERE tenant = {quote_literal(told.tenant)} AND seq = 2 SETTINGS mutations_sync = 2"
    )
    await lose(told)
    code, _, said = await rebuild()
    assert code == 1
    assert "broken at seq 2" in said
    assert (await rebuild("--despite-breaks"))[0] == 0


async def test_a_ledger_that_knows_nothing_is_told_as_such(told: Told, rebuild: Any) -> None:
    code, _, said = await rebuild()
    assert code == 1
    assert "no event" in said
    assert not await told.link.redis.exists(Keys(told.tenant).lane("lane", LEDGER))


async def test_a_link_that_was_made_without_an_event_is_rebuilt_too(
    told: Told, rebuild: Any
) -> None:
    """The role map came to name a group that was there; then the group was renamed."""
    group, other = await told.group("Data"), await told.group("Science")
    await told.write()
    lane = LaneStore(told.link, told.tenant, "main")
    await lane.link_groups(["name:data"])
    await lane.like_groups(lambda name: name == "science")
    await told.write()
    for one in (group, other):
        stored = await told.directory.get("group", one)
        assert stored is not None
        renamed = stored.document | {"displayName": f"{one} renamed"}
        await told.directory.update("group", stored, renamed, ORIGIN)
    await told.write()
    before = await directory(told)
    assert before["links"] == {b"name:data": group.encode()}
    assert before["likes"][b"name:science"] == other.encode()
    await lose(told)
    assert (await rebuild())[0] == 0
    assert await directory(told) == before


async def test_what_adopted_users_were_is_known_after_a_rebuild(told: Told, rebuild: Any) -> None:
    await told.user("ana")
    lane = LaneStore(told.link, told.tenant, "main")
    witness = Witness(
        told.facts, told.tenant, "main", 1, spans={}, requests=(), cursor=1, clock=Clock()
    )
    for entity in ("first", "second"):  # another user of the name, later
        record = Adopted(entity=entity, roles=("own",), hosts=("10.0.0.0/8",))
        await lane.keep_adopted({"ana": msgspec.json.encode(record).decode()})
        await witness.keep_adopted({"ana": record})
    for action, name in (("adopted", "ana"), ("adopted", "bo"), ("given_back", "bo")):
        await lane.consent([name], "yes" if action == "adopted" else "no")
        await record_action(
            told.link, told.settings, told.tenant, f"user.{action}", subject=name, target="main"
        )
        await asyncio.sleep(0.002)  # actions have the time of their millisecond
    await told.write()
    before = await lane.adopted(["ana"]), await lane.consents()
    assert ("second" in before[0]["ana"], before[1]) == (True, {"ana": "yes", "bo": "no"})
    await lose(told)
    assert (await rebuild())[0] == 0
    assert (await lane.adopted(["ana"]), await lane.consents()) == before
