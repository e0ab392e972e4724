"""After every 2xx a GET shows what a plain model says; after every 4xx nothing has changed.

Stories come from seeds, so a failure is told again by its seed; several clients tell theirs at the
same time, to one tenant. The last line of a failure is the request that was one too many.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.model import Step, Storyteller, World, plain

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

CLIENTS = 4
STEPS = 60


async def tell(scim: Scim, seed: str) -> int:
    """Tell one client's story; return how many of its requests were refused."""
    world, refused = World(), 0
    teller = Storyteller(random.Random(seed), seed, world)
    for _ in range(STEPS):
        step = teller.next()
        before = await state(scim, step, world)
        reply = await scim.send(step.method, step.path + step.query, step.body)
        assert reply.status in step.statuses, (seed, str(step), reply.status, reply.raw)
        if reply.status >= 400:
            reply.refused(reply.status, reply.json.get("scimType"))
            assert await state(scim, step, world) == before, (seed, str(step))
            refused += 1
            continue
        created = reply.json["id"] if reply.status == 201 else ""
        step.then(world, created)
        if reply.raw and step.path.startswith("/Users"):
            assert plain(reply.json) == world.users[reply.id], (seed, str(step))
        await look(scim, step, world, created or step.path.split("/")[-1])
    await look_at_everything(scim, seed, world)
    return refused


async def state(scim: Scim, step: Step, world: World) -> list[Any]:
    """Return what a refused request could have changed: all that this client has, as lists."""
    if not step.statuses or step.statuses[0] < 400:
        return []
    ids = [*world.users] if step.path.startswith("/Users") else [*world.groups]
    kind = step.path.split("/")[1]
    return [(await scim.get(f"/{kind}/{identifier}")).raw for identifier in ids]


async def look(scim: Scim, step: Step, world: World, identifier: str) -> None:
    """Compare the resource that the step was about with the model."""
    kind = step.path.split("/")[1]
    reply = await scim.get(f"/{kind}/{identifier}")
    held = (world.users if kind == "Users" else world.groups).get(identifier)
    if held is None:
        reply.refused(404)
    elif kind == "Users":
        assert plain(reply.ok(200).json) == held, str(step)
        direct = [g for g in reply.json.get("groups", []) if g["type"] == "direct"]
        assert {g["value"] for g in direct} == world.groups_of(identifier), str(step)
    else:
        members = [member["value"] for member in reply.ok(200).json.get("members", [])]
        assert len(members) == len(set(members)), str(step)
        assert set(members) == set(held["members"]), str(step)
        assert reply.json["displayName"] == held["displayName"], str(step)


async def look_at_everything(scim: Scim, seed: str, world: World) -> None:
    """Compare lists and look-ups at the end of the story."""
    for identifier, held in world.users.items():
        name = json.dumps(held["userName"], ensure_ascii=False)
        found = await scim.find("Users", f"userName eq {name}", attributes="id")
        assert [user["id"] for user in found] == [identifier], (seed, name)
    asked = {"attributes": "members", "count": 1000}
    listed = await scim.find("Groups", f'displayName sw "{seed}"', **asked)
    found_members = {g["id"]: {m["value"] for m in g.get("members", [])} for g in listed}
    assert found_members == {g: set(held["members"]) for g, held in world.groups.items()}, seed


@pytest.mark.parametrize("seed", range(6))
async def test_stories_of_several_clients_end_as_the_model_says(scim: Scim, seed: int) -> None:
    refused = await asyncio.gather(*(tell(scim, f"s{seed}-{n}") for n in range(CLIENTS)))
    assert sum(refused) > CLIENTS, "a story without refusals shows only half"


@pytest.mark.parametrize("size", [100, 101, 1001])
async def test_a_group_of_any_size_is_kept_whole(scim: Scim, size: int) -> None:
    """Around the page sizes that identity providers use: made, grown, cut, replaced, emptied."""
    users = [f"pending-{n}" for n in range(size)]
    group = await scim.group("big", users)
    assert sorted(await scim.members(group)) == sorted(users)
    extra = {"op": "add", "path": "members", "value": [{"value": "one-more"}]}
    (await scim.patch(f"/Groups/{group}", extra)).ok()
    assert sorted(await scim.members(group)) == sorted([*users, "one-more"])
    gone = {"op": "remove", "path": "members", "value": [{"value": u} for u in users[: size // 2]]}
    (await scim.patch(f"/Groups/{group}", gone)).ok()
    assert sorted(await scim.members(group)) == sorted([*users[size // 2 :], "one-more"])
    whole = {"displayName": "big", "members": [{"value": user} for user in reversed(users)]}
    (await scim.put(f"/Groups/{group}", whole)).ok(200)
    assert sorted(await scim.members(group)) == sorted(users)
    (await scim.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": []})).ok()
    assert await scim.members(group) == []


async def test_a_hundred_thousand_members_go_in_and_out(scim: Scim) -> None:
    """PUT of the whole group, as Okta's hand-made apps send it, and one change by PATCH after."""
    members = [{"value": f"member-{n:06}"} for n in range(100_000)]
    group = await scim.group("everybody")
    (await scim.put(f"/Groups/{group}", {"displayName": "everybody", "members": members})).ok(200)
    one = {"op": "remove", "path": 'members[value eq "member-050000"]'}
    (await scim.patch(f"/Groups/{group}", one)).ok()
    held = await scim.members(group)
    assert len(held) == 99_999
    assert set(held) == {m["value"] for m in members} - {"member-050000"}
    shorter = {"displayName": "everybody", "members": members[::2]}
    (await scim.put(f"/Groups/{group}", shorter)).ok(200)
    assert set(await scim.members(group)) == {m["value"] for m in members[::2]}
    found = await scim.find("Groups", 'members eq "member-000002"', attributes="id")
    assert [resource["id"] for resource in found] == [group]


async def test_many_clients_change_one_group_and_nobody_is_lost(scim: Scim) -> None:
    """Each adds its own members one by one and takes every third out again, all at once."""
    group = await scim.group("shared")
    own = {client: [f"m-{client}-{n}" for n in range(30)] for client in range(6)}

    async def change(members: list[str]) -> None:
        for number, member in enumerate(members):
            add = {"op": "add", "path": "members", "value": [{"value": member}]}
            (await scim.patch(f"/Groups/{group}", add)).ok()
            if number % 3 == 0:
                remove = {"op": "remove", "path": f'members[value eq "{member}"]'}
                (await scim.patch(f"/Groups/{group}", remove)).ok()

    await asyncio.gather(*map(change, own.values()))
    expected = {m for members in own.values() for n, m in enumerate(members) if n % 3}
    assert sorted(await scim.members(group)) == sorted(expected)
