"""Groups over HTTP: members come and go alone, and whole groups are put as differences."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.app.http.conftest import Client


async def patch(scim: Client, group: str, *operations: dict[str, Any]) -> int:
    reply = await scim("PATCH", f"/Groups/{group}", {"Operations": list(operations)})
    assert reply.status in {200, 204}, reply.raw
    return reply.seq


async def test_a_group_shows_its_members_and_what_they_are(scim: Client) -> None:
    ana, inner = await scim.user("ana"), await scim.group("Inner")
    made = await scim(
        "POST",
        "/Groups",
        {
            "displayName": "Team",
            "externalId": "g1",
            "members": [{"value": ana, "display": None}, inner, {"value": "not yet there"}],
        },
    )
    assert (made.status, made.seq) == (201, 3)
    shown = {member["value"]: member for member in made.json["members"]}
    assert shown == {
        ana: {"value": ana, "$ref": f"{scim.base}/Users/{ana}", "type": "User"},
        inner: {"value": inner, "$ref": f"{scim.base}/Groups/{inner}", "type": "Group"},
        "not yet there": {"value": "not yet there"},
    }
    assert (await scim("GET", f"/Groups/{made.id}")).json == made.json
    without = await scim("GET", f"/Groups/{made.id}?excludedAttributes=members")
    assert without.json == {k: v for k, v in made.json.items() if k != "members"}


MEMBER_PATCHES = {
    "Entra ID adds": (
        {"op": "Add", "path": "members", "value": [{"$ref": None, "value": "c"}]},
        "abc",
    ),
    "Okta adds": (
        {"op": "add", "path": "members", "value": [{"value": "c", "display": "C"}]},
        "abc",
    ),
    "one object": ({"op": "add", "path": "members", "value": {"value": "c"}}, "abc"),
    "OneLogin adds": ({"op": "add", "path": 'members[value eq "c"]'}, "abc"),
    "without path": ({"op": "add", "value": {"members": [{"value": "c"}]}}, "abc"),
    "Entra ID removes by a list": (
        {"op": "Remove", "path": "members", "value": [{"value": "a"}]},
        "b",
    ),
    "by filter": ({"op": "remove", "path": 'members[value eq "a"]'}, "b"),
    "Keycloak removes all": ({"op": "remove", "path": "members"}, ""),
    "Okta pushes all": ({"op": "replace", "path": "members", "value": [{"value": "d"}]}, "d"),
    "Okta pushes nobody": ({"op": "replace", "path": "members", "value": []}, ""),
}


@pytest.mark.parametrize(("operation", "left"), MEMBER_PATCHES.values(), ids=MEMBER_PATCHES.keys())
async def test_every_dialect_changes_members(
    scim: Client, operation: dict[str, Any], left: str
) -> None:
    team = await scim.group("Team", "a", "b")
    assert await patch(scim, team, operation) == 2
    assert sorted(await scim.members(team)) == list(left)


async def test_a_second_add_is_no_event(scim: Client) -> None:
    team = await scim.group("Team", "a")
    await scim.user("somebody")
    again = {"op": "Add", "path": "members", "value": [{"value": "a"}]}
    gone = {"op": "remove", "path": 'members[value eq "nobody"]'}
    assert await patch(scim, team, again, gone) == 2
    assert await scim.last_seq() == 2


async def test_a_rename_never_touches_the_members(scim: Client) -> None:
    team = await scim.group("Team", "a", "b")
    okta = {"op": "replace", "value": {"id": team, "displayName": "Renamed"}}
    assert await patch(scim, team, okta) == 2
    assert await patch(scim, team, {"op": "Replace", "path": "displayName", "value": "Again"}) == 3
    got = await scim("GET", f"/Groups/{team}")
    assert got.json["displayName"] == "Again"
    assert await scim.members(team) == ["a", "b"]


async def test_a_put_is_applied_as_a_difference(scim: Client) -> None:
    team = await scim.group("Team", "a", "b")
    body = {"displayName": "Team", "members": [{"value": "b"}, {"value": "c"}]}
    put = await scim("PUT", f"/Groups/{team}", body)
    assert (put.status, put.seq) == (200, 2)
    assert [m["value"] for m in put.json["members"]] == ["b", "c"]
    again = await scim("PUT", f"/Groups/{team}", body)
    assert (again.seq, again.json) == (2, put.json)


@pytest.mark.parametrize("members", [{}, {"members": None}, {"members": []}], ids=str)
async def test_a_put_without_members_empties_the_group(
    scim: Client, members: dict[str, Any]
) -> None:
    team = await scim.group("Team", "a", "b")
    put = await scim("PUT", f"/Groups/{team}", {"displayName": "Team"} | members)
    assert (put.json["members"], put.seq) == ([], 2)


async def test_overlapping_requests_for_one_group_lose_nobody(scim: Client) -> None:
    """Read-modify-write of members loses people elsewhere (Fleet #50724, langwatch #7131)."""
    team = await scim.group("Team", *(f"old{n}" for n in range(20)))

    async def change(n: int) -> None:
        operations: list[dict[str, Any]] = [
            {"op": "add", "path": "members", "value": [{"value": f"new{n}"}]},
            {"op": "remove", "path": f'members[value eq "old{n}"]'},
            {"op": "replace", "path": "displayName", "value": f"Team {n}"},
        ]
        await patch(scim, team, *operations)

    await asyncio.gather(*(change(n) for n in range(10)))
    left = {f"old{n}" for n in range(10, 20)} | {f"new{n}" for n in range(10)}
    assert set(await scim.members(team)) == left
    assert await scim.last_seq() == 11


async def test_a_group_name_is_unique_in_any_case(scim: Client) -> None:
    await scim.group("Team")
    assert (await scim("POST", "/Groups", {"displayName": "TEAM"})).refuses(
        409, "uniqueness", "displayName"
    )


async def test_deleting_a_group_frees_its_name_and_its_members(scim: Client) -> None:
    ana = await scim.user("ana")
    team = await scim.group("Team", ana)
    assert (await scim("DELETE", f"/Groups/{team}")).seq == 3
    assert (await scim("GET", f"/Users/{ana}")).json["groups"] == []
    assert await scim.group("Team") != team


async def test_a_mapped_group_is_linked_when_it_comes(scim: Client) -> None:
    analysts = await scim.group("data ANALYSTS")
    links = scim.link.redis.hgetall(f"scim:{{{scim.tenant}}}:links")
    assert await links == {b"name:data analysts": analysts.encode()}  # type: ignore[misc]


async def test_a_group_of_50_000_can_be_put(scim: Client) -> None:
    members = [{"value": f"user-{n}"} for n in range(50_000)]
    team = await scim.group("All")
    put = await scim(
        "PUT",
        f"/Groups/{team}?excludedAttributes=members",
        {"displayName": "All", "members": members},
    )
    assert (put.status, put.seq) == (200, 2)
    assert len(await scim.members(team)) == 50_000
    put = await scim("PUT", f"/Groups/{team}", {"displayName": "All", "members": members[1:]})
    assert (put.seq, len(put.json["members"])) == (3, 49_999)


async def test_one_change_of_a_huge_group_reads_none_of_its_other_members(scim: Client) -> None:
    """Counted in what Redis sends and is sent, not in time: the same as for one of 200."""
    redis = scim.link.redis
    costs = []
    for size in (200, 100_000):
        team = await scim.group(f"Team {size}")
        key = f"scim:{{{scim.tenant}}}:members:{team}"
        await redis.zadd(key, {f"user-{n}": n for n in range(size)})
        before = await redis.info("stats")
        add = {"op": "add", "path": "members", "value": [{"value": "ana"}]}
        remove = {"op": "remove", "path": 'members[value eq "user-3"]'}
        await patch(scim, team, add)
        await patch(scim, team, remove)
        found = await scim(
            "GET", f'/Groups?filter=id+eq+"{team}"+and+members+eq+"user-7"&attributes=id'
        )
        assert found.json["totalResults"] == 1
        after = await redis.info("stats")
        costs.append(
            [
                after[name] - before[name]
                for name in ("total_net_input_bytes", "total_net_output_bytes")
            ]
        )
        assert await redis.zcard(key) == size
    (small_in, small_out), (large_in, large_out) = costs
    assert abs(large_in - small_in) < 1000
    assert abs(large_out - small_out) < 10_000  # INFO's own text, and a few digits
