"""What RFC 7644 asks of a service provider, asked over HTTP; the numbers are its sections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Live, Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


async def read(scim: Scim, user: str) -> Any:
    return (await scim.get(f"/Users/{user}")).ok(200).json


async def found(scim: Scim, filter_: str) -> list[str]:
    """Return the names of the users that a filter finds, in order."""
    return sorted(user["userName"] for user in await scim.find("Users", filter_))


# --- §2: authentication -----------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "Bearer x", "Basic eDp5", "Bearer", "Digest x", "nonsense"])
async def test_2_a_stranger_is_told_how_to_authenticate_and_nothing_else(
    scim: Scim, given: str
) -> None:
    for method, path in (("GET", "/Users"), ("POST", "/Users"), ("GET", "/Schemas"), ("GET", "/x")):
        reply = await scim.send(method, path, headers={"Authorization": given})
        reply.refused(401)
        assert "Bearer" in reply.headers["WWW-Authenticate"]
        assert "Basic" in reply.headers["WWW-Authenticate"]


async def test_2_a_client_is_authorized_for_its_own_tenant_only(scim: Scim, live: Live) -> None:
    """The credentials decide what a client may see (also §6, multi-tenancy)."""
    user, other = await scim.user(), live.take()
    stranger = {"Authorization": f"Bearer {other.token}"}
    (await scim.send("GET", f"/Users/{user}", headers=stranger)).refused(401)
    (await scim.send("DELETE", f"/Users/{user}", headers=stranger)).refused(401)
    theirs = type(scim)(session=scim.session, base=other.base, token=other.token)
    (await theirs.get(f"/Users/{user}")).refused(404)
    (await theirs.delete(f"/Users/{user}")).refused(404)
    assert (await theirs.get("/Users")).json["totalResults"] == 0
    (await scim.get(f"/Users/{user}")).ok(200)


# --- §3.1, §3.8: messages and media types -----------------------------------------------------


@pytest.mark.parametrize("accept", ["application/scim+json", "application/json", "*/*", ""])
async def test_3_8_answers_are_scim_json_in_utf_8(scim: Scim, accept: str) -> None:
    user = await scim.user(displayName="Zoë")
    reply = (await scim.get(f"/Users/{user}", Accept=accept)).ok(200)
    media_type, _, charset = reply.headers["Content-Type"].partition(";")
    assert media_type == "application/scim+json"
    assert charset.strip().lower() in {"", "charset=utf-8"}
    assert "Zoë".encode() in reply.raw


@pytest.mark.parametrize(
    "media_type",
    ["application/scim+json", "application/json", "application/scim+json; charset=utf-8"],
)
async def test_3_8_bodies_may_be_scim_json_or_json(scim: Scim, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    body = {"schemas": [USER], "userName": "typed"}
    (await scim.send("POST", "/Users", body, headers=headers)).ok(201)


async def test_3_8_another_type_of_body_is_refused(scim: Scim) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    (await scim.send("POST", "/Users", raw=b"userName=a", headers=headers)).refused(415)


# --- §3.3: creating ---------------------------------------------------------------------------


async def test_3_3_a_created_resource_is_201_with_its_location_and_itself(scim: Scim) -> None:
    for path, body in (("/Users", {"userName": "made"}), ("/Groups", {"displayName": "made"})):
        reply = (await scim.post(path, body)).ok(201)
        location = f"{scim.base}{path}/{reply.id}"
        assert reply.headers["Location"] == reply.json["meta"]["location"] == location
        again = (await scim.get(f"{path}/{reply.id}")).ok(200).json
        assert again == reply.json


async def test_3_3_read_only_attributes_of_a_client_are_ignored(scim: Scim) -> None:
    body = {"userName": "ro", "id": "mine", "groups": [{"value": "g"}], "meta": {"version": "x"}}
    created = (await scim.post("/Users", body)).ok(201).json
    assert created["id"] != "mine"
    assert created.get("groups", []) == []
    assert created["meta"]["version"] != "x"


async def test_3_3_a_taken_name_is_409_uniqueness(scim: Scim) -> None:
    await scim.user("taken")
    await scim.group("taken")
    (await scim.post("/Users", {"userName": "taken"})).refused(409, "uniqueness")
    (await scim.post("/Groups", {"displayName": "taken"})).refused(409, "uniqueness")


async def test_3_3_1_the_resource_type_is_set_by_the_service(scim: Scim) -> None:
    body = {"schemas": [USER], "displayName": "g", "meta": {"resourceType": "User"}}
    assert (await scim.post("/Groups", body)).ok(201).json["meta"]["resourceType"] == "Group"


# --- §3.4: retrieving -------------------------------------------------------------------------


async def test_3_4_1_a_resource_is_found_by_its_location(scim: Scim) -> None:
    user = await scim.user("here")
    assert (await read(scim, user))["userName"] == "here"
    (await scim.get("/Users/nobody")).refused(404)
    (await scim.get(f"/Groups/{user}")).refused(404)


async def test_3_4_2_a_list_is_a_list_response_with_figures(scim: Scim) -> None:
    for n in range(3):
        await scim.user(f"l{n}")
    body = (await scim.get("/Users?count=2")).ok(200).json
    assert body["schemas"] == [LIST]
    assert (body["totalResults"], body["itemsPerPage"], body["startIndex"]) == (3, 2, 1)
    assert len(body["Resources"]) == 2


async def test_3_4_2_no_match_is_200_with_a_total_of_0(scim: Scim) -> None:
    body = (await scim.get("/Users?filter=userName%20eq%20%22nobody%22")).ok(200).json
    assert body["totalResults"] == 0
    assert body.get("Resources", []) == []


PEOPLE: dict[str, dict[str, Any]] = {
    "ana": {
        "title": "Engineer",
        "active": True,
        "emails": [{"value": "ana@x.example", "type": "work"}, {"value": "a@h", "type": "home"}],
        "name": {"familyName": "Z"},
        ENTERPRISE: {"department": "Data"},
    },
    "bo": {"title": "engineer II", "active": False, "emails": [{"value": "b@x", "type": "home"}]},
    "cy": {"nickName": 'say "hi"', "externalId": "C"},
}

FILTERS: dict[str, tuple[str, list[str]]] = {
    "eq ignores case": ('title eq "ENGINEER"', ["ana"]),
    "eq where case matters": ('externalId eq "c"', []),
    "ne": ('title ne "engineer"', ["bo", "cy"]),
    "co": ('title co "neer"', ["ana", "bo"]),
    "sw": ('userName sw "A"', ["ana"]),
    "ew": ('title ew "ii"', ["bo"]),
    "pr": ("title pr", ["ana", "bo"]),
    "not pr": ("not (title pr)", ["cy"]),
    "gt of text": ('userName gt "ana"', ["bo", "cy"]),
    "ge of text": ('userName ge "bo"', ["bo", "cy"]),
    "lt of text": ('userName lt "bo"', ["ana"]),
    "le of text": ('userName le "bo"', ["ana", "bo"]),
    "boolean": ("active eq false", ["bo"]),
    "time": ('meta.lastModified gt "2001-01-01T00:00:00Z"', ["ana", "bo", "cy"]),
    "time before": ('meta.created lt "2001-01-01T00:00:00Z"', []),
    "and before or": ('userName eq "cy" or title pr and active eq true', ["ana", "cy"]),
    "grouping": ('(userName eq "cy" or title pr) and active eq true', ["ana"]),
    "not": ('not (userName eq "ana")', ["bo", "cy"]),
    "any value of several": ('emails.value eq "a@h"', ["ana"]),
    "one value fulfils all": ('emails[type eq "home" and value co "@x"]', ["bo"]),
    "sub-attribute": ('name.familyName eq "z"', ["ana"]),
    "urn": (f'{USER}:userName eq "bo"', ["bo"]),
    "urn of an extension": (f'{ENTERPRISE}:department eq "data"', ["ana"]),
    "names and operators in any case": ('USERNAME EQ "bo"', ["bo"]),
    "escapes": ('nickName eq "say \\"hi\\""', ["cy"]),
    "escapes of unicode": ('userName eq "\\u0062o"', ["bo"]),
    "null": ("title eq null", ["cy"]),
}


@pytest.mark.parametrize(("filter_", "names"), FILTERS.values(), ids=FILTERS.keys())
async def test_3_4_2_2_filters_find_what_they_say(
    scim: Scim, filter_: str, names: list[str]
) -> None:
    for name, attributes in PEOPLE.items():
        await scim.user(name, **attributes)
    assert await found(scim, filter_) == names


@pytest.mark.parametrize(
    "filter_",
    [
        "",
        " ",
        "userName",
        "userName eq",
        'userName is "a"',
        'userName eq "a',
        'userName eq "a" and',
        '(userName eq "a"',
        'emails[type eq "work"',
        "userName eq a b",
        'unknown eq "a"',
        "active gt true",
        "active lt false",
        "active ge true",
        "active le true",
        'x509Certificates.value gt "AAAA"',
        'active eq "nonsense"',
        'meta.created gt "yesterday"',
    ],
)
async def test_3_4_2_2_a_filter_that_can_not_be_done_is_refused(scim: Scim, filter_: str) -> None:
    """Never an empty list, and never everybody. An order of booleans or binaries is none."""
    await scim.user("ana")
    (await scim.get(f"/Users?filter={quote(filter_)}")).refused(400, "invalidFilter")


async def test_3_4_2_4_pages_begin_at_1_and_hold_what_was_asked_for(scim: Scim) -> None:
    names = [f"p{n}" for n in range(5)]
    for name in names:
        await scim.user(name)

    async def page(query: str) -> tuple[int, list[str]]:
        body = (await scim.get(f"/Users?{query}")).ok(200).json
        assert body["totalResults"] == 5
        return body["startIndex"], [user["userName"] for user in body.get("Resources", [])]

    assert await page("startIndex=1&count=2") == (1, names[:2])
    assert await page("startIndex=3&count=2") == (3, names[2:4])
    assert await page("startIndex=5&count=2") == (5, names[4:])
    assert (await page("startIndex=9&count=2"))[1] == []
    assert await page("startIndex=0&count=1") == (1, names[:1])
    assert await page("startIndex=-7&count=1") == (1, names[:1])
    assert (await page("count=0"))[1] == []
    assert (await page("count=-3"))[1] == []


async def test_3_4_2_4_no_page_is_longer_than_announced(scim: Scim) -> None:
    """More than `filter.maxResults` are not sent at once, whatever `count` asks for."""
    most = (await scim.get("/ServiceProviderConfig")).json["filter"]["maxResults"]
    body = (await scim.get(f"/Users?count={most * 10}")).ok(200).json
    assert body["itemsPerPage"] <= most


WHOLE = {
    "displayName": "D",
    "name": {"givenName": "G", "familyName": "F"},
    "emails": [{"value": "a@x.example", "type": "work"}],
    ENTERPRISE: {"department": "D", "division": "V"},
}
ALWAYS = {"schemas", "id"}


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("attributes=displayName", {"displayName"}),
        ("attributes=DISPLAYNAME,userName", {"displayName", "userName"}),
        ("attributes=name.givenName", {"name"}),
        ("attributes=emails", {"emails"}),
        (f"attributes={ENTERPRISE}:department", {ENTERPRISE}),
        (f"attributes={USER}:displayName", {"displayName"}),
        ("attributes=meta.location", {"meta"}),
        ("attributes=password", set()),
        ("attributes=noSuchThing", set()),
    ],
)
async def test_3_4_2_5_attributes_are_the_minimum_and_what_was_asked_for(
    scim: Scim, query: str, keys: set[str]
) -> None:
    """On every answer that holds a resource, also on those to a write (§3.9)."""
    created = await scim.send("POST", f"/Users?{query}", {"userName": "part"} | WHOLE)
    user = created.ok(201).id
    title = {"Operations": [{"op": "add", "path": "title", "value": "T"}]}
    replies = [
        created,
        await scim.get(f"/Users/{user}?{query}"),
        await scim.send("PUT", f"/Users/{user}?{query}", {"userName": "part"} | WHOLE),
        await scim.send("PATCH", f"/Users/{user}?{query}", title),
    ]
    shown = [reply.ok(200, 201).json for reply in replies]
    shown += (await scim.get(f"/Users?{query}")).ok(200).json["Resources"]
    for resource in shown:
        assert resource.keys() == ALWAYS | keys
        if "givenName" in query:
            assert resource["name"] == {"givenName": "G"}


@pytest.mark.parametrize(
    ("query", "gone"),
    [
        ("excludedAttributes=displayName,emails", {"displayName", "emails"}),
        ("excludedAttributes=id,schemas", set()),
        (f"excludedAttributes={ENTERPRISE}:department", set()),
        (f"excludedAttributes={ENTERPRISE}", {ENTERPRISE}),
        ("excludedAttributes=name.givenName", set()),
    ],
)
async def test_3_4_2_5_excluded_attributes_leave_what_is_always_returned(
    scim: Scim, query: str, gone: set[str]
) -> None:
    user = await scim.user("part", **WHOLE)
    whole = await read(scim, user)
    part = (await scim.get(f"/Users/{user}?{query}")).ok(200).json
    assert part.keys() == whole.keys() - gone
    if "department" in query:
        assert part[ENTERPRISE] == {"division": "V"}
    if "givenName" in query:
        assert part["name"] == {"familyName": "F"}


# --- §3.5.1: PUT ------------------------------------------------------------------------------


async def test_3_5_1_put_replaces_all_that_a_client_may_write(scim: Scim) -> None:
    user = await scim.user("put", **WHOLE)
    before = await read(scim, user)
    put = (await scim.put(f"/Users/{user}", {"userName": "put", "title": "T"})).ok(200).json
    assert put.keys() - {"active", "groups"} == {"schemas", "id", "userName", "title", "meta"}
    assert put["id"] == user
    assert put["meta"]["created"] == before["meta"]["created"]
    assert await read(scim, user) == put


async def test_3_5_1_put_creates_nothing(scim: Scim) -> None:
    (await scim.put("/Users/nobody", {"userName": "nobody"})).refused(404)
    (await scim.put("/Groups/nobody", {"displayName": "nobody"})).refused(404)
    assert await found(scim, 'userName eq "nobody"') == []


async def test_3_5_1_put_ignores_what_is_read_only(scim: Scim) -> None:
    user = await scim.user("put")
    body = await read(scim, user) | {"id": "other", "groups": [{"value": "g"}]}
    body["meta"] = {"created": "2001-01-01T00:00:00Z", "resourceType": "Group"}
    put = (await scim.put(f"/Users/{user}", body)).ok(200).json
    assert put["id"] == user
    assert put["meta"]["resourceType"] == "User"
    assert put.get("groups", []) == []


async def test_3_5_1_put_needs_what_is_required(scim: Scim) -> None:
    user = await scim.user("put", title="T")
    (await scim.put(f"/Users/{user}", {"title": "U"})).refused(400, "invalidValue")
    assert (await read(scim, user))["title"] == "T"


# --- §3.5.2: PATCH ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"schemas": [PATCH_OP]},
        {"schemas": [PATCH_OP], "Operations": []},
        {"schemas": [PATCH_OP], "Operations": {}},
        {"schemas": [PATCH_OP], "Operations": [{"path": "title", "value": "x"}]},
        {"schemas": [PATCH_OP], "Operations": [{"op": "move", "path": "title", "value": "x"}]},
        {"schemas": [PATCH_OP], "Operations": ["add"]},
        [],
    ],
)
async def test_3_5_2_a_patch_has_operations_each_with_an_op(scim: Scim, body: Any) -> None:
    user = await scim.user()
    (await scim.send("PATCH", f"/Users/{user}", body)).refused(400, "invalidSyntax")


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "add", "path": "meta.version", "value": "x"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "x"}]}, "mutability"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "remove", "path": "id"}, "mutability"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "path": 'emails[value eq "none"].type', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidFilter"),
        ({"op": "replace", "path": "a b", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "noSuchThing", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "title"}, "invalidValue"),
        ({"op": "add", "path": "active", "value": "maybe"}, "invalidValue"),
        ({"op": "add", "value": "title"}, "invalidValue"),
    ],
    ids=str,
)
async def test_3_5_2_a_failing_operation_undoes_the_whole_patch(
    scim: Scim, operation: dict[str, Any], scim_type: str
) -> None:
    """All or nothing, whatever number of operations: before, after and around the bad one."""
    user = await scim.user("atomic", title="before")
    before = (await scim.get(f"/Users/{user}")).raw
    good = {"op": "replace", "path": "title", "value": "after"}
    other = {"op": "add", "path": "nickName", "value": "N"}
    (await scim.patch(f"/Users/{user}", good, operation, other)).refused(400, scim_type)
    assert (await scim.get(f"/Users/{user}")).raw == before


async def test_3_5_2_operations_are_applied_in_their_order(scim: Scim) -> None:
    user = await scim.user()
    steps = [{"op": "replace", "path": "title", "value": str(n)} for n in range(3)]
    gone = {"op": "remove", "path": "title"}
    last = {"op": "add", "path": "title", "value": "last"}
    assert (await scim.patch(f"/Users/{user}", *steps, gone, last)).json["title"] == "last"
    assert "title" not in (await scim.patch(f"/Users/{user}", last, gone)).ok(200).json


async def test_3_5_2_a_new_primary_takes_that_from_the_others(scim: Scim) -> None:
    user = await scim.user(emails=[{"value": "a@x", "type": "work", "primary": True}])
    new = {"value": "b@x", "type": "home", "primary": True}
    changed = await scim.patch(f"/Users/{user}", {"op": "add", "path": "emails", "value": [new]})
    primary = {e["value"]: e.get("primary", False) for e in changed.ok(200).json["emails"]}
    assert primary == {"a@x": False, "b@x": True}


async def test_3_5_2_a_patch_is_200_with_the_resource_where_attributes_are_asked_for(
    scim: Scim,
) -> None:
    user, group = await scim.user(), await scim.group()
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "T"}]}
    reply = await scim.send("PATCH", f"/Users/{user}?attributes=title", body)
    assert reply.ok(200).json["title"] == "T"
    body["Operations"] = [{"op": "replace", "path": "displayName", "value": "New"}]
    reply = await scim.send("PATCH", f"/Groups/{group}?attributes=displayName", body)
    assert reply.ok(200).json == {"schemas": [GROUP], "id": group, "displayName": "New"}


async def test_3_5_2_a_patch_answers_with_the_resource_or_204(scim: Scim) -> None:
    user, group = await scim.user(), await scim.group()
    title = {"op": "add", "path": "title", "value": "T"}
    assert (await scim.patch(f"/Users/{user}", title)).ok(200).json == await read(scim, user)
    name = {"op": "add", "path": "displayName", "value": "N"}
    reply = (await scim.patch(f"/Groups/{group}", name)).ok(200, 204)
    whole = (await scim.get(f"/Groups/{group}")).json
    assert reply.raw == b"" if reply.status == 204 else reply.json == whole


async def test_3_5_2_1_add(scim: Scim) -> None:
    """To a place without a value, to a complex one, to several values, and over a single one."""
    user = await scim.user(emails=[{"value": "a@x", "type": "work"}], name={"givenName": "G"})

    async def add(value: Any, path: str | None = None) -> Any:
        operation = {"op": "add", "value": value} | ({"path": path} if path else {})
        return (await scim.patch(f"/Users/{user}", operation)).ok(200).json

    assert (await add("T", "title"))["title"] == "T"
    assert (await add("U", "title"))["title"] == "U"
    assert (await add({"familyName": "F"}, "name"))["name"] == {"givenName": "G", "familyName": "F"}
    added = (await add([{"value": "b@x", "type": "home"}], "emails"))["emails"]
    assert [email["value"] for email in added] == ["a@x", "b@x"]
    without_path = await add({"nickName": "N", "emails": [{"value": "c@x"}]})
    assert without_path["nickName"] == "N"
    assert len(without_path["emails"]) == 3
    extension = await add("D", f"{ENTERPRISE}:department")
    assert extension[ENTERPRISE] == {"department": "D"}


async def test_3_5_2_1_adding_what_is_there_changes_nothing(scim: Scim) -> None:
    """Not even the time of the last modification."""
    user = await scim.user(title="T", emails=[{"value": "a@x", "type": "work"}])
    group = await scim.group(members=[user])
    before = await read(scim, user)
    title = {"op": "add", "path": "title", "value": "T"}
    email = {"op": "add", "path": "emails", "value": [{"value": "a@x", "type": "work"}]}
    assert (await scim.patch(f"/Users/{user}", title, email)).ok(200).json == before
    whole = (await scim.get(f"/Groups/{group}")).json
    again = {"op": "add", "path": "members", "value": [{"value": user}]}
    (await scim.patch(f"/Groups/{group}", again)).ok()
    assert (await scim.get(f"/Groups/{group}")).json == whole


async def test_3_5_2_2_remove(scim: Scim) -> None:
    emails = [{"value": "a@x", "type": "work"}, {"value": "b@x", "type": "home"}]
    user = await scim.user(title="T", emails=emails, name={"givenName": "G", "familyName": "F"})

    async def remove(path: str) -> Any:
        return (await scim.patch(f"/Users/{user}", {"op": "remove", "path": path})).ok(200).json

    assert "title" not in await remove("title")
    assert (await remove("name.givenName"))["name"] == {"familyName": "F"}
    assert (await remove('emails[type eq "home"]'))["emails"] == emails[:1]
    assert (await remove('emails[value eq "a@x"].type'))["emails"] == [{"value": "a@x"}]
    assert "emails" not in await remove('emails[value eq "a@x"]'), "no value left: unassigned"
    assert "name" not in await remove("name")
    user = await scim.user(emails=emails)
    assert "emails" not in await remove("emails")


async def test_3_5_2_3_replace(scim: Scim) -> None:
    emails = [{"value": "a@x", "type": "work"}, {"value": "b@x", "type": "home"}]
    user = await scim.user(title="T", emails=emails, name={"givenName": "G", "familyName": "F"})

    async def replace(value: Any, path: str | None = None) -> Any:
        operation = {"op": "replace", "value": value} | ({"path": path} if path else {})
        return (await scim.patch(f"/Users/{user}", operation)).ok(200).json

    assert (await replace("U", "title"))["title"] == "U"
    assert (await replace("N", "nickName"))["nickName"] == "N", "nothing there: the same as add"
    assert (await replace({"givenName": "H"}, "name"))["name"]["givenName"] == "H"
    changed = (await replace("c@x", 'emails[type eq "home"].value'))["emails"]
    assert changed == [emails[0], {"value": "c@x", "type": "home"}]
    changed = (await replace({"value": "d@x", "type": "work"}, 'emails[type eq "work"]'))["emails"]
    assert changed[0] == {"value": "d@x", "type": "work"}
    assert (await replace([{"value": "e@x"}], "emails"))["emails"] == [{"value": "e@x"}]
    whole = await replace({"title": "V", "displayName": "D"})
    assert (whole["title"], whole["displayName"]) == ("V", "D")
    assert whole["nickName"] == "N", "what is not named stays"


# --- §3.6: DELETE -----------------------------------------------------------------------------


async def test_3_6_what_is_deleted_is_gone_for_every_request(scim: Scim) -> None:
    user = await scim.user("gone")
    group = await scim.group("gone", [user])
    for path in (f"/Users/{user}", f"/Groups/{group}"):
        reply = (await scim.delete(path)).ok(204)
        assert reply.raw == b""
        (await scim.get(path)).refused(404)
        (await scim.put(path, {"userName": "gone", "displayName": "gone"})).refused(404)
        title = {"op": "replace", "path": "displayName", "value": "x"}
        (await scim.patch(path, title)).refused(404)
        (await scim.delete(path)).refused(404)
    assert (await scim.get("/Users")).json["totalResults"] == 0
    assert await found(scim, "userName pr") == []
    await scim.user("gone")
    await scim.group("gone")


# --- §3.10 to §3.14 ---------------------------------------------------------------------------


async def test_3_10_attributes_are_named_with_or_without_their_urn_in_any_case(scim: Scim) -> None:
    user = await scim.user("noted", **WHOLE)
    for path, value in (
        ("displayname", "1"),
        (f"{USER}:displayName", "2"),
        (f"{USER.upper()}:DISPLAYNAME", "3"),
    ):
        operation = {"op": "replace", "path": path, "value": value}
        changed = (await scim.patch(f"/Users/{user}", operation)).ok(200).json
        assert changed["displayName"] == value
    operation = {"op": "replace", "path": f"{USER}:name.givenName", "value": "H"}
    assert (await scim.patch(f"/Users/{user}", operation)).ok(200).json["name"]["givenName"] == "H"


async def test_3_11_me_is_no_alias_here(scim: Scim) -> None:
    """A provisioning client is nobody who could be meant: 501, as the RFC says where it is not."""
    (await scim.get("/Me")).refused(501)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/Users/nobody", None, 404),
        ("GET", "/NoSuchThing", None, 404),
        ("DELETE", "/Users/nobody", None, 404),
        ("POST", "/Users", {"userName": 7}, 400),
        ("POST", "/Users", [], 400),
        ("GET", "/Users?filter=x", None, 400),
        ("GET", "/Users?startIndex=x", None, 400),
        ("DELETE", "/Users", None, 405),
        ("PUT", "/Users", {}, 405),
        ("GET", "/Schemas?filter=x", None, 403),
    ],
)
async def test_3_12_errors_come_as_errors(
    scim: Scim, method: str, path: str, body: Any, status: int
) -> None:
    """With the Error's URN, the status as a string, and a detail for people."""
    reply = await scim.send(method, path, body)
    reply.refused(status, reply.json.get("scimType"))
    assert isinstance(reply.json["status"], str)
    assert reply.json["detail"]


