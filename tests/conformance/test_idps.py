"""Each identity provider's day as it really sends it: connection test, joiner, groups, leaver.

Okta's and Entra ID's main dialects are played in tests/e2e too; here every provider's requests go
to the receiver as they were documented or recorded (the source stands at each test), with its
headers and its oddities, and each answer has what that provider reads of it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTRA_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
OLD_CORE = "urn:scim:schemas:core:2.0"
OLD_ENTERPRISE = "urn:scim:schemas:extension:enterprise:2.0"


def speaking(scim: Scim, **headers: str) -> Scim:
    """Return a client that sends these headers; `_` in a name stands for `-`."""
    return replace(scim, headers={name.replace("_", "-"): v for name, v in headers.items()})


async def empty(scim: Scim, path: str) -> None:
    """A look-up that finds nobody is 200 with an empty list, and integers in it."""
    body = (await scim.get(path)).ok(200).json
    assert body["Resources"] == []
    assert body["totalResults"] == 0


async def one(scim: Scim, path: str) -> Any:
    body = (await scim.get(path)).ok(200).json
    assert body["totalResults"] == len(body["Resources"]) == 1
    return body["Resources"][0]


async def active(scim: Scim, user: str) -> Any:
    return (await scim.get(f"/Users/{user}")).ok(200).json["active"]


# --- Okta -------------------------------------------------------------------------------------

OKTA = {
    "User_Agent": "Okta SCIM Client 1.0.0",
    "Accept": "application/scim+json",
    "Content_Type": "application/scim+json; charset=utf-8",
    "Accept_Encoding": "gzip",
}


def okta_user(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "schemas": [USER],
        "userName": name,
        "name": {"givenName": "Ana", "familyName": "Okta"},
        "emails": [{"primary": True, "value": name, "type": "work"}],
        "displayName": "Ana Okta",
        "locale": "en-US",
        "externalId": "00u1" + name,
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    } | changes


async def test_okta_application_made_by_hand(scim: Scim) -> None:
    """Okta, App Integration Wizard: every write is a PUT (Okta SCIM 2.0 reference; a lab's log)."""
    okta = speaking(scim, **OKTA)
    (await okta.get("/Users?startIndex=1&count=2")).ok(200)
    (await okta.get("/Groups?startIndex=1&count=100")).ok(200)
    look_up = "/Users?filter=userName%20eq%20%22ana%40okta.example%22&startIndex=1&count=100"
    await empty(okta, look_up)
    created = (await okta.post("/Users", okta_user("ana@okta.example"))).ok(201)
    assert created.json["userName"] == "ana@okta.example"
    assert "password" not in created.json
    user = created.id
    (await okta.post("/Users", okta_user("ANA@okta.example"))).refused(409, "uniqueness")
    # Linking: what a GET gave comes back in the PUT, with id, meta and groups in it.
    held = (await okta.get(f"/Users/{user}")).ok(200).json
    linked = (await okta.put(f"/Users/{user}", held | {"nickName": "An", "groups": []})).ok(200)
    assert linked.json["nickName"] == "An"
    # A group: created empty, then PUT whole at each change; `display` may be null.
    await empty(okta, "/Groups?filter=displayName%20eq%20%22Analysts%22&startIndex=1&count=100")
    body: dict[str, Any] = {"schemas": [GROUP], "displayName": "Analysts", "members": []}
    group = (await okta.post("/Groups", body)).ok(201).id
    body["members"] = [{"value": user, "display": None}]
    put = (await okta.put(f"/Groups/{group}", body | {"id": group})).ok(200)
    assert put.json["displayName"] == "Analysts"
    assert await scim.members(group) == [user]
    # Deactivation and reactivation: GET, then PUT; Okta reads `active` back.
    for state in (False, True):
        held = (await okta.get(f"/Users/{user}")).ok(200).json
        changed = (await okta.put(f"/Users/{user}", held | {"active": state})).ok(200)
        assert changed.json["active"] is state
        assert await active(okta, user) is state
    assert await scim.members(group) == [user], "a person who comes back has her groups"
    (await okta.put(f"/Groups/{group}", body | {"displayName": "Analytics"})).ok(200)
    (await okta.delete(f"/Groups/{group}")).ok(204)


async def test_okta_catalogue_application(scim: Scim) -> None:
    """Okta, OIN: PATCH without a path for `active`, groups by PATCH (Okta SCIM 2.0 reference)."""
    okta = speaking(scim, **OKTA)
    user = (await okta.post("/Users", okta_user("bo@okta.example"))).ok(201).id
    other = (await okta.post("/Users", okta_user("cy@okta.example"))).ok(201).id
    off = await okta.patch(f"/Users/{user}", {"op": "replace", "value": {"active": False}})
    assert off.ok(200).json["active"] is False
    (await okta.patch(f"/Users/{user}", {"op": "replace", "value": {"active": True}})).ok(200)
    secret = {"op": "replace", "value": {"password": "n3w"}}
    assert "password" not in (await okta.patch(f"/Users/{user}", secret)).ok(200).json
    body = {"schemas": [GROUP], "displayName": "Push", "members": []}
    group = (await okta.post("/Groups", body)).ok(201).id
    name = {"op": "replace", "value": {"id": group, "displayName": "Push 2"}}
    add = {"op": "add", "path": "members", "value": [{"value": user, "display": "bo@okta.example"}]}
    (await okta.patch(f"/Groups/{group}", name, add)).ok(200, 204)
    remove = {"op": "remove", "path": f'members[value eq "{user}"]'}
    add = {"op": "add", "path": "members", "value": [{"value": other, "display": "cy"}]}
    (await okta.patch(f"/Groups/{group}", remove, add)).ok(200, 204)
    assert await scim.members(group) == [other]
    every = {"op": "replace", "path": "members", "value": [{"value": user}, {"value": other}]}
    (await okta.patch(f"/Groups/{group}", every)).ok(200, 204)
    assert sorted(await scim.members(group)) == sorted([user, other])
    (await okta.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": []})).ok()
    assert await scim.members(group) == []


async def test_okta_imports_page_by_page(scim: Scim) -> None:
    """Okta reads startIndex 1, 101, … up to totalResults, and counts on integers and an order."""
    okta = speaking(scim, **OKTA)
    made = [await scim.user(f"u{n:03}@okta.example") for n in range(205)]
    seen: list[str] = []
    start = 1
    while True:
        page = (await okta.get(f"/Users?startIndex={start}&count=100")).ok(200).json
        assert (page["totalResults"], page["startIndex"]) == (205, start)
        seen += [user["id"] for user in page["Resources"]]
        start += page["itemsPerPage"]
        if start > page["totalResults"]:
            break
    assert seen == made


async def test_okta_specification_test(scim: Scim) -> None:
    """Okta-SCIM-20-SPEC-Test: a token without `Bearer` is 401, and the Error's status a string."""
    stranger = speaking(scim, **OKTA, Authorization="not-a-token")
    (await stranger.get("/Users?startIndex=1&count=1")).refused(401)
    (await speaking(scim, **OKTA).get(f"/Users/{uuid.uuid4()}")).refused(404)
    none = "/Users?filter=userName%20eq%20%22" + uuid.uuid4().hex + "%22"
    await empty(speaking(scim, **OKTA), none)


# --- Microsoft Entra ID: Microsoft Learn, "develop a SCIM endpoint" and "SCIM compatibility" -----


def entra_user(name: str) -> dict[str, Any]:
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": name.partition("@")[0],
        "userName": name,
        "active": True,
        "addresses": None,
        "displayName": None,
        "emails": [{"primary": True, "type": "work", "value": name}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "Dee Entra", "familyName": "Entra", "givenName": "Dee"},
        "preferredLanguage": None,
        "roles": [],
        "title": None,
        ENTERPRISE: {"department": "bob", "manager": None},
    }


async def test_entra_default_dialect(scim: Scim) -> None:
    """Entra ID without the flag: capitals, an op for each attribute, booleans as strings."""
    entra = speaking(scim, ADSCIMVersion="2.0", Content_Type="application/scim+json; charset=utf-8")
    await empty(entra, f"/Users?filter=externalId+eq+%22{uuid.uuid4()}%22")
    await empty(entra, "/Users?filter=userName+eq+%22dee%40entra.example%22")
    created = (await entra.post("/Users", entra_user("dee@entra.example"))).ok(201)
    assert created.json["externalId"] == "dee"
    assert created.json["meta"]["resourceType"] == "User"
    user = created.id
    boss = (await entra.post("/Users", entra_user("boss@entra.example"))).ok(201).id
    operations = [
        {"op": "Replace", "path": "displayName", "value": "Dee"},
        {"op": "Add", "path": "name.givenName", "value": "Deirdre"},
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "d@entra.example"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 425 555 0001"},
        {"op": "Add", "path": 'addresses[type eq "work"].locality', "value": "Vienna"},
        {"op": "Replace", "path": 'addresses[type eq "work"].country', "value": "AT"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Dev"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": boss},
        {"op": "Replace", "path": 'roles[primary eq "True"].value', "value": "reader"},
        {"op": "Remove", "path": "title"},
    ]
    changed = (await entra.patch(f"/Users/{user}", *operations)).ok(200).json
    assert changed["displayName"] == "Dee"
    assert changed["name"] == {
        "formatted": "Dee Entra",
        "familyName": "Entra",
        "givenName": "Deirdre",
    }
    assert changed["emails"] == [{"primary": True, "type": "work", "value": "d@entra.example"}]
    assert changed["phoneNumbers"] == [{"type": "mobile", "value": "+1 425 555 0001"}]
    assert changed["addresses"] == [{"locality": "Vienna", "country": "AT", "type": "work"}]
    assert changed[ENTERPRISE]["department"] == "Dev"
    assert changed[ENTERPRISE]["manager"]["value"] == boss
    assert [role["value"] for role in changed["roles"]] == ["reader"]
    asked = f"/Users?filter=id+eq+%22{user}%22+and+manager+eq+%22{boss}%22&attributes=id"
    assert (await one(entra, asked))["id"] == user
    by_mail = "emails%5Btype+eq+%22work%22%5D.value+eq+%22D%40entra.example%22"
    assert (await one(entra, f"/Users?filter={by_mail}"))["id"] == user
    for said, state in (("False", False), ("True", True)):
        operation = {"op": "Replace", "path": "active", "value": said}
        assert (await entra.patch(f"/Users/{user}", operation)).ok(200).json["active"] is state
    (await entra.delete(f"/Users/{user}")).ok(204)
    (await entra.get(f"/Users/{user}")).refused(404)
    (await entra.delete(f"/Users/{user}")).refused(404)


async def test_entra_groups(scim: Scim) -> None:
    """Entra ID: a group without members, then Add and Remove with lists of values."""
    entra = speaking(scim, ADSCIMVersion="2.0")
    users = [await scim.user(f"e{n}@entra.example") for n in range(3)]
    look_up = "/Groups?excludedAttributes=members&filter=displayName+eq+%22Data+Analysts%22"
    await empty(entra, look_up)
    body = {
        "schemas": [GROUP, ENTRA_GROUP],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
        "displayName": "Data Analysts",
        "meta": {"resourceType": "Group"},
    }
    group = (await entra.post("/Groups", body)).ok(201).id
    value = [{"$ref": None, "value": user} for user in users]
    added = await entra.patch(f"/Groups/{group}", {"op": "Add", "path": "members", "value": value})
    assert (added.status, added.raw) == (204, b"")
    found = await one(entra, look_up)
    assert "members" not in found
    without = (await entra.get(f"/Groups/{group}?excludedAttributes=members")).ok(200).json
    assert "members" not in without
    is_in = f"/Groups?filter=id+eq+%22{group}%22+and+members+eq+%22{users[0]}%22&attributes=id"
    assert (await one(entra, is_in))["id"] == group
    gone = {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": users[0]}]}
    (await entra.patch(f"/Groups/{group}", gone)).ok(204)
    await empty(entra, is_in)
    # When one goes, all others may be added again.
    again = {"op": "Add", "path": "members", "value": value[1:]}
    (await entra.patch(f"/Groups/{group}", again)).ok(204)
    assert sorted(await scim.members(group)) == sorted(users[1:])
    new = {"op": "Replace", "path": "displayName", "value": "Analysts"}
    (await entra.patch(f"/Groups/{group}", new)).ok(204)
    assert sorted(await scim.members(group)) == sorted(users[1:])
    (await entra.delete(f"/Groups/{group}")).ok(204)


async def test_entra_with_the_flag(scim: Scim) -> None:
    """Entra ID, `aadOptscim062020`: one replace without a path, dotted and URN keys."""
    entra = speaking(scim, ADSCIMVersion="2.0")
    user = (await entra.post("/Users", entra_user("flag@entra.example"))).ok(201).id
    value = {
        "displayName": "Flag",
        "active": False,
        "name.givenName": "Fay",
        'emails[type eq "work"].value': "fay@entra.example",
        f"{ENTERPRISE}:employeeNumber": "42",
    }
    changed = (await entra.patch(f"/Users/{user}", {"op": "replace", "value": value})).ok(200).json
    assert (changed["displayName"], changed["active"]) == ("Flag", False)
    assert changed["name"]["givenName"] == "Fay"
    assert changed["emails"][0]["value"] == "fay@entra.example"
    assert changed[ENTERPRISE]["employeeNumber"] == "42"
    group = await scim.group("flagged", [user])
    gone = {"op": "remove", "path": f'members[value eq "{user}"]'}
    (await entra.patch(f"/Groups/{group}", gone)).ok(200, 204)
    assert await scim.members(group) == []


async def test_entra_deactivates_whatever_else_is_wrong(scim: Scim) -> None:
    """A path refused with 400 must not take a deactivation with it (Chainguard's documentation)."""
    user = await scim.user("mapped@entra.example")
    unknown = {"op": "Add", "path": f"{ENTERPRISE}:favouriteColour", "value": "red"}
    (await scim.patch(f"/Users/{user}", unknown)).refused(400, "invalidPath")
    off = {"op": "Replace", "path": "active", "value": "False"}
    assert (await scim.patch(f"/Users/{user}", unknown, off)).ok(200).json["active"] is False


# --- OneLogin ---------------------------------------------------------------------------------


async def test_onelogin(scim: Scim) -> None:
    """OneLogin: stray `&` and `?`, old URNs, `managerId`, quoted booleans (authentik #11249)."""
    onelogin = speaking(scim, Content_Type="application/json", Accept="application/json")
    tested = f"/Users?filter=userName+eq+%22{uuid.uuid4().hex}%22&"
    await empty(onelogin, tested)
    boss = await scim.user("boss@onelogin.example")
    body = {
        "schemas": [OLD_CORE, OLD_ENTERPRISE],
        "id": None,
        "userName": "olga@onelogin.example",
        "active": True,
        "name": {"givenName": "Olga", "familyName": "One", "formatted": "Olga One"},
        "emails": [{"value": "olga@onelogin.example", "type": "work", "primary": True}],
        OLD_ENTERPRISE: {"department": "Sales", "manager": {"managerId": boss}},
    }
    created = (await onelogin.post("/Users", body)).ok(201)
    user = created.id
    assert created.json["schemas"] == [USER, ENTERPRISE]
    assert created.json[ENTERPRISE]["manager"]["value"] == boss
    for said, state in (("false", False), ("true", True)):
        put = (await onelogin.put(f"/Users/{user}?", body | {"active": said})).ok(200)
        assert put.json["active"] is state
    assert (await onelogin.get("/Groups")).ok(200).json["totalResults"] == 0
    group = (await onelogin.post("/Groups", {"displayName": "Sales"})).ok(201).id
    add = {"op": "add", "path": f'members[value eq "{user}"]'}
    (await onelogin.patch(f"/Groups/{group}", add)).ok(200, 204)
    assert await scim.members(group) == [user]
    (await onelogin.delete(f"/Users/{user}")).ok(204)
    assert await scim.members(group) == []


# --- JumpCloud --------------------------------------------------------------------------------


async def test_jumpcloud(scim: Scim) -> None:
    """JumpCloud: activation makes a test user and a test group, and deletes both (its support)."""
    user = (await scim.post("/Users", okta_user("test@jumpcloud.example"))).ok(201).id
    group = await scim.group("jumpcloud-test")
    (await scim.delete(f"/Groups/{group}")).ok(204)
    (await scim.delete(f"/Users/{user}")).ok(204)
    await empty(scim, "/Users?filter=userName%20eq%20%22joy%40jumpcloud.example%22")
    user = (await scim.post("/Users", okta_user("joy@jumpcloud.example"))).ok(201).id
    group = await scim.group("Joiners")
    members = [{"value": user}]
    add = {"op": "add", "path": "members", "value": members}
    (await scim.patch(f"/Groups/{group}", add)).ok(200, 204)
    name = {"op": "replace", "path": "displayName", "value": "Joined"}
    (await scim.patch(f"/Groups/{group}", name)).ok(200, 204)
    gone = {"op": "remove", "path": "members", "value": members}
    (await scim.patch(f"/Groups/{group}", gone)).ok(200, 204)
    assert await scim.members(group) == []
    (await scim.put(f"/Users/{user}", okta_user("joy@jumpcloud.example", active=False))).ok(200)
    assert await active(scim, user) is False
    (await scim.delete(f"/Groups/{group}")).ok(204)
    (await scim.delete(f"/Users/{user}")).ok(204)


# --- Google Workspace -------------------------------------------------------------------------


async def test_google(scim: Scim) -> None:
    """Google: `count=1` as its test, a look-up without count, users born inactive (probo #711)."""
    google = speaking(scim, User_Agent="Google-Auto-Provisioning", Content_Type="application/json")
    (await google.get("/Users?count=1")).ok(200)
    await empty(google, "/Users?filter=userName%20eq%20%22gil%40google.example%22&startIndex=1")
    body = okta_user("gil@google.example", active=False)
    created = (await google.post("/Users", body)).ok(201)
    assert created.json["active"] is False
    user = created.id
    path = "/Users?filter=userName%20eq%20%22Gil%40google.example%22&startIndex=1"
    assert (await one(google, path))["id"] == user
    assert (await google.put(f"/Users/{user}", body | {"active": True})).ok(200).json["active"]
    off = {"op": "replace", "path": "active", "value": False}
    assert (await google.patch(f"/Users/{user}", off)).ok(200).json["active"] is False
    (await google.delete(f"/Users/{user}")).ok(204)
    (await google.get(f"/Users/{user}")).refused(404)


# --- PingFederate and PingOne -----------------------------------------------------------------


async def test_ping(scim: Scim) -> None:
    """Ping: `username Eq`, `email Co`, `emails eq`; groups by reading the whole list."""
    await empty(scim, "/Users?filter=username%20Eq%20%22pia@ping.example%22")
    user = (await scim.post("/Users", okta_user("pia@ping.example"))).ok(201).id
    for text in (
        "username%20Eq%20%22PIA@ping.example%22",
        "email%20Co%20%22pia@ping%22",
        "emails%20eq%20%22pia@ping.example%22",
    ):
        assert (await one(scim, f"/Users?filter={text}"))["id"] == user, text
    for state in (False, True):
        put = await scim.put(f"/Users/{user}", okta_user("pia@ping.example", active=state))
        assert put.ok(200).json["active"] is state
    group = await scim.group("Ping", [user])
    listed = (await scim.get("/Groups")).ok(200).json["Resources"]
    assert [g["id"] for g in listed] == [group]
    whole = {"op": "replace", "path": "members", "value": []}
    (await scim.patch(f"/Groups/{group}", whole)).ok(200, 204)
    merged = {"op": "add", "path": "members", "value": [{"value": user}]}
    (await scim.patch(f"/Groups/{group}", merged)).ok(200, 204)
    assert await scim.members(group) == [user]


async def test_ping_with_basic(scim: Scim) -> None:
    """Ping can send Basic: the token's id and secret as name and password."""
    import base64  # noqa: PLC0415 - nobody else here needs it

    _, key, secret = scim.token.split("_")
    pair = base64.b64encode(f"{key}:{secret}".encode()).decode()
    (await speaking(scim, Authorization=f"Basic {pair}").get("/Users?count=1")).ok(200)


# --- Rippling ---------------------------------------------------------------------------------


async def test_rippling(scim: Scim) -> None:
    """Rippling: a membership PATCH with a list or one object (gestalt #3171, #3132)."""
    users = [await scim.user(f"r{n}@rippling.example") for n in range(2)]
    body = {"schemas": [GROUP], "displayName": "Rippling"}
    group = (await scim.post("/Groups", body)).ok(201).id
    (await scim.post("/Groups", body)).refused(409, "uniqueness")
    as_object = {"op": "add", "path": "members", "value": {"value": users[0]}}
    (await scim.patch(f"/Groups/{group}", as_object)).ok(200, 204)
    as_list = {"op": "add", "path": "members", "value": [{"value": users[1]}]}
    (await scim.patch(f"/Groups/{group}", as_list)).ok(200, 204)
    assert sorted(await scim.members(group)) == sorted(users)
    gone = {"op": "remove", "path": "members", "value": {"value": users[0]}}
    (await scim.patch(f"/Groups/{group}", gone)).ok(200, 204)
    assert await scim.members(group) == [users[1]]
    (await scim.delete(f"/Groups/{group}")).ok(204)


# --- CyberArk Identity ------------------------------------------------------------------------


async def test_cyberark(scim: Scim) -> None:
    """CyberArk: discovery by name, then users by PUT and groups by PATCH (its developer pages)."""
    assert (await scim.get("/ServiceProviderConfig")).ok(200).json["patch"]["supported"] is True
    for name in ("User", "Group"):
        described = (await scim.get(f"/ResourceTypes/{name}")).ok(200).json
        schema = (await scim.get(f"/Schemas/{described['schema']}")).ok(200).json
        assert schema["name"] == name
    (await scim.get(f"/Schemas/{ENTERPRISE}")).ok(200)
    (await scim.get("/Users?count=1")).ok(200)
    await empty(scim, "/Users?filter=userName%20eq%20%22cy@cyberark.example%22")
    user = (await scim.post("/Users", okta_user("cy@cyberark.example"))).ok(201).id
    (await scim.put(f"/Users/{user}", okta_user("cy@cyberark.example", active=False))).ok(200)
    group = await scim.group("Role")
    add = {"op": "add", "path": "members", "value": [{"value": user}]}
    (await scim.patch(f"/Groups/{group}", add)).ok(200, 204)
    assert await scim.members(group) == [user]
    (await scim.delete(f"/Users/{user}")).ok(204)


# --- Keycloak ---------------------------------------------------------------------------------


def keycloak_user(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "schemas": [USER],
        "externalId": f"kc-{name}",
        "userName": name,
        "name": {"givenName": "Kim", "familyName": "Cloak"},
        "emails": [{"value": f"{name}@keycloak.example", "primary": True}],
        "active": True,
        "meta": {"resourceType": "User"},
    } | changes


async def test_keycloak_with_put(scim: Scim) -> None:
    """keycloak-scim, its default: PUT of the whole group at each event (the plug-in's source)."""
    user = (await scim.post("/Users", keycloak_user("kim"))).ok(201).id
    other = (await scim.post("/Users", keycloak_user("kit"))).ok(201).id
    body = {"schemas": [GROUP], "externalId": "kc-group", "displayName": "keycloak"}
    group = (await scim.post("/Groups", body)).ok(201).id
    members = [{"value": u, "$ref": f"Users/{u}"} for u in (user, other)]
    for held in (members[:1], members, members[1:]):
        put = await scim.put(f"/Groups/{group}", body | {"id": group, "members": held})
        assert [m["value"] for m in put.ok(200).json["members"]] == [m["value"] for m in held]
    # The last member goes by leaving `members` out.
    (await scim.put(f"/Groups/{group}", body | {"id": group})).ok(200)
    assert await scim.members(group) == []
    (await scim.put(f"/Users/{user}", keycloak_user("kim", id=user, active=False))).ok(200)
    assert await active(scim, user) is False
    listed = (await scim.get("/Users")).ok(200).json
    assert {u["externalId"] for u in listed["Resources"]} == {"kc-kim", "kc-kit"}
    (await scim.delete(f"/Users/{user}")).ok(204)


async def test_keycloak_with_patch(scim: Scim) -> None:
    """keycloak-scim in PATCH mode: "true"/"false", `replace` with all, `remove` without value."""
    user = (await scim.post("/Users", keycloak_user("kaa"))).ok(201).id
    for said, state in (("false", False), ("true", True)):
        operation = {"op": "replace", "path": "active", "value": said}
        assert (await scim.patch(f"/Users/{user}", operation)).ok(200).json["active"] is state
    group = await scim.group("keycloak-patch")
    value = [{"value": user, "$ref": f"Users/{user}", "type": "User", "display": "kaa"}]
    whole = {"op": "replace", "path": "members", "value": value}
    (await scim.patch(f"/Groups/{group}", whole)).ok(200, 204)
    assert await scim.members(group) == [user]
    (await scim.patch(f"/Groups/{group}", {"op": "remove", "path": "members"})).ok(200, 204)
    assert await scim.members(group) == []


# --- authentik --------------------------------------------------------------------------------


async def test_authentik(scim: Scim) -> None:
    """authentik: ServiceProviderConfig, POST without look-up, unquoted filters (its source)."""
    config = (await scim.get("/ServiceProviderConfig")).ok(200).json
    assert config["patch"]["supported"] is True
    assert config["filter"]["supported"] is True
    body = {
        "schemas": [USER],
        "externalId": "ak-1",
        "userName": "akadmin",
        "displayName": "authentik Default Admin",
        "name": {"formatted": "authentik", "familyName": " ", "givenName": "authentik"},
        "emails": [{"value": "root@authentik.example", "type": "other", "primary": True}],
        "active": True,
    }
    user = (await scim.post("/Users", body)).ok(201).id
    (await scim.post("/Users", body)).refused(409, "uniqueness")
    found = await one(scim, "/Users?filter=userName+eq+akadmin")
    assert (found["id"], found["externalId"]) == (user, "ak-1")
    (await scim.put(f"/Users/{user}", body | {"id": user, "active": False})).ok(200)
    assert await active(scim, user) is False
    created = {"schemas": [GROUP], "externalId": "ak-g", "displayName": "admins"}
    group = (await scim.post("/Groups", created)).ok(201).id
    assert (await one(scim, "/Groups?filter=displayName+eq+%22admins%22"))["id"] == group
    # Groups by `replace` without a path and without `schemas`; older versions send `id` too.
    value = {"id": group, "displayName": "admins 2", "externalId": "ak-g"}
    bare = {"Operations": [{"op": "replace", "path": None, "value": value}]}
    (await scim.send("PATCH", f"/Groups/{group}", bare)).ok(200, 204)
    members = [user, await scim.user("ak-2"), await scim.user("ak-3")]
    adds = [{"op": "add", "path": "members", "value": [{"value": member}]} for member in members]
    (await scim.patch(f"/Groups/{group}", *adds)).ok(200, 204)
    assert sorted(await scim.members(group)) == sorted(members)
    older = {"op": "remove", "path": "members", "value": [{"value": members[0]}]}
    newer = {"op": "remove", "path": f'members[value eq "{members[1]}"]'}
    (await scim.patch(f"/Groups/{group}", older, newer)).ok(200, 204)
    assert await scim.members(group) == members[2:]
    listed = (await scim.get("/Groups?startIndex=1")).ok(200).json
    assert [g["displayName"] for g in listed["Resources"]] == ["admins 2"]
    (await scim.delete(f"/Users/{user}")).ok(204)
    (await scim.delete(f"/Users/{user}")).refused(404)


# --- what administrators and libraries do to URLs ----------------------------------------------


async def test_slashes_too_many_lead_to_the_same(scim: Scim) -> None:
    """A base URL that ends with a slash, paths that do: both are seen from several providers."""
    user = (await scim.post("//Users", {"userName": "ana"})).ok(201)
    assert "//Users" not in user.headers["Location"]
    await one(scim, "/Users/?filter=userName+eq+%22ana%22")
    await one(scim, "//Users?filter=userName+eq+%22ana%22")
    for path in (f"/Users/{user.id}/", f"//Users/{user.id}"):
        assert (await scim.get(path)).ok(200).id == user.id
    off = {"op": "replace", "path": "active", "value": False}
    assert (await scim.patch(f"//Users/{user.id}/", off)).ok(200).json["active"] is False
    (await scim.get("/ServiceProviderConfig/")).ok(200)
    (await scim.get("//Schemas/")).ok(200)
    assert (await scim.get("")).ok(200).json["totalResults"] == 1  # as set-up pages ask
    (await scim.delete(f"/Users/{user.id}/")).ok(204)


async def test_a_parameter_may_come_twice(scim: Scim) -> None:
    await scim.user("ana", title="T", nickName="N")
    shown = await one(scim, "/Users?attributes=title&attributes=nickName")
    assert shown.keys() == {"schemas", "id", "title", "nickName"}
