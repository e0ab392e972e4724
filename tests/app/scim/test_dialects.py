"""Each provider's dialect as it is on the wire: one test a rule, named after who sends it.

What comes over HTTP (status codes, paging, media types, stray `&`) is tested there; here is what
bodies, paths and filters mean. Nothing has to be set for any of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import InvalidFilter, InvalidPath, InvalidSyntax, InvalidValue, NoTarget, ScimError
from app.scim.discovery import resource_type, resource_types, schema, schemas
from app.scim.filter import anchors, equality, matches, parse_filter
from app.scim.members import MemberChange
from app.scim.messages import error_body
from app.scim.patch import Patched, apply_patch, parse_patch
from app.scim.present import parse_selection
from app.scim.schema import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from app.scim.validate import Parsed, parse_group, parse_resource

MICROSOFT_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ANA: dict[str, Any] = {
    "schemas": [USER_URN, ENTERPRISE_URN],
    "externalId": "00uA",
    "userName": "ana@acme.example",
    "name": {"givenName": "Ana", "familyName": "Lima"},
    "active": True,
    "emails": [{"value": "ana@acme.example", "type": "work", "primary": True}],
    ENTERPRISE_URN: {"department": "Data", "manager": {"value": "u9"}},
}
TEAM: dict[str, Any] = {"schemas": [GROUP_URN], "displayName": "Data Analysts", "externalId": "g-1"}


def user(body: dict[str, Any]) -> Parsed:
    return parse_resource(USER, body)


def patch(*operations: dict[str, Any], of: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the user after the operations."""
    return patched(*operations, of=of).document


def patched(*operations: dict[str, Any], of: dict[str, Any] | None = None) -> Patched:
    body = {"schemas": [PATCH_OP], "Operations": list(operations)}
    return apply_patch(USER, ANA if of is None else of, parse_patch(USER, body))


def members(*operations: dict[str, Any]) -> MemberChange | None:
    """Return how the members of a group change."""
    body = {"schemas": [PATCH_OP], "Operations": list(operations)}
    return apply_patch(GROUP, TEAM, parse_patch(GROUP, body)).members


def finds(text: str, document: dict[str, Any] = ANA) -> bool:
    of = GROUP if document is TEAM else USER
    return matches(parse_filter(of, text), document)


# --- Okta -------------------------------------------------------------------------------------


def test_okta_looks_up_by_user_name_in_any_case() -> None:
    text = 'userName eq "Ana@ACME.example"'
    assert equality(parse_filter(USER, text)) == ("userName", "Ana@ACME.example")
    assert finds(text)


def test_okta_creates_with_empty_groups_and_a_placeholder_password() -> None:
    parsed = user(ANA | {"groups": [], "locale": "en-US", "password": "Tmp-1", "displayName": "A"})
    assert parsed.document == {**_ordered(ANA), "displayName": "A", "locale": "en-US"}
    assert parsed.secret == "Tmp-1"


def test_okta_puts_back_what_it_got_with_id_meta_and_groups() -> None:
    got = ANA | {"id": "1", "meta": {"version": "W/1"}, "groups": [{"value": "g"}]}
    assert user(got).document == user(ANA).document


def test_okta_deactivates_by_put() -> None:
    assert user(ANA | {"active": False}).document["active"] is False


def test_okta_deactivates_without_a_path() -> None:
    assert patch({"op": "replace", "value": {"active": False}})["active"] is False


def test_okta_sends_the_id_along_with_a_groups_name() -> None:
    operation = {"op": "replace", "value": {"id": "g1", "displayName": "Analysts"}}
    after = apply_patch(GROUP, TEAM, parse_patch(GROUP, {"Operations": [operation]}))
    assert (after.document["displayName"], after.members) == ("Analysts", None)


def test_okta_removes_and_adds_members_in_one_patch() -> None:
    change = members(
        {"op": "remove", "path": 'members[value eq "1"]'},
        {"op": "add", "path": "members", "value": [{"value": "2", "display": "bo@acme.example"}]},
    )
    assert change == MemberChange(add=("2",), remove=("1",))


def test_okta_puts_a_whole_group_with_null_displays() -> None:
    body = TEAM | {"id": "g1", "members": [{"value": "1", "display": None}, {"value": "2"}]}
    _, change = parse_group(body)
    assert change == MemberChange(replace=("1", "2"))


@pytest.mark.parametrize("ids", [("1", "2"), ()])
def test_okta_pushes_a_group_in_full_also_an_empty_one(ids: tuple[str, ...]) -> None:
    value = [{"value": i} for i in ids]
    change = members({"op": "replace", "path": "members", "value": value})
    assert change == MemberChange(replace=ids)


