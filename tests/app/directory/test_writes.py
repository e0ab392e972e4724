"""Each write is one Lua call that changes all that belongs together, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from app.directory.directory import NO_SECRET, Directory, Origin, Stale
from app.directory.keys import KINDS, Kind
from app.errors import InvalidValue, NotFound, TooMany, Uniqueness
from app.scim.members import MemberChange

if TYPE_CHECKING:
    from tests.app.directory.conftest import Tenant

ASKED = Origin(request_id="request-1", token_id="token-1", digest="0" * 32)


def user(name: str, **attributes: Any) -> dict[str, Any]:
    return {"userName": name} | attributes


def group(name: str, **attributes: Any) -> dict[str, Any]:
    return {"displayName": name} | attributes


async def changed(
    directory: Directory,
    kind: Kind,
    resource_id: str,
    document: dict[str, Any] | None = None,
    **change: Any,
) -> int | None:
    """Update a resource as it is now; return the seq of the event."""
    role_keys = change.pop("role_keys", ())
    before = await directory.get(kind, resource_id)
    assert before is not None
    committed = await directory.update(
        kind,
        before,
        before.document if document is None else document,
        ASKED,
        members=MemberChange(**change),
        role_keys=role_keys,
    )
    return committed.seq


async def test_a_user_that_was_created_is_found_by_id_name_and_external_id(tenant: Tenant) -> None:
    document = user("Ana@Acme.example", externalId="00u1", active=True)
    committed = await tenant.directory.create("user", document, ASKED)
    stored = await tenant.directory.get("user", committed.id)
    assert stored is not None
    assert (stored.document, stored.version) == (document, committed.version)
    assert (stored.created_ms, stored.modified_ms) == (committed.created_ms, committed.modified_ms)
    for attribute, value in {"userName": "aNA@acme.EXAMPLE", "externalId": "00u1"}.items():
        assert await tenant.directory.find("user", attribute, value) == [committed.id]
    assert await tenant.directory.find("user", "externalId", "00U1") == []
    assert await tenant.directory.find("group", "externalId", "00u1") == []
    assert await tenant.directory.count("user") == 1


async def test_an_event_tells_who_changed_what_when(tenant: Tenant) -> None:
    asked = Origin(request_id="r-7", token_id="t-9", digest="d" * 32)
    ana = await tenant.directory.create("user", user("Ana"), ASKED)
    team = await tenant.directory.create("group", group("Team"), ASKED, members=[ana.id])
    before = await tenant.directory.get("group", team.id)
    assert before is not None
    await tenant.directory.update(
        "group", before, before.document, asked, members=MemberChange(remove=(ana.id,))
    )
    created_user, created_group, updated = await tenant.events()
    assert (created_user.seq, created_user.op, created_user.name) == (1, "created", "Ana")
    assert (created_group.added, created_group.removed) == ((ana.id,), ())
    assert (updated.op, updated.type, updated.id, updated.name) == (
        "updated",
        "group",
        team.id,
        "Team",
    )
    assert (updated.added, updated.removed, updated.all_members) == ((), (ana.id,), False)
    assert (updated.request_id, updated.token_id) == ("r-7", "t-9")
    assert created_user.at_ms <= created_group.at_ms <= updated.at_ms


async def test_a_deletion_is_told_under_the_name_that_was_sent(tenant: Tenant) -> None:
    ana = await tenant.directory.create("user", user("Ana.Müller"), ASKED)
    team = await tenant.directory.create("group", group("Data Analysts"), ASKED, members=[ana.id])
    await tenant.directory.delete("user", ana.id, ASKED)
    await tenant.directory.delete("group", team.id, ASKED)
    events = (await tenant.events())[2:]
    assert [(e.op, e.name) for e in events] == [
        ("deleted", "Ana.Müller"),
        ("deleted", "Data Analysts"),
    ]


async def test_a_deleted_user_leaves_no_trace(tenant: Tenant) -> None:
    ana = await tenant.directory.create("user", user("ana", externalId="1"), ASKED)
    team = await tenant.directory.create("group", group("team"), ASKED, members=[ana.id])
    await tenant.directory.delete("user", ana.id, ASKED)
    keys = await tenant.everything()
    prefix = tenant.keys.prefix
    assert set(keys) == {
        f"{prefix}{name}"
        for name in (
            *("dirty", "events", f"group:{team.id}", "groups", "groups:displayName", "seq"),
            *("express:main", "express:second"),  # until the lanes have come to it
        )
    }
    stored = await tenant.directory.get("group", team.id)
    assert stored is not None
    assert (stored.version, stored.document_version) == (3, 2)  # who is in it has changed


async def test_a_deleted_group_leaves_no_trace_but_its_users(tenant: Tenant) -> None:
    ana = await tenant.directory.create("user", user("ana"), ASKED)
    team = await tenant.directory.create(
        "group", group("team", externalId="g"), ASKED, members=[ana.id], role_keys=["name:team"]
    )
    await tenant.directory.create("group", group("all"), ASKED, members=[team.id])
    await tenant.directory.delete("group", team.id, ASKED)
    deleted = (await tenant.events())[-1]
    assert deleted.removed == (ana.id,)
    assert await tenant.directory.groups_of([ana.id, team.id]) == {ana.id: set(), team.id: set()}
    assert team.id not in " ".join(await tenant.everything())
    assert await tenant.link.redis.exists(tenant.keys.links) == 0


async def test_no_group_may_come_to_lie_below_itself(tenant: Tenant) -> None:
    directory = tenant.directory
    top = await directory.create("group", group("top"), ASKED)
    middle = await directory.create("group", group("middle"), ASKED)
    low = await directory.create("group", group("low"), ASKED)
    await changed(directory, "group", top.id, add=(middle.id, "somebody"))
    await changed(directory, "group", middle.id, add=(low.id,))
    before = await tenant.everything()
    for refused in (top.id, middle.id, low.id):
        for change in ({"add": ("other", refused)}, {"replace": ("other", refused)}):
            with pytest.raises(InvalidValue, match=refused):
                await changed(directory, "group", low.id, None, **change)
    assert await tenant.everything() == before
    await changed(directory, "group", top.id, add=(low.id,))  # a second way down is no circle


async def test_a_circle_is_found_at_any_depth_and_a_huge_hierarchy_refused(tenant: Tenant) -> None:
    groups = [(await tenant.directory.create("group", group("g0"), ASKED)).id]
    for n in range(1, 30):
        outer = await tenant.directory.create("group", group(f"g{n}"), ASKED, members=groups[-1:])
        groups.append(outer.id)
    with pytest.raises(InvalidValue, match=groups[-1]):
        await changed(tenant.directory, "group", groups[0], add=(groups[-1],))
    key = tenant.keys.member_of(groups[-1])
    await tenant.link.redis.sadd(key, *(f"outer{n}" for n in range(6000)))  # type: ignore[misc]
    with pytest.raises(TooMany):
        await changed(tenant.directory, "group", groups[0], add=("somebody",))


async def test_a_member_that_is_no_resource_waits_until_it_is_one(tenant: Tenant) -> None:
    directory = tenant.directory
    ana = await directory.create("user", user("ana"), ASKED)
    bot = await directory.create("agent", {"name": "bot"}, ASKED)
    inner = await directory.create("group", group("inner"), ASKED)
    team = await directory.create(
        "group", group("team"), ASKED, members=[ana.id, bot.id, inner.id, "later", "never"]
    )
    waiting = await directory.pending()
    assert [(p.group_id, p.member_id) for p in waiting] == [(team.id, "later"), (team.id, "never")]
    assert {p.since_ms for p in waiting} == {team.modified_ms}
    assert await directory.pending(team.modified_ms) == []
    assert await directory.pending(team.modified_ms + 1) == waiting
    await directory.create("user", user("late"), ASKED, resource_id="later")
    assert [p.member_id for p in await directory.pending()] == ["never"]
    await changed(directory, "group", team.id, remove=("never",))
    assert await directory.pending() == []
    await changed(directory, "group", team.id, add=("never",))
    await directory.delete("group", team.id, ASKED)
    assert await directory.pending() == []


async def test_what_is_written_exactly_is_refused_after_any_change(tenant: Tenant) -> None:
    directory = tenant.directory
    team = await directory.create("group", group("team"), ASKED)
    before = await directory.get("group", team.id)
    assert before is not None
    await changed(directory, "group", team.id, add=("somebody",))  # the document is the same
    for document in (before.document, group("other")):
        with pytest.raises(Stale):
            await directory.update(
                "group", before, document, ASKED, members=MemberChange(add=("x",)), exactly=True
            )
    with pytest.raises(Stale):
        await directory.delete("group", team.id, ASKED, version=before.version)
    now = await directory.get("group", team.id)
    assert now is not None
    await directory.delete("group", team.id, ASKED, version=now.version)


async def test_many_members_are_replaced_by_their_difference(tenant: Tenant) -> None:
    directory = tenant.directory
    ids = tuple(f"u{n:05}" for n in range(5000))
    team = await directory.create("group", group("team"), ASKED, members=ids)
    before = await directory.get("group", team.id)
    assert before is not None
    await changed(directory, "group", team.id, replace=(*ids[2:], "new"))
    event = (await tenant.events())[-1]
    assert (event.added, set(event.removed)) == (("new",), set(ids[:2]))
    assert (await directory.members([team.id]))[team.id] == [*ids[2:], "new"]
    change = MemberChange(replace=ids)
    await directory.update("group", before, before.document, ASKED, members=change)
    assert set((await directory.members_of(team.id)).scores) == set(ids)


async def test_a_secret_lies_apart_and_goes_with_its_user(tenant: Tenant) -> None:
    directory, redis = tenant.directory, tenant.link.redis
    ana = await directory.create("user", user("ana"), ASKED, secret="one")

    async def held() -> object:
        return await redis.hgetall(tenant.keys.secrets)  # type: ignore[misc]

    assert await held() == {ana.id.encode(): b"one"}
    before = await directory.get("user", ana.id)
    assert before is not None
    for secret, seq in (("one", None), ("two", 2), (NO_SECRET, 3), (NO_SECRET, None), ("two", 4)):
        committed = await directory.update("user", before, before.document, ASKED, secret=secret)
        assert committed.seq == seq
    await changed(directory, "user", ana.id, user("bo"))
    assert await held() == {ana.id.encode(): b"two"}
    assert "two" not in repr(await redis.xrange(tenant.keys.events))
    await directory.delete("user", ana.id, ASKED)
    assert await held() == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_has_its_own_names_and_is_known_as_a_member(
    tenant: Tenant, kind: Kind
) -> None:
    directory, name = tenant.directory, KINDS[kind].name
    made = await directory.create(kind, {name: "One", "externalId": "x"}, ASKED)
    assert await directory.find(kind, name, "ONE") == [made.id]
    assert await directory.find(kind, "externalId", "x") == [made.id]
    assert await directory.kinds([made.id]) == {made.id: kind}
    assert await directory.page(kind, 0, 10) == [made.id]
    with pytest.raises(Uniqueness, match=name):
        await directory.create(kind, {name: "ONE"}, ASKED)
    await directory.create("group", group("team"), ASKED, members=[made.id])
    assert await directory.pending() == []
    await directory.delete(kind, made.id, ASKED)
    assert not [key for key in await tenant.everything() if f"{kind}s:" in key and kind != "group"]


async def test_names_are_unique_whatever_their_case_and_encoding(tenant: Tenant) -> None:
    await tenant.directory.create("user", user("Zoë"), ASKED)
    before = await tenant.everything()
    for name in ("zoË", "zoe\u0308"):
        with pytest.raises(Uniqueness, match="userName"):
            await tenant.directory.create("user", user(name), ASKED)
    assert await tenant.everything() == before
    await tenant.directory.create("group", group("Zoë"), ASKED)  # other kinds have other names


async def test_a_name_is_free_again_after_a_rename_and_after_a_deletion(tenant: Tenant) -> None:
    first = await tenant.directory.create("user", user("ana"), ASKED)
    await changed(tenant.directory, "user", first.id, user("bo"))
    second = await tenant.directory.create("user", user("ana"), ASKED)
    with pytest.raises(Uniqueness):
        await changed(tenant.directory, "user", second.id, user("BO"))
    await tenant.directory.delete("user", first.id, ASKED)
    assert await changed(tenant.directory, "user", second.id, user("BO")) is not None
    assert await tenant.directory.find("user", "userName", "bo") == [second.id]
    assert await tenant.directory.find("user", "userName", "ana") == []


async def test_an_external_id_may_be_shared_by_everybody(tenant: Tenant) -> None:
    """A mapping that sends a constant costs no more for the last user than for the first."""
    ids = []
    for number in range(30):
        document = user(f"user{number}", externalId="N/A")
        ids.append((await tenant.directory.create("user", document, ASKED)).id)
    await tenant.directory.create("user", user("near", externalId="N/A2"), ASKED)
    assert await tenant.directory.find("user", "externalId", "N/A") == sorted(ids)
    await changed(tenant.directory, "user", ids[0], user("user0", externalId="its own"))
    await tenant.directory.delete("user", ids[1], ASKED)
    assert await tenant.directory.find("user", "externalId", "N/A") == sorted(ids[2:])
    assert await tenant.directory.find("user", "externalId", "its own") == [ids[0]]


async def test_what_changes_nothing_is_no_event(tenant: Tenant) -> None:
    ana = await tenant.directory.create("user", user("ana"), ASKED)
    team = await tenant.directory.create(
        "group", group("team"), ASKED, members=[ana.id], role_keys=["name:team"]
    )
    before = await tenant.everything()
    changes: list[dict[str, Any]] = [
        {},
        {"add": (ana.id,)},
        {"remove": ("somebody",)},
        {"replace": (ana.id,)},
        {"role_keys": ("name:team",)},
    ]
    for change in changes:
        assert await changed(tenant.directory, "group", team.id, **change) is None, change
    assert await changed(tenant.directory, "user", ana.id) is None
    assert await tenant.everything() == before


REFUSALS = ["taken name", "gone", "stale", "taken by another on update", "deleted twice"]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_writes_nothing(tenant: Tenant, refusal: str) -> None:
    directory = tenant.directory
    ana = await directory.create("user", user("ana"), ASKED)
    await directory.create("user", user("bo"), ASKED)
    old = await directory.get("user", ana.id)
    assert old is not None
    gone = await directory.create("user", user("gone"), ASKED)
    gone_stored = await directory.get("user", gone.id)
    assert gone_stored is not None
    await directory.delete("user", gone.id, ASKED)
    await changed(directory, "user", ana.id, user("ana", title="new"))
    before = await tenant.everything()
    refused: dict[str, Callable[[], Awaitable[object]]] = {
        "taken name": lambda: directory.create("user", user("BO"), ASKED),
        "gone": lambda: directory.update("user", gone_stored, user("gone", title="x"), ASKED),
        "stale": lambda: directory.update("user", old, user("ana", title="other"), ASKED),
        "taken by another on update": lambda: changed(directory, "user", ana.id, user("bo")),
        "deleted twice": lambda: directory.delete("user", gone.id, ASKED),
    }
    with pytest.raises((Uniqueness, NotFound, Stale)):
        await refused[refusal]()
    assert await tenant.everything() == before


async def test_members_change_by_difference_whoever_else_changes_them(tenant: Tenant) -> None:
    """Overlapping requests for one group lose nobody, and none has to be decided again."""
    team = await tenant.directory.create("group", group("team"), ASKED)
    stored = await tenant.directory.get("group", team.id)
    assert stored is not None
    await asyncio.gather(
        *(
            tenant.directory.update(
                "group", stored, stored.document, ASKED, members=MemberChange(add=(f"m{n}",))
            )
            for n in range(100)
        )
    )
    members = (await tenant.directory.members([team.id]))[team.id]
    assert set(members) == {f"m{n}" for n in range(100)}
    assert [e.seq for e in await tenant.events()] == list(range(1, 102))


async def test_of_two_that_take_one_name_at_the_same_time_one_gets_it(tenant: Tenant) -> None:
    outcomes = await asyncio.gather(
        *(tenant.directory.create("user", user("ana"), ASKED) for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(o, Uniqueness) for o in outcomes) == 19
    assert await tenant.directory.count("user") == 1


async def test_replaced_members_are_told_as_who_came_and_who_went(tenant: Tenant) -> None:
    team = await tenant.directory.create("group", group("t"), ASKED, members=["a", "b", "c"])
    await changed(tenant.directory, "group", team.id, replace=("d", "c", "b"))
    event = (await tenant.events())[-1]
    assert (event.added, event.removed) == (("d",), ("a",))
    assert (await tenant.directory.members([team.id]))[team.id] == ["b", "c", "d"]
    groups = await tenant.directory.groups_of(["a", "b", "c", "d"])
    assert groups == {"a": set(), "b": {team.id}, "c": {team.id}, "d": {team.id}}


async def test_each_lane_is_marked_once_and_woken_once(tenant: Tenant) -> None:
    first = await tenant.directory.create("user", user("a"), ASKED)
    second = await tenant.directory.create("user", user("b"), ASKED)
    assert (first.wake, second.wake) == (("main", "second"), ())
    marks = await tenant.link.redis.hgetall(tenant.keys.dirty)  # type: ignore[misc]
    assert marks == {name: str(first.modified_ms).encode() for name in (b"main", b"second")}
    await tenant.link.redis.hdel(tenant.keys.dirty, "second")  # type: ignore[misc]
    assert (await tenant.directory.delete("user", first.id, ASKED)).wake == ("second",)


async def test_a_role_map_key_stays_with_its_group_through_renames(tenant: Tenant) -> None:
    directory = tenant.directory
    first = await directory.create("group", group("Team"), ASKED, role_keys=["name:team"])
    await changed(directory, "group", first.id, group("Renamed"))
    second = await directory.create("group", group("Team"), ASKED, role_keys=["name:team"])
    links = await tenant.link.redis.hgetall(tenant.keys.links)  # type: ignore[misc]
    assert links == {b"name:team": first.id.encode()}
    assert [e.all_members for e in await tenant.events()] == [True, False, False]
    await directory.delete("group", first.id, ASKED)
    assert await changed(directory, "group", second.id, role_keys=("name:team",)) == 5
    links = await tenant.link.redis.hgetall(tenant.keys.links)  # type: ignore[misc]
    assert links == {b"name:team": second.id.encode()}
    assert (await tenant.events())[-1].all_members


async def test_a_name_that_was_read_before_a_rename_links_nothing(tenant: Tenant) -> None:
    team = await tenant.directory.create("group", group("Old"), ASKED)
    old = await tenant.directory.get("group", team.id)
    assert old is not None
    await changed(tenant.directory, "group", team.id, group("New"))
    with pytest.raises(Stale):
        await tenant.directory.update(
            "group", old, old.document, ASKED, members=MemberChange(), role_keys=["name:old"]
        )


async def test_lists_are_in_the_order_of_creation(tenant: Tenant) -> None:
    directory = tenant.directory
    ids = [(await directory.create("user", user(f"u{n}"), ASKED)).id for n in range(7)]
    await changed(directory, "user", ids[2], user("renamed"))
    assert await directory.page("user", 0, 3) == ids[:3]
    assert await directory.page("user", 3, 100) == ids[3:]
    assert await directory.page("user", 7, 3) == await directory.page("user", 0, 0) == []
    assert await directory.page("user", 2**53, 5) == []


async def test_reading_on_misses_nobody_while_others_are_deleted(tenant: Tenant) -> None:
    directory = tenant.directory
    ids = [(await directory.create("user", user(f"u{n}"), ASKED)).id for n in range(6)]
    rows = await directory.created_after("user", 0, 3)
    assert [i for i, _ in rows] == ids[:3]
    for gone in ids[:3]:
        await directory.delete("user", gone, ASKED)
    assert [i for i, _ in await directory.created_after("user", rows[-1][1], 10)] == ids[3:]


AWKWARD = ["}x{", "{", "a:b", "*", "\u2028", "💥", "' \" ` \\", "-" * 256, "../users", "%00"]


@pytest.mark.parametrize("value", AWKWARD)
async def test_any_name_is_only_a_name(tenant: Tenant, other_tenant: Tenant, value: str) -> None:
    document = user(value, externalId=value)
    committed = await tenant.directory.create("user", document, ASKED)
    team = await tenant.directory.create("group", group(value), ASKED, members=[value])
    for attribute in ("userName", "externalId"):
        assert await tenant.directory.find("user", attribute, value) == [committed.id]
        assert await other_tenant.directory.find("user", attribute, value) == []
    assert await tenant.directory.get("user", value) is None
    assert await tenant.directory.groups_of([value]) == {value: {team.id}}
    assert await tenant.directory.kinds([value, committed.id, team.id]) == {
        committed.id: "user",
        team.id: "group",
    }
    assert await other_tenant.everything() == {}
    await tenant.directory.delete("user", committed.id, ASKED)
    await tenant.directory.delete("group", team.id, ASKED)
    left = {key.removeprefix(tenant.keys.prefix) for key in await tenant.everything()}
    assert left == {"seq", "events", "dirty", "express:main", "express:second"}


async def test_members_are_asked_for_by_id_without_reading_the_others(tenant: Tenant) -> None:
    one = await tenant.directory.create("group", group("one"), ASKED, members=["a", "b"])
    two = await tenant.directory.create("group", group("two"), ASKED, members=["b"])
    found = await tenant.directory.members_among([one.id, two.id], ["a", "b", "c"])
    assert found == {one.id: ["a", "b"], two.id: ["b"]}
    assert await tenant.directory.members_among([one.id], []) == {one.id: []}
    assert not await tenant.directory.members([])
    assert not await tenant.directory.kinds([])
    assert not await tenant.directory.groups_of([])
    assert not await tenant.directory.get_many("user", [])
