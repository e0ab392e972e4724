"""What RFC 7643 asks of a service provider, asked over HTTP; the numbers are its sections."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
CORE = "urn:ietf:params:scim:schemas:core:2.0"


async def read(scim: Scim, user: str) -> Any:
    return (await scim.get(f"/Users/{user}")).ok(200).json


# --- §2: attributes ---------------------------------------------------------------------------


async def test_2_1_names_of_attributes_ignore_case(scim: Scim) -> None:
    body = {"SCHEMAS": [USER.upper()], "USERname": "case", "NAME": {"GIVENname": "C"}}
    created = (await scim.post("/Users", body)).ok(201).json
    assert created["userName"] == "case"
    assert created["name"] == {"givenName": "C"}
    assert created["schemas"] == [USER]


async def test_2_2_what_a_schema_does_not_say_has_the_default_characteristics(scim: Scim) -> None:
    attribute = await described(scim, USER, "nickName")
    assert attribute == attribute | {
        "type": "string",
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
    }


@pytest.mark.parametrize("text", ["Zoë", "李小龍", "🦀", "e\u0301", '"\\/', "a\u2028b"])
async def test_2_3_1_strings_are_unicode_and_come_back_as_they_were_sent(
    scim: Scim, text: str
) -> None:
    user = await scim.user(displayName=text, externalId=text)
    assert (await read(scim, user))["displayName"] == text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("active", "perhaps", id="2.3.2 boolean"),
        pytest.param("active", 1, id="2.3.2 boolean, not a number"),
        pytest.param("title", 7, id="2.3.1 string"),
        pytest.param("title", ["a"], id="2.3.1 string, not a list"),
        pytest.param("profileUrl", 7, id="2.3.7 reference"),
        pytest.param("name", "Ana", id="2.3.8 complex without value"),
        pytest.param("emails", [{"value": {}}], id="2.3.8 sub-attribute"),
        pytest.param("x509Certificates", [{"value": "%%%"}], id="2.3.6 binary is base64"),
    ],
)
async def test_2_3_a_value_of_another_type_is_refused(scim: Scim, path: str, value: Any) -> None:
    body = {"userName": "typed", path: value}
    (await scim.post("/Users", body)).refused(400, "invalidValue")


async def test_2_3_5_times_are_xsd_date_times_with_date_and_time(scim: Scim) -> None:
    meta = (await read(scim, await scim.user()))["meta"]
    for moment in (meta["created"], meta["lastModified"]):
        date, t, time = moment.partition("T")
        assert t, moment
        assert len(date) == len("2026-01-31")
        assert time.endswith("Z")


async def test_2_3_7_a_reference_leads_to_its_resource(scim: Scim) -> None:
    """GET of a `$ref` gives the resource (or says why not)."""
    user = await scim.user()
    group = await scim.group(members=[user])
    of_group = (await scim.get(f"/Groups/{group}")).json["members"][0]["$ref"]
    of_user = (await read(scim, user))["groups"][0]["$ref"]
    for reference, identifier in ((of_group, user), (of_user, group)):
        path = reference.removeprefix(scim.base)
        assert path != reference, "an absolute URI below the base"
        assert (await scim.get(path)).ok(200).id == identifier


async def test_2_3_8_the_order_of_attributes_means_nothing(scim: Scim) -> None:
    body = {"name": {"familyName": "B", "givenName": "A"}, "userName": "order", "schemas": [USER]}
    user = (await scim.post("/Users", body)).ok(201).id
    before = (await read(scim, user))["meta"]["version"]
    again = {"userName": "order", "name": {"givenName": "A", "familyName": "B"}}
    assert (await scim.put(f"/Users/{user}", again)).ok(200).json["meta"]["version"] == before


async def test_2_4_at_most_one_value_is_primary(scim: Scim) -> None:
    emails = [{"value": f"{n}@x.example", "primary": True} for n in range(2)]
    (await scim.post("/Users", {"userName": "two", "emails": emails})).refused(400, "invalidValue")


async def test_2_4_a_value_that_does_not_say_so_is_not_primary(scim: Scim) -> None:
    user = await scim.user(emails=[{"value": "a@x.example"}, {"value": "b@x.example"}])
    assert await scim.find("Users", "emails[primary eq true]") == []
    assert (await read(scim, user))["emails"][0].get("primary") in {None, False}


@pytest.mark.parametrize("nothing", [None, []])
async def test_2_5_null_and_an_empty_list_are_no_value(scim: Scim, nothing: Any) -> None:
    user = await scim.user(emails=nothing, title=None)
    without = await read(scim, user)
    assert "emails" not in without
    assert "title" not in without
    body = {"userName": without["userName"]}
    after = (await scim.put(f"/Users/{user}", body | {"emails": nothing})).ok(200).json
    assert after["meta"]["version"] == without["meta"]["version"], "the same state"


# --- §3: resources ----------------------------------------------------------------------------


async def test_3_schemas_name_what_the_representation_holds_and_nothing_twice(scim: Scim) -> None:
    plain, extended = {"userName": "p"}, {"userName": "e", ENTERPRISE: {"department": "D"}}
    sent = [ENTERPRISE, USER, USER]
    for body, schemas in ((plain, [USER]), (extended, [USER, ENTERPRISE])):
        created = (await scim.post("/Users", body | {"schemas": sent})).ok(201).json
        assert sorted(created["schemas"]) == sorted(schemas)
    group = (await scim.get(f"/Groups/{await scim.group()}")).json
    assert group["schemas"] == [GROUP]


async def test_3_the_order_of_schemas_means_nothing(scim: Scim) -> None:
    for name, schemas in (("one", [USER, ENTERPRISE]), ("two", [ENTERPRISE, USER])):
        body = {"schemas": schemas, "userName": name, ENTERPRISE: {"department": "D"}}
        created = (await scim.post("/Users", body)).ok(201).json
        assert created[ENTERPRISE] == {"department": "D"}


async def test_3_1_an_id_is_the_services_own_stable_and_never_used_again(scim: Scim) -> None:
    mine = "00000000-0000-0000-0000-000000000001"
    user = await scim.user("stable", id=mine)
    assert user != mine, "a client can't choose it"
    (await scim.put(f"/Users/{user}", {"userName": "renamed", "id": mine})).ok(200)
    assert (await read(scim, user))["id"] == user
    others = {user, await scim.user(), await scim.group(), await scim.group()}
    assert len(others) == 4, "unique over all types"
    assert not any("bulkid" in identifier.lower() for identifier in others)
    (await scim.delete(f"/Users/{user}")).ok(204)
    assert await scim.user("renamed") != user


async def test_3_1_an_external_id_is_the_clients_and_compared_exactly(scim: Scim) -> None:
    user = await scim.user(externalId="Case-1")
    assert (await read(scim, user))["externalId"] == "Case-1"
    assert [u["id"] for u in await scim.find("Users", 'externalId eq "Case-1"')] == [user]
    assert await scim.find("Users", 'externalId eq "case-1"') == []


async def test_3_1_an_external_id_belongs_to_one_provisioning_domain(scim: Scim, live: Any) -> None:
    """Another tenant's client has the same externalId without meeting this one."""
    await scim.user("same", externalId="same")
    other = live.take()
    theirs = type(scim)(session=scim.session, base=other.base, token=other.token)
    assert await theirs.find("Users", 'externalId eq "same"') == []
    await theirs.user("same", externalId="same")
    assert len(await scim.find("Users", 'externalId eq "same"')) == 1


