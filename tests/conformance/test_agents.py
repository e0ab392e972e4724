"""Agents and their applications over HTTP, as the drafts have them (draft-abbey-scim-agent)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

TYPES = {"Agent": "/Agents", "AgenticApplication": "/AgenticApplications"}


async def schema_of(scim: Scim, name: str) -> Any:
    described = (await scim.get(f"/ResourceTypes/{name}")).ok(200).json
    return (await scim.get(f"/Schemas/{described['schema']}")).ok(200).json


@pytest.mark.parametrize(("name", "endpoint"), TYPES.items(), ids=TYPES.keys())
async def test_a_machine_lives_as_a_person_does(scim: Scim, name: str, endpoint: str) -> None:
    """Created, found, replaced, changed, deactivated, deleted; its name is unique."""
    schema = await schema_of(scim, name)
    body: dict[str, Any] = {"schemas": [schema["id"]], "name": "crawler", "externalId": "A-1"}
    created = (await scim.post(endpoint, body)).ok(201)
    path = f"{endpoint}/{created.id}"
    assert created.json["meta"]["resourceType"] == name
    assert created.headers["Location"] == scim.base + path
    (await scim.post(endpoint, body | {"name": "CRAWLER"})).refused(409, "uniqueness")
    found = await scim.find(endpoint[1:], 'name eq "Crawler"')
    assert [resource["id"] for resource in found] == [created.id]
    assert len(await scim.find(endpoint[1:], 'externalId eq "A-1"')) == 1
    assert (await scim.put(path, body | {"displayName": "C"})).ok(200).json["displayName"] == "C"
    off = {"op": "replace", "path": "active", "value": False}
    (await scim.patch(path, off)).ok()
    assert (await scim.get(path)).ok(200).json["active"] is False
    (await scim.post(endpoint, {"schemas": [schema["id"]]})).refused(400, "invalidValue")
    (await scim.delete(path)).ok(204)
    (await scim.get(path)).refused(404)


async def test_an_agent_may_be_in_a_group(scim: Scim) -> None:
    schema = await schema_of(scim, "Agent")
    agent = (await scim.post("/Agents", {"schemas": [schema["id"]], "name": "a"})).ok(201).id
    user = await scim.user()
    group = await scim.group(members=[agent, user])
    members = (await scim.get(f"/Groups/{group}")).ok(200).json["members"]
    assert {m["value"]: m["type"] for m in members} == {agent: "Agent", user: "User"}
    assert {m["$ref"] for m in members} == {
        f"{scim.base}/Agents/{agent}",
        f"{scim.base}/Users/{user}",
    }
    (await scim.delete(f"/Agents/{agent}")).ok(204)
    assert await scim.members(group) == [user]


async def test_agents_are_no_users(scim: Scim) -> None:
    """Their names don't meet: one is the id of a person, the other of a machine."""
    schema = await schema_of(scim, "Agent")
    agent = (await scim.post("/Agents", {"schemas": [schema["id"]], "name": "same"})).ok(201).id
    await scim.user("same")
    (await scim.get(f"/Users/{agent}")).refused(404)
    assert (await scim.get("/Users")).json["totalResults"] == 1
