"""What writes answer, and what a PUT keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

TITLE = {"Operations": [{"op": "replace", "path": "title", "value": "Lead"}]}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("attributes=title", {"schemas", "id", "title"}),
        ("excludedAttributes=title,meta,groups", {"schemas", "id", "userName"}),
    ],
)
async def test_a_write_shows_the_attributes_that_were_asked_for(
    scim: Client, query: str, shown: set[str]
) -> None:
    body = {"userName": "ana", "title": "Lead"}
    made = await scim("POST", f"/Users?{query}", body)
    put = await scim("PUT", f"/Users/{made.id}?{query}", body)
    patched = await scim("PATCH", f"/Users/{made.id}?{query}", TITLE)
    for reply in (made, put, patched):
        assert set(reply.json) == shown
    for method, path in (("POST", "/Users"), ("PUT", f"/Users/{made.id}")):
        both = f"{path}?attributes=title&excludedAttributes=meta"
        assert (await scim(method, both, {"userName": "bo"})).refuses(400, "invalidValue")
    assert await scim.last_seq() == 1  # what can't be answered is not done


async def test_a_patch_shows_a_group_unless_it_is_large_or_nobody_wants_it(scim: Client) -> None:
    small, large = await scim.group("Team", "a"), await scim.group("All", *map(str, range(101)))

    async def rename(group: str, op: str, query: str = "") -> Any:
        body = {"Operations": [{"op": op, "path": "displayName", "value": f"{group} {op}"}]}
        reply = await scim("PATCH", f"/Groups/{group}{query}", body)
        assert reply.status == (200 if reply.raw else 204)
        return reply.json

    shown = await rename(small, "replace")
    assert shown == (await scim("GET", f"/Groups/{small}")).json
    assert await rename(small, "Replace") is None
    assert await rename(large, "replace") is None
    known = {"displayName": "Known", "externalId": "g-1"}
    assert await rename((await scim("POST", "/Groups", known)).id, "replace") is None
    for group in (small, large):
        for op in ("replace", "Replace"):
            shown = await rename(group, op, "?attributes=displayName")
            assert shown["displayName"] == f"{group} {op}"
            assert "members" not in shown


@pytest.mark.parametrize("active", [True, False])
async def test_a_put_that_leaves_out_active_leaves_it_as_it_is(scim: Client, active: bool) -> None:
    ana = await scim.user("ana", title="Lead", active=active)
    put = await scim("PUT", f"/Users/{ana}", {"userName": "ana"})
    assert (put.json["active"], "title" in put.json) == (active, False)
    again = await scim("PUT", f"/Users/{ana}", {"userName": "ana", "active": active})
    assert (again.seq, again.json) == (2, put.json)
    back = await scim("PUT", f"/Users/{ana}", {"userName": "ana", "active": not active})
    assert back.json["active"] is not active


MALFORMED = ["", " ", "title.", ".title", "a b", 'emails[type eq "work"', "members[", "1title"]


@pytest.mark.parametrize("path", MALFORMED)
async def test_a_malformed_path_changes_nothing(scim: Client, path: str) -> None:
    ana = await scim.user("ana")
    operations: list[Any] = [*TITLE["Operations"], {"op": "add", "path": path, "value": "x"}]
    reply = await scim("PATCH", f"/Users/{ana}", {"Operations": operations})
    assert reply.refuses(400, "invalidFilter" if "[" in path else "invalidPath")
    assert await scim.last_seq() == 1


async def test_a_group_can_t_come_to_lie_below_itself(scim: Client) -> None:
    low = await scim.group("Low")
    middle = await scim.group("Middle", low)
    top = await scim.group("Top", middle)
    for op, bad in (("add", top), ("replace", low)):
        body = {"Operations": [{"op": op, "path": "members", "value": [{"value": bad}]}]}
        assert (await scim("PATCH", f"/Groups/{low}", body)).refuses(400, "invalidValue", bad)
    put = {"displayName": "Low", "members": [{"value": middle}]}
    assert (await scim("PUT", f"/Groups/{low}", put)).refuses(400, "invalidValue", middle)
    assert await scim.last_seq() == 3


async def test_agents_are_served_and_can_be_members(scim: Client) -> None:
    made = await scim("POST", "/Agents", {"name": "bot", "externalId": "x"})
    assert made.status == 201
    assert made.headers["Location"] == f"{scim.base}/Agents/{made.id}"
    assert (await scim("POST", "/Agents", {"name": "BOT"})).refuses(409, "uniqueness", "name")
    team = await scim.group("Team", made.id)
    (member,) = (await scim("GET", f"/Groups/{team}")).json["members"]
    assert member == {"value": made.id, "$ref": f"{scim.base}/Agents/{made.id}", "type": "Agent"}
    found = await scim("GET", "/Agents?filter=name+eq+%22Bot%22")
    assert [r["id"] for r in found.json["Resources"]] == [made.id]
    assert (await scim("DELETE", f"/Agents/{made.id}")).status == 204
    assert await scim.members(team) == []