async def test_3_1_meta_is_the_services_and_ignored_from_clients(scim: Scim) -> None:
    lie = {
        "resourceType": "Lie",
        "created": "2001-01-01T00:00:00Z",
        "lastModified": "2001-01-01T00:00:00Z",
        "location": "https://lie.example",
        "version": 'W/"lie"',
    }
    user = await scim.user(meta=lie)
    meta = (await read(scim, user))["meta"]
    assert meta["resourceType"] == "User"
    assert meta["location"] == f"{scim.base}/Users/{user}"
    assert not meta["created"].startswith("2001")
    assert not meta["lastModified"].startswith("2001")
    assert meta["version"] != 'W/"lie"'


async def test_3_1_last_modified_is_created_until_something_changes(scim: Scim) -> None:
    user = await scim.user()
    meta = (await read(scim, user))["meta"]
    assert meta["lastModified"] == meta["created"]
    await asyncio.sleep(0.01)
    title = {"op": "add", "path": "title", "value": "T"}
    changed = (await scim.patch(f"/Users/{user}", title)).ok(200).json["meta"]
    assert changed["created"] == meta["created"]
    assert changed["lastModified"] > meta["lastModified"]
    assert changed["version"] != meta["version"]


async def test_3_1_the_version_is_the_etag_and_the_location_the_header(scim: Scim) -> None:
    created = (await scim.post("/Users", {"userName": "tagged"})).ok(201)
    assert created.headers["ETag"] == created.json["meta"]["version"]
    assert created.headers["Location"] == created.json["meta"]["location"]
    reply = await scim.get(f"/Users/{created.id}")
    assert reply.headers["ETag"] == reply.json["meta"]["version"]
    assert (
        reply.headers.get("Content-Location", reply.json["meta"]["location"])
        == (reply.json["meta"]["location"])
    )


