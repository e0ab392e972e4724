"""Users over HTTP: what every identity provider does with them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Service

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ANA = {
    "schemas": [USER_URN, ENTERPRISE],
    "userName": "ana@acme.example",
    "externalId": "00u1",
    "name": {"givenName": "Ana", "familyName": "Lima"},
    "emails": [{"value": "ana@acme.example", "type": "work", "primary": True}],
    "active": True,
    ENTERPRISE: {"department": "Data"},
}


async def test_a_post_answers_with_the_resource_as_a_get_shows_it(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    assert made.status == 201
    body = made.json
    assert {name: body[name] for name in ANA} == ANA
    location = f"{scim.base}/Users/{body['id']}"
    assert made.headers["Location"] == body["meta"]["location"] == location
    assert made.headers["ETag"] == body["meta"]["version"]
    assert made.headers["Content-Type"] == "application/scim+json; charset=utf-8"
    assert body["meta"]["resourceType"] == "User"
    assert body["meta"]["created"] == body["meta"]["lastModified"]
    assert (body["groups"], made.seq) == ([], 1)
    got = await scim("GET", f"/Users/{body['id']}")
    assert (got.status, got.json, got.headers["ETag"]) == (200, body, made.headers["ETag"])


async def test_what_the_server_decides_is_not_the_clients_to_say(scim: Client) -> None:
    mine = {"id": "my-id", "meta": {"version": "7", "location": "http://x"}, "groups": ["g"]}
    made = await scim("POST", "/Users", ANA | mine)
    assert made.status == 201
    assert uuid.UUID(made.id)
    assert made.json["groups"] == []
    assert (await scim("GET", "/Users/my-id")).refuses(404)


async def test_a_password_is_taken_and_is_nowhere_afterwards(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA | {"password": "Tr0ub4dor&3"})
    patched = await scim(
        "PATCH",
        f"/Users/{made.id}",
        {"Operations": [{"op": "replace", "path": "password", "value": "Tr0ub4dor&3"}]},
    )
    assert (made.status, patched.status) == (201, 200)
    assert b"Tr0ub4dor" not in made.raw + patched.raw
    redis = scim.link.redis
    async for key in redis.scan_iter(match=f"scim:{{{scim.tenant}}}:*", count=20_000):
        assert b"Tr0ub4dor" not in (await redis.dump(key) or b"")


async def test_a_taken_name_is_a_409_and_no_event(scim: Client) -> None:
    await scim("POST", "/Users", ANA)
    for body in (ANA, ANA | {"userName": "ANA@acme.example", "externalId": "other"}):
        assert (await scim("POST", "/Users", body)).refuses(409, "uniqueness", "userName")
    assert await scim.last_seq() == 1


async def test_a_put_replaces_all_that_may_be_written(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    merged = made.json | {"name": {"givenName": "Ann"}, "active": False, "externalId": None}
    put = await scim("PUT", f"/Users/{made.id}", merged)
    assert (put.status, put.seq) == (200, 2)
    assert put.json["name"] == {"givenName": "Ann"}
    assert "externalId" not in put.json
    assert put.json["meta"]["created"] == made.json["meta"]["created"]
    assert put.headers["ETag"] != made.headers["ETag"]
    assert (await scim("GET", f"/Users/{made.id}")).json == put.json


async def test_a_put_or_patch_without_a_change_is_no_event(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    await scim.user("bo")
    put = await scim("PUT", f"/Users/{made.id}", made.json)
    patched = await scim(
        "PATCH",
        f"/Users/{made.id}",
        {"Operations": [{"op": "Replace", "path": "active", "value": "True"}]},
    )
    assert (put.status, patched.status) == (200, 200)
    assert put.json == patched.json == made.json
    assert (put.seq, patched.seq, await scim.last_seq()) == (2, 2, 2)


DEACTIVATIONS = {
    "Okta, catalogue app": {"op": "replace", "value": {"active": False}},
    "Entra ID": {"op": "Replace", "path": "active", "value": "False"},
    "Entra ID with the flag": {"op": "replace", "path": "active", "value": False},
    "by URN": {"op": "add", "path": f"{USER_URN}:active", "value": False},
}


@pytest.mark.parametrize("operation", DEACTIVATIONS.values(), ids=DEACTIVATIONS.keys())
async def test_every_dialect_deactivates(scim: Client, operation: dict[str, object]) -> None:
    made = await scim("POST", "/Users", ANA)
    patched = await scim("PATCH", f"/Users/{made.id}", {"Operations": [operation]})
    assert (patched.status, patched.json["active"], patched.seq) == (200, False, 2)


async def test_a_deactivation_is_done_although_another_path_is_unknown(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    unknown = {"op": "Add", "path": "shoeSize", "value": "38"}
    off = {"op": "Replace", "path": "active", "value": "False"}
    refused = await scim("PATCH", f"/Users/{made.id}", {"Operations": [unknown]})
    assert refused.refuses(400, "invalidPath", "shoeSize")
    both = await scim("PATCH", f"/Users/{made.id}", {"Operations": [unknown, off]})
    assert (both.status, both.json["active"]) == (200, False)


async def test_a_patch_is_done_whole_or_not_at_all(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    operations = [
        {"op": "replace", "path": "title", "value": "Lead"},
        {"op": "replace", "path": "userName", "value": ""},
    ]
    patched = await scim("PATCH", f"/Users/{made.id}", {"Operations": operations})
    assert patched.refuses(400, "invalidValue", "userName")
    assert (await scim("GET", f"/Users/{made.id}")).json == made.json
    assert await scim.last_seq() == 1


async def test_a_deleted_user_is_gone_and_a_new_one_may_have_the_name(scim: Client) -> None:
    made = await scim("POST", "/Users", ANA)
    deleted = await scim("DELETE", f"/Users/{made.id}")
    assert (deleted.status, deleted.raw, deleted.seq) == (204, b"", 2)
    for method in ("GET", "DELETE", "PUT"):
        again = await scim(method, f"/Users/{made.id}", ANA if method == "PUT" else None)
        assert again.refuses(404)
    again = await scim("POST", "/Users", ANA)
    assert again.status == 201
    assert again.id != made.id


async def test_a_write_shows_what_was_asked_for(scim: Client) -> None:
    made = await scim("POST", "/Users?attributes=userName", ANA)
    assert set(made.json) == {"schemas", "id", "userName"}
    put = await scim("PUT", f"/Users/{made.id}?excludedAttributes=emails,name,groups", ANA)
    assert not {"emails", "name", "groups"} & set(put.json)
    both = await scim("GET", f"/Users/{made.id}?attributes=id&excludedAttributes=name")
    assert both.refuses(400, "invalidValue", "attributes")


async def test_a_user_shows_the_groups_that_the_user_is_in(scim: Client) -> None:
    ana = await scim.user("ana")
    team = await scim.group("Team", ana)
    got = await scim("GET", f"/Users/{ana}")
    assert got.json["groups"] == [
        {
            "value": team,
            "$ref": f"{scim.base}/Groups/{team}",
            "display": "Team",
            "type": "direct",
        }
    ]
    assert "groups" not in (await scim("GET", f"/Users/{ana}?excludedAttributes=groups")).json


async def test_membership_survives_deactivation(scim: Client) -> None:
    ana = await scim.user("ana")
    team = await scim.group("Team", ana)
    for active in (False, True):
        operation = {"op": "replace", "value": {"active": active}}
        reply = await scim("PATCH", f"/Users/{ana}", {"Operations": [operation]})
        assert [g["value"] for g in reply.json["groups"]] == [team]


async def test_only_verified_domains_get_access(service: Service) -> None:
    other = service.other
    good = await other.user("ana@ACME.example")
    for name in ("ana@evil.example", "ana", "acme.example@evil.example"):
        refused = await other("POST", "/Users", {"userName": name})
        assert refused.refuses(400, "invalidValue", "userName")
    renamed = {"op": "replace", "path": "userName", "value": "ana@evil.example"}
    refused = await other("PATCH", f"/Users/{good}", {"Operations": [renamed]})
    assert refused.refuses(400, "invalidValue", "userName")
    # Nobody who has no access is refused, but only for as long.
    idle = await other.user("bo@evil.example", active=False)
    activate = {"op": "replace", "value": {"active": True}}
    refused = await other("PATCH", f"/Users/{idle}", {"Operations": [activate]})
    assert refused.refuses(400, "invalidValue", "userName")
    both = {"op": "replace", "value": {"active": False, "userName": "ana@evil.example"}}
    assert (await other("PATCH", f"/Users/{good}", {"Operations": [both]})).status == 200