@pytest.mark.parametrize("raw", [b"", b"{", b'{"userName": }', b"\xff\xfe", b"nul", b'"a"'])
async def test_3_12_a_body_that_is_no_json_is_invalid_syntax(scim: Scim, raw: bytes) -> None:
    (await scim.send("POST", "/Users", raw=raw)).refused(400, "invalidSyntax")


async def test_3_13_a_version_that_there_is_not_is_refused(scim: Scim) -> None:
    """The base URL ends in v2; no other version does something else under its name."""
    other = type(scim)(
        session=scim.session, base=scim.base.removesuffix("/v2") + "/v1", token=scim.token
    )
    (await other.get("/Users")).refused(404)
    bare = type(scim)(session=scim.session, base=scim.base.removesuffix("/v2"), token=scim.token)
    (await bare.get("/Users")).refused(404)


# --- §4: discovery ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ResourceTypes", "/Schemas"])
async def test_4_discovery_lists_all_and_ignores_paging_sorting_and_selection(
    scim: Scim, path: str
) -> None:
    whole = (await scim.get(path)).ok(200).json
    assert whole["schemas"] == [LIST]
    assert whole["totalResults"] == len(whole["Resources"])
    query = "?startIndex=2&count=1&sortBy=id&sortOrder=descending&attributes=id"
    assert (await scim.get(path + query)).ok(200).json == whole