async def test_3_3_extensions_stand_under_their_urn(scim: Scim) -> None:
    """What belongs to an extension is no attribute of the core, and the other way round."""
    user = await scim.user(**{ENTERPRISE: {"employeeNumber": "7", "title": "no"}, "division": "no"})
    found = await read(scim, user)
    assert found[ENTERPRISE] == {"employeeNumber": "7"}
    assert "division" not in found
    assert "title" not in found


# --- §4: users and groups ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "", "  ", 7, []])
async def test_4_1_1_a_user_has_a_name(scim: Scim, name: Any) -> None:
    body = {"schemas": [USER], "displayName": "nobody", "userName": name}
    (await scim.post("/Users", body)).refused(400, "invalidValue")


@pytest.mark.parametrize("other", ["ana@x.example", "ANA@X.example", "aNa@x.ExAmPlE"])
async def test_4_1_1_user_names_are_unique_without_regard_to_case(scim: Scim, other: str) -> None:
    await scim.user("ana@x.example")
    (await scim.post("/Users", {"userName": other})).refused(409, "uniqueness")
    second = await scim.user("bo@x.example")
    (await scim.put(f"/Users/{second}", {"userName": other})).refused(409, "uniqueness")
    rename = {"op": "replace", "path": "userName", "value": other}
    (await scim.patch(f"/Users/{second}", rename)).refused(409, "uniqueness")
    assert (await read(scim, second))["userName"] == "bo@x.example"


async def test_4_1_1_a_password_is_never_returned_nor_found(scim: Scim) -> None:
    secret = "tr0ub4dor&3-never-shown"
    created = await scim.post("/Users", {"userName": "secret", "password": secret})
    user = created.ok(201).id
    replies = [
        created,
        await scim.get(f"/Users/{user}"),
        await scim.get(f"/Users/{user}?attributes=password"),
        await scim.get("/Users?attributes=password,userName"),
        await scim.put(f"/Users/{user}", {"userName": "secret", "password": secret}),
        await scim.patch(f"/Users/{user}", {"op": "add", "path": "password", "value": secret}),
        await scim.get(f"/Users?filter=password%20eq%20%22{secret.replace('&', '%26')}%22"),
    ]
    for reply in replies:
        assert secret.encode() not in reply.raw
        assert b'"password"' not in reply.raw


async def test_4_1_2_groups_of_a_user_change_through_the_group_only(scim: Scim) -> None:
    group = await scim.group()
    user = await scim.user("member", groups=[{"value": group}])
    assert await scim.members(group) == []
    body = {"userName": "member", "groups": [{"value": group}]}
    (await scim.put(f"/Users/{user}", body)).ok(200)
    direct = {"op": "add", "path": "groups", "value": [{"value": group}]}
    (await scim.patch(f"/Users/{user}", direct)).refused(400, "mutability")
    assert await scim.members(group) == []
    add = {"op": "add", "path": "members", "value": [{"value": user}]}
    (await scim.patch(f"/Groups/{group}", add)).ok()
    assert [g["value"] for g in (await read(scim, user))["groups"]] == [group]


@pytest.mark.parametrize("name", [None, "", 7])
async def test_4_2_a_group_has_a_name(scim: Scim, name: Any) -> None:
    (await scim.post("/Groups", {"displayName": name})).refused(400, "invalidValue")


async def test_4_2_members_are_users_and_groups_by_their_ids(scim: Scim) -> None:
    user, inner = await scim.user(), await scim.group()
    group = await scim.group(members=[user, inner])
    members = (await scim.get(f"/Groups/{group}")).json["members"]
    kinds = {member["value"]: (member["type"], member["$ref"]) for member in members}
    assert kinds == {
        user: ("User", f"{scim.base}/Users/{user}"),
        inner: ("Group", f"{scim.base}/Groups/{inner}"),
    }