def test_okta_renames_a_group_and_its_members_stay() -> None:
    assert members({"op": "replace", "value": {"displayName": "Other"}}) is None


# --- Microsoft Entra ID -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'externalId eq "00uA"',
        'emails[type eq "work"].value eq "ana@acme.example"',
        'userName eq "ana@acme.example" and externalId eq "00uA"',
    ],
)
def test_entra_looks_users_up(text: str) -> None:
    assert finds(text)
    assert not finds(text.replace("00uA", "00UA").replace("ana@", "bo@"))


def test_entra_looks_a_managers_reference_up_by_id_first() -> None:
    filter_ = parse_filter(USER, 'id eq "1" and manager eq "u9"')
    assert anchors(filter_) == (("id", "1"),)
    assert matches(filter_, ANA | {"id": "1"})


def test_entra_looks_groups_up_without_their_members() -> None:
    assert finds('displayName eq "data analysts"', TEAM)
    assert not parse_selection(GROUP, None, "members").wants("members")


def test_entra_creates_with_null_and_empty_attributes() -> None:
    parsed = user(ANA | {"roles": [], "title": None, "meta": {"resourceType": "User"}})
    assert parsed.document == user(ANA).document


@pytest.mark.parametrize(("op", "value"), [("Replace", "B"), ("Add", "B"), ("REPLACE", "B")])
def test_entra_writes_operations_in_capitals(op: str, value: str) -> None:
    assert patch({"op": op, "path": "name.givenName", "value": value})["name"]["givenName"] == "B"


def test_entra_removes_in_capitals() -> None:
    assert "givenName" not in patch({"op": "Remove", "path": "name.givenName"})["name"]


def test_entra_names_an_extensions_attribute_by_urn() -> None:
    path = f"{ENTERPRISE_URN}:department"
    after = patch({"op": "Replace", "path": path, "value": "Ops"})
    assert after[ENTERPRISE_URN]["department"] == "Ops"


@pytest.mark.parametrize(("text", "active"), [("False", False), ("True", True), ("false", False)])
def test_entra_switches_active_by_text(text: str, active: bool) -> None:
    assert patch({"op": "Replace", "path": "active", "value": text})["active"] is active


def test_entra_with_the_flag_sends_dotted_and_urn_keys() -> None:
    value = {"name.givenName": "B", f"{ENTERPRISE_URN}:department": "Ops", "active": False}
    after = patch({"op": "replace", "value": value})
    assert (after["name"]["givenName"], after["active"]) == ("B", False)
    assert after[ENTERPRISE_URN]["department"] == "Ops"


@pytest.mark.parametrize(
    "value",
    [[{"$ref": None, "value": "False"}], [{"value": False}], {"value": "False"}, ["False"]],
)
def test_entra_in_older_modes_wraps_what_is_one_value(value: object) -> None:
    assert patch({"op": "Replace", "path": "active", "value": value})["active"] is False
    assert patch({"op": "Replace", "value": {"active": value}})["active"] is False
    assert patch({"op": "Replace", "path": "", "value": {"active": value}})["active"] is False


def test_entra_in_older_modes_sets_the_manager_by_a_list() -> None:
    value = [{"$ref": "http://x/Users/u7", "value": "u7"}]
    after = patch({"op": "Add", "path": f"{ENTERPRISE_URN}:manager", "value": value})
    assert after[ENTERPRISE_URN]["manager"]["value"] == "u7"


def test_one_operation_needs_no_list() -> None:
    body = {"schemas": [PATCH_OP], "Operations": {"op": "add", "path": "title", "value": "T"}}
    assert apply_patch(USER, ANA, parse_patch(USER, body)).document["title"] == "T"


@pytest.mark.parametrize("text", ["userName eq 'ana'", "userName eq \u201cana\u201d"])
def test_other_quotes_are_an_error_and_not_a_name_that_nobody_has(text: str) -> None:
    with pytest.raises(InvalidFilter, match="double quotes"):
        parse_filter(USER, text)


@pytest.mark.parametrize("op", ["Add", "Replace"])
def test_entra_sets_the_manager_as_bare_text(op: str) -> None:
    after = patch({"op": op, "path": f"{ENTERPRISE_URN}:manager", "value": "u7"})
    assert after[ENTERPRISE_URN]["manager"] == {"value": "u7"}


@pytest.mark.parametrize("path", [f"{ENTERPRISE_URN}:manager", 'manager[value eq "u9"]'])
def test_entra_removes_the_manager(path: str) -> None:
    assert "manager" not in patch({"op": "Remove", "path": path})[ENTERPRISE_URN]