@pytest.mark.parametrize("path", ["/ResourceTypes", "/Schemas", "/ServiceProviderConfig"])
async def test_4_a_filter_is_forbidden_there(scim: Scim, path: str) -> None:
    (await scim.get(f"{path}?filter=id%20eq%20%22x%22")).refused(403)


async def test_4_what_is_not_described_is_404(scim: Scim) -> None:
    (await scim.get("/ResourceTypes/Spaceship")).refused(404)
    (await scim.get("/Schemas/urn:nothing")).refused(404)


# --- §7: security -----------------------------------------------------------------------------


async def test_7_5_what_a_client_sent_is_not_written_into_the_log(scim: Scim, live: Live) -> None:
    """Neither a token, nor names, nor what is looked for: URIs and bodies may be confidential."""
    mark = "confidential-4711"
    user = await scim.user(f"{mark}@x.example", title=mark)
    await scim.find("Users", f'userName eq "{mark}@x.example"')
    (await scim.patch(f"/Users/{user}", {"op": "replace", "path": mark, "value": mark})).refused(
        400, "invalidPath"
    )
    log = live.log.read_text()
    assert mark not in log
    assert scim.token not in log
    assert json.loads(log.splitlines()[-1])["event"] == "request.answered"


async def test_3_1_schemas_of_messages_are_urns_and_not_to_be_discovered(scim: Scim) -> None:
    shown = {s["id"] for s in (await scim.get("/Schemas")).ok(200).json["Resources"]}
    assert not [urn for urn in shown if urn.startswith("urn:ietf:params:scim:api:")]
    for name in ("ListResponse", "PatchOp", "Error", "BulkRequest", "SearchRequest"):
        (await scim.get(f"/Schemas/urn:ietf:params:scim:api:messages:2.0:{name}")).refused(404)