async def test_4_3_the_managers_name_is_read_only(scim: Scim) -> None:
    boss = await scim.user(displayName="The Boss")
    manager = {"value": boss, "displayName": "Somebody Else"}
    user = await scim.user(**{ENTERPRISE: {"manager": manager}})
    held = (await read(scim, user))[ENTERPRISE]["manager"]
    assert held["value"] == boss
    assert held.get("displayName") in {None, "The Boss"}
    path = f"{ENTERPRISE}:manager.displayName"
    write = {"op": "replace", "path": path, "value": "Somebody Else"}
    (await scim.patch(f"/Users/{user}", write)).refused(400, "mutability")


# --- §5 to §7: what the service says of itself ------------------------------------------------


async def described(scim: Scim, schema: str, *names: str) -> Any:
    """Return an attribute, or a sub-attribute, as /Schemas describes it."""
    found = (await scim.get(f"/Schemas/{schema}")).ok(200).json
    for name in names:
        listed = found.get("attributes") or found["subAttributes"]
        found = next(attribute for attribute in listed if attribute["name"] == name)
    return found


async def test_5_the_configuration_says_all_that_is_required(scim: Scim) -> None:
    config = (await scim.get("/ServiceProviderConfig")).ok(200).json
    assert config["schemas"] == [f"{CORE}:ServiceProviderConfig"]
    for feature in ("patch", "bulk", "filter", "changePassword", "sort", "etag"):
        assert isinstance(config[feature]["supported"], bool), feature
    limits = (
        config["bulk"]["maxOperations"],
        config["bulk"]["maxPayloadSize"],
        config["filter"]["maxResults"],
    )
    assert all(isinstance(limit, int) for limit in limits)
    assert config["authenticationSchemes"]
    for scheme in config["authenticationSchemes"]:
        assert scheme["type"] in {"oauth", "oauth2", "oauthbearertoken", "httpbasic", "httpdigest"}
        assert scheme["name"]
        assert scheme["description"]
    assert config["meta"]["location"] == f"{scim.base}/ServiceProviderConfig"


async def test_6_resource_types_name_their_schemas_and_endpoints(scim: Scim) -> None:
    listed = (await scim.get("/ResourceTypes")).ok(200).json["Resources"]
    types = {found["name"]: found for found in listed}
    assert types.keys() >= {"User", "Group"}
    for found in types.values():
        assert found["schemas"] == [f"{CORE}:ResourceType"]
        (await scim.get(found["endpoint"])).ok(200)
        (await scim.get(f"/Schemas/{found['schema']}")).ok(200)
        for extension in found.get("schemaExtensions", []):
            assert isinstance(extension["required"], bool)
            (await scim.get(f"/Schemas/{extension['schema']}")).ok(200)
        alone = (await scim.get(f"/ResourceTypes/{found['name']}")).ok(200).json
        assert alone == found


async def test_7_schemas_describe_each_attribute_whole(scim: Scim) -> None:
    """Every attribute has its type and every characteristic that has a value for the type."""
    listed = (await scim.get("/Schemas")).ok(200).json["Resources"]
    assert {schema["id"] for schema in listed} >= {USER, GROUP, ENTERPRISE}
    rest = [(schema["id"], attribute) for schema in listed for attribute in schema["attributes"]]
    while rest:
        where, attribute = rest.pop()
        where = f"{where} {attribute['name']}"
        assert attribute["type"] in {
            "string",
            "boolean",
            "decimal",
            "integer",
            "dateTime",
            "binary",
            "reference",
            "complex",
        }, where
        assert isinstance(attribute["multiValued"], bool), where
        assert isinstance(attribute["required"], bool), where
        assert attribute["mutability"] in {"readOnly", "readWrite", "immutable", "writeOnly"}, where
        assert attribute["returned"] in {"always", "never", "default", "request"}, where
        assert attribute["uniqueness"] in {"none", "server", "global"}, where
        if attribute["type"] == "complex":
            assert attribute["subAttributes"], where
            rest += [(where, sub) for sub in attribute["subAttributes"]]
        if attribute["type"] == "reference":
            assert attribute["referenceTypes"], where
            assert attribute["caseExact"] is True, where