@pytest.mark.parametrize("op", ["Add", "Replace"])
def test_entra_means_create_where_a_filter_matches_nothing(op: str) -> None:
    after = patch({"op": op, "path": 'emails[type eq "home"].value', "value": "a@home"})
    assert after["emails"][1] == {"value": "a@home", "type": "home"}


def test_entra_makes_one_entry_by_two_paths_with_one_filter() -> None:
    after = patch(
        {"op": "Add", "path": 'addresses[type eq "work"].locality', "value": "Porto"},
        {"op": "Add", "path": 'addresses[type eq "work"].country', "value": "PT"},
    )
    assert after["addresses"] == [{"type": "work", "locality": "Porto", "country": "PT"}]


def test_entras_validator_chooses_by_primary_as_a_boolean_and_as_text() -> None:
    after = patch(
        {"op": "replace", "path": "emails[primary eq true].value", "value": "b@acme.example"},
        {"op": "replace", "path": 'roles[primary eq "True"].value', "value": "admin"},
    )
    assert after["emails"][0]["value"] == "b@acme.example"
    assert after["roles"] == [{"primary": True, "value": "admin"}]


def test_entra_gets_no_target_where_another_filter_matches_nothing() -> None:
    with pytest.raises(NoTarget):
        patch({"op": "Replace", "path": 'emails[value eq "x"].type', "value": "home"})


def test_entra_creates_groups_with_its_own_schema_beside_the_core_one() -> None:
    parsed, change = parse_group(TEAM | {"schemas": [GROUP_URN, MICROSOFT_GROUP]})
    assert (parsed.document["schemas"], change) == ([GROUP_URN], None)


def test_entra_adds_members_with_a_null_reference() -> None:
    value = [{"$ref": None, "value": "1"}, {"$ref": None, "value": "2"}]
    change = members({"op": "Add", "path": "members", "value": value})
    assert change == MemberChange(add=("1", "2"))


def test_entra_removes_only_the_members_that_it_lists() -> None:
    value = [{"$ref": None, "value": "1"}]
    change = members({"op": "Remove", "path": "members", "value": value})
    assert change == MemberChange(remove=("1",))


def test_entra_with_the_flag_removes_a_member_by_filter() -> None:
    change = members({"op": "remove", "path": 'members[value eq "1"]'})
    assert change == MemberChange(remove=("1",))


def test_entra_deactivates_though_another_path_is_unknown() -> None:
    """A refused path would take the deactivation with it."""
    after = patched(
        {"op": "Replace", "path": "shoeSize", "value": "44"},
        {"op": "Replace", "path": "active", "value": "False"},
    )
    assert after.document["active"] is False
    assert after.ignored == ("shoeSize",)


@pytest.mark.parametrize("active", ["True", None])
def test_entra_is_told_of_an_unknown_path_otherwise(active: str | None) -> None:
    operations = [{"op": "Replace", "path": "shoeSize", "value": "44"}]
    if active is not None:
        operations.append({"op": "Replace", "path": "active", "value": active})
    with pytest.raises(InvalidPath):
        patch(*operations)


@pytest.mark.parametrize(
    ("path", "kind"), [("name..x", InvalidPath), ("a b", InvalidPath), ("emails[", InvalidFilter)]
)
def test_a_malformed_path_is_refused_even_beside_a_deactivation(
    path: str, kind: type[ScimError]
) -> None:
    with pytest.raises(kind):
        patch(
            {"op": "Replace", "path": path, "value": "44"},
            {"op": "Replace", "path": "active", "value": "False"},
        )


# --- OneLogin ---------------------------------------------------------------------------------


def test_onelogins_template_speaks_of_old_schemas_and_a_manager_id() -> None:
    old = "urn:scim:schemas:extension:enterprise:2.0"
    body = {
        "schemas": ["urn:scim:schemas:core:2.0", old],
        "id": None,
        "userName": "ana@acme.example",
        "active": "true",
        old: {"department": "Data", "manager": {"managerId": "u9"}},
    }
    parsed = user(body)
    assert parsed.document["schemas"] == [USER_URN, ENTERPRISE_URN]
    assert parsed.document["active"] is True
    assert parsed.document[ENTERPRISE_URN] == ANA[ENTERPRISE_URN]
    assert parsed.ignored == ()


def test_onelogin_adds_a_member_by_filter() -> None:
    change = members({"op": "add", "path": 'members[value eq "1"]'})
    assert change == MemberChange(add=("1",))