@pytest.mark.parametrize("filter_", ["", " ", "()", "userName", "userName eq", "and", "not ()"])
async def test_3_4_2_2_a_filter_has_an_expression(scim: Scim, filter_: str) -> None:
    await scim.user("ana")
    (await scim.get(f"/Users?filter={quote(filter_)}")).refused(400, "invalidFilter")


async def test_3_4_2_2_a_complex_attribute_is_compared_by_its_parts(scim: Scim) -> None:
    await scim.user("ana", name={"familyName": "Abel"})
    assert await scim.find("Users", 'name.familyName eq "abel"')
    query = quote('name eq "Abel"')
    (await scim.get(f"/Users?filter={query}")).refused(400, "invalidFilter")


async def test_3_5_1_what_is_immutable_has_to_match(scim: Scim) -> None:
    """Parts of a member are immutable: another value is another member, the same one stays."""
    user, other = await scim.user("ana"), await scim.user("bo")
    group = await scim.group("team", [user])
    body = {"displayName": "team", "members": [{"value": user, "type": "User"}]}
    same = (await scim.put(f"/Groups/{group}", body)).ok(200).json
    assert [m["value"] for m in same["members"]] == [user]
    path = f'members[value eq "{user}"].value'
    changed = await scim.patch(f"/Groups/{group}", {"op": "replace", "path": path, "value": other})
    changed.refused(400, "mutability")
    assert await scim.members(group) == [user]