@pytest.mark.parametrize(
    ("schema", "names", "characteristics"),
    [
        (USER, ["userName"], {"required": True, "uniqueness": "server", "caseExact": False}),
        (USER, ["password"], {"mutability": "writeOnly", "returned": "never"}),
        (USER, ["groups"], {"mutability": "readOnly", "multiValued": True}),
        (USER, ["emails", "primary"], {"type": "boolean"}),
        (USER, ["x509Certificates", "value"], {"type": "binary"}),
        (GROUP, ["displayName"], {"required": True}),
        (GROUP, ["members", "value"], {"mutability": "immutable"}),
        (GROUP, ["members", "$ref"], {"type": "reference", "mutability": "immutable"}),
        (ENTERPRISE, ["manager", "displayName"], {"mutability": "readOnly"}),
    ],
)
async def test_8_7_1_the_schemas_say_what_the_rfc_says(
    scim: Scim, schema: str, names: list[str], characteristics: dict[str, Any]
) -> None:
    attribute = await described(scim, schema, *names)
    assert attribute == attribute | characteristics


async def test_7_read_only_attributes_of_discovery_can_not_be_written(scim: Scim) -> None:
    for path in ("/Schemas", "/ResourceTypes", "/ServiceProviderConfig", f"/Schemas/{USER}"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            reply = await scim.send(method, path, {"schemas": []})
            reply.refused(reply.status)
            assert reply.status in {404, 405, 501}, (method, path, reply.status)


# --- §9: security -----------------------------------------------------------------------------


async def test_9_2_no_password_is_written_down_in_clear(scim: Scim, live: Any) -> None:
    """Neither in the log nor in any file of the directory."""
    secret = "never-in-a-file-9f2c"
    user = await scim.user(password=secret)
    change = {"op": "replace", "path": "password", "value": secret}
    (await scim.patch(f"/Users/{user}", change)).ok(200)
    (await scim.post("/Users", {"password": secret})).refused(400, "invalidValue")
    files = [live.log, *(path for path in live.data.rglob("*") if path.is_file())]
    assert len(files) > 1
    for file in files:
        assert secret.encode() not in file.read_bytes(), file


async def test_2_3_8_no_part_of_a_complex_value_is_complex(scim: Scim) -> None:
    for schema in (await scim.get("/Schemas")).ok(200).json["Resources"]:
        for attribute in schema["attributes"]:
            for part in attribute.get("subAttributes", []):
                if schema["id"].endswith(":Schema"):  # it describes itself (§8.7.2)
                    continue
                assert part["type"] != "complex", (schema["id"], attribute["name"])
                assert "subAttributes" not in part


async def test_2_1_names_of_attributes_have_their_grammar(scim: Scim) -> None:
    name = re.compile(r"\$?[A-Za-z][A-Za-z0-9$_-]*")  # `$ref` is the RFC's own
    for schema in (await scim.get("/Schemas")).ok(200).json["Resources"]:
        for attribute in schema["attributes"]:
            for one in (attribute, *attribute.get("subAttributes", [])):
                assert name.fullmatch(one["name"]), one["name"]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/Users", {"userName": "one"}),
        ("/Groups", {"displayName": "one"}),
        ("/Agents", {"name": "one"}),
        ("/AgenticApplications", {"name": "one"}),
    ],
)
async def test_3_1_every_resource_has_the_common_attributes(
    scim: Scim, endpoint: str, body: dict[str, Any]
) -> None:
    made = (await scim.post(endpoint, body)).ok(201).json
    assert made["id"]
    assert made["meta"].keys() == {
        "resourceType",
        "created",
        "lastModified",
        "location",
        "version",
    }
    assert made["meta"]["version"].startswith('W/"')
    for moment in ("created", "lastModified"):
        assert datetime.fromisoformat(made["meta"][moment]).tzinfo is not None
    assert "externalId" not in made, "it is the client's, and nobody else gives one"
    kept = (await scim.post(endpoint, dict.fromkeys(body, "two") | {"externalId": "x"})).ok(201)
    assert kept.json["externalId"] == "x"


async def test_4_1_2_groups_are_told_by_their_id_and_uri(scim: Scim) -> None:
    user = await scim.user("ana")
    group = await scim.group("team", [user])
    (shown,) = (await scim.get(f"/Users/{user}")).ok(200).json["groups"]
    assert (shown["value"], shown["display"]) == (group, "team")
    assert shown["$ref"] == f"{scim.base}/Groups/{group}"


async def test_6_a_type_names_schemas_that_there_are(scim: Scim) -> None:
    schemas = {s["id"] for s in (await scim.get("/Schemas")).ok(200).json["Resources"]}
    for kind in (await scim.get("/ResourceTypes")).ok(200).json["Resources"]:
        named = [kind["schema"], *(e["schema"] for e in kind["schemaExtensions"])]
        assert schemas.issuperset(named)
        for urn in named:
            assert (await scim.get(f"/Schemas/{urn}")).ok(200).json["id"] == urn