# --- PingFederate and PingOne -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'username Eq "ana@acme.example"',
        'email Co "ana@acme"',
        'emails eq "ana@acme.example"',
        'USERNAME EQ "ANA@ACME.EXAMPLE"',
    ],
)
def test_ping_filters_in_any_case_and_by_the_value_of_emails(text: str) -> None:
    assert finds(text)


# --- Rippling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"value": "1"}, [{"value": "1"}], "1"])
def test_rippling_adds_a_list_or_one_object(value: object) -> None:
    change = members({"op": "add", "path": "members", "value": value})
    assert change == MemberChange(add=("1",))


# --- Keycloak ---------------------------------------------------------------------------------


def test_keycloak_puts_a_whole_group_with_relative_references() -> None:
    _, change = parse_group(TEAM | {"members": [{"value": "1", "$ref": "Users/1"}]})
    assert change == MemberChange(replace=("1",))


def test_keycloak_leaves_members_out_once_the_last_one_is_gone() -> None:
    """Whether that empties the group is for the request to decide: PUT does, POST has none."""
    _, change = parse_group(TEAM)
    assert change is None


def test_keycloak_removes_members_without_a_value() -> None:
    assert members({"op": "remove", "path": "members"}) == MemberChange(replace=())


# --- authentik --------------------------------------------------------------------------------


def test_authentik_filters_without_quotes() -> None:
    assert finds("userName eq ana@acme.example")
    assert equality(parse_filter(USER, "userName eq ana")) == ("userName", "ana")


@pytest.mark.parametrize("text", ["userName eq ana lima", "userName eq", "active eq ana"])
def test_what_is_no_single_token_of_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(USER, text)


def test_authentik_patches_without_schemas() -> None:
    body = {"Operations": [{"op": "replace", "value": {"id": "g1", "displayName": "Other"}}]}
    after = apply_patch(GROUP, TEAM, parse_patch(GROUP, body))
    assert after.document["displayName"] == "Other"


def test_authentik_adds_members_one_operation_each() -> None:
    change = members(
        *({"op": "add", "path": "members", "value": [{"value": str(n)}]} for n in range(3))
    )
    assert change == MemberChange(add=("0", "1", "2"))


# --- what all of them together ask ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('externalId eq "00uA"', True),
        ('externalId eq "00UA"', False),
        ('userName eq "ANA@acme.example"', True),
    ],
)
def test_names_ignore_case_and_external_ids_do_not(text: str, found: bool) -> None:
    assert finds(text) is found


@pytest.mark.parametrize(
    "text", ["", "userName", 'userName is "ana"', 'shoeSize eq "44"', 'userName eq "ana', "(("]
)
def test_a_bad_filter_is_an_error_and_never_a_list(text: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter(USER, text)
    body = error_body(refused.value)
    assert (body["status"], body["scimType"]) == ("400", "invalidFilter")


def test_a_member_twice_is_a_member_once() -> None:
    value = [{"value": "1"}, {"value": "1", "display": "Ana"}]
    change = members({"op": "add", "path": "members", "value": value})
    assert change == MemberChange(add=("1",))
    assert MemberChange(add=("1",)).applied_to(["1"]) == ("1",)


@pytest.mark.parametrize("urn", [None, [], ["urn:nothing:known"], [USER_URN.upper()]])
def test_the_url_names_the_type_whatever_schemas_says(urn: list[str] | None) -> None:
    assert user({"schemas": urn, "userName": "ana"}).document["schemas"] == [USER_URN]


def test_read_only_attributes_are_left_out_and_not_refused() -> None:
    assert user({"userName": "ana", "id": 7, "meta": "x"}).document == {
        "schemas": [USER_URN],
        "userName": "ana",
    }


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "rename", "path": "title", "value": "x"}, InvalidSyntax),
        ({"op": "replace", "path": "title"}, InvalidValue),
        ({"op": "replace", "value": "x"}, InvalidValue),
        ({"op": "remove"}, NoTarget),
    ],
)
def test_an_operation_that_is_not_understood_is_never_a_success(
    operation: dict[str, Any], kind: type[ScimError]
) -> None:
    with pytest.raises(kind) as refused:
        patch(operation)
    assert error_body(refused.value)["status"] == "400"


def test_discovery_answers_as_lists_and_by_name() -> None:
    base = "https://scim.example"
    assert [resource_type(t["name"].lower(), base) for t in resource_types(base)]
    assert [schema(s["id"].upper(), base) for s in schemas(base)] == schemas(base)


def _ordered(document: dict[str, Any]) -> dict[str, Any]:
    return parse_resource(USER, document).document