async def test_3_6_a_deletion_is_204_without_a_body(scim: Scim) -> None:
    for endpoint, made in (("Users", await scim.user()), ("Groups", await scim.group())):
        reply = await scim.delete(f"/{endpoint}/{made}")
        assert (reply.status, reply.raw) == (204, b"")


@pytest.mark.parametrize("accept", ["application/scim+json", "application/json", "*/*", ""])
async def test_3_8_every_way_to_ask_for_json_is_answered(scim: Scim, accept: str) -> None:
    reply = (await scim.get("/Users", Accept=accept)).ok(200)
    assert reply.headers["Content-Type"].startswith("application/scim+json")


async def test_4_the_three_endpoints_answer_with_their_schemas(scim: Scim) -> None:
    core = "urn:ietf:params:scim:schemas:core:2.0:"
    config = (await scim.get("/ServiceProviderConfig")).ok(200).json
    assert config["schemas"] == [f"{core}ServiceProviderConfig"]
    for endpoint, name in (("Schemas", "Schema"), ("ResourceTypes", "ResourceType")):
        listed = (await scim.get(f"/{endpoint}")).ok(200).json
        assert listed["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]
        assert listed["totalResults"] == len(listed["Resources"])
        assert {r["meta"]["resourceType"] for r in listed["Resources"]} == {name}
