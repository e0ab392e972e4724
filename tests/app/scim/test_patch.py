"""PATCH by RFC 7644 §3.5.2, and as identity providers really send it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    ScimError,
    TooMany,
)
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.limits import Limits
from app.scim.members import MemberChange
from app.scim.patch import Patched, apply_patch, parse_patch
from app.scim.schema import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from app.scim.validate import parse_group, parse_resource

Op = dict[str, Any]

WORK = {"value": "ana@acme.example", "type": "work", "primary": True}
HOME = {"value": "ana@home.example", "type": "home"}
ANA = parse_resource(
    USER,
    {
        "userName": "ana",
        "name": {"givenName": "Ana", "familyName": "Lima"},
        "active": True,
        "title": "Analyst",
        "emails": [WORK, HOME],
        ENTERPRISE_URN: {"department": "D", "manager": {"value": "7", "$ref": "../Users/7"}},
    },
).document
TEAM = parse_group({"displayName": "Team", "externalId": "e1"})[0].document


def patch(
    *operations: Op, of: ResourceType = USER, document: dict[str, Any] | None = None
) -> Patched:
    before = ANA if of is USER else TEAM
    urn = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    parsed = parse_patch(of, {"schemas": [urn], "Operations": list(operations)})
    return apply_patch(of, before if document is None else document, parsed)


def changed(*operations: Op, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """What differs afterwards: attributes with their new value, None for one that is gone."""
    before = ANA if document is None else document
    after = patch(*operations, document=document).document
    return {
        name: after.get(name)
        for name in (*before, *after)
        if name != "schemas" and before.get(name) != after.get(name)
    }


def op(op: str, path: str, *value: Any) -> Op:
    return {"op": op, "path": path} | ({"value": value[0]} if value else {})


ENTERPRISE = ANA[ENTERPRISE_URN]

CHANGES: dict[str, tuple[list[Op], dict[str, Any]]] = {
    # --- the RFC
    "add a value": ([op("add", "nickName", "A")], {"nickName": "A"}),
    "add over a value": ([op("add", "title", "Boss")], {"title": "Boss"}),
    "add a part": (
        [op("add", "name.middleName", "M")],
        {"name": {"familyName": "Lima", "givenName": "Ana", "middleName": "M"}},
    ),
    "add parts": (
        [op("add", "name", {"givenName": "An", "formatted": "An L"})],
        {"name": {"formatted": "An L", "familyName": "Lima", "givenName": "An"}},
    ),
    "replace keeps the parts that it doesn't name": (
        [op("replace", "name", {"givenName": "An"})],
        {"name": {"familyName": "Lima", "givenName": "An"}},
    ),
    "null takes a part away": (
        [op("replace", "name", {"givenName": None})],
        {"name": {"familyName": "Lima"}},
    ),
    "add to many": (
        [op("add", "emails", [{"value": "x@y"}])],
        {"emails": [WORK, HOME, {"value": "x@y"}]},
    ),
    "add what is there": ([op("add", "emails", [WORK, HOME])], {}),
    "add to what is there": (
        [op("add", "emails", {"value": "ana@home.example", "type": "home", "display": "H"})],
        {"emails": [WORK, HOME | {"display": "H"}]},
    ),
    "add nothing": ([op("add", "emails", []), op("add", "title", None)], {}),
    "replace many": ([op("replace", "emails", [HOME])], {"emails": [HOME]}),
    "replace by nothing": ([op("replace", "emails", [])], {"emails": None}),
    "replace by null": ([op("replace", "title", None)], {"title": None}),
    "replace what is not there": ([op("replace", "nickName", "A")], {"nickName": "A"}),
    "remove": ([op("remove", "title")], {"title": None}),
    "remove what is not there": ([op("remove", "nickName")], {}),
    "remove a part": ([op("remove", "name.givenName")], {"name": {"familyName": "Lima"}}),
    "remove the last part": (
        [op("remove", "name.givenName"), op("remove", "name.familyName")],
        {"name": None},
    ),
    "remove all values": ([op("remove", "emails")], {"emails": None}),
    "remove by filter": ([op("remove", 'emails[type eq "work"]')], {"emails": [HOME]}),
    "remove the last by filter": (
        [op("remove", 'emails[type eq "work"]'), op("remove", 'emails[value co "@"]')],
        {"emails": None},
    ),
    "remove by filter what is not there": ([op("remove", 'emails[type eq "x"]')], {}),
    "remove a part by filter": (
        [op("remove", 'emails[type eq "work"].primary')],
        {"emails": [{"value": "ana@acme.example", "type": "work"}, HOME]},
    ),
    "remove a part of all": (
        [op("remove", "emails.type")],
        {"emails": [{"value": "ana@acme.example", "primary": True}, {"value": "ana@home.example"}]},
    ),
    "replace by filter": (
        [op("replace", 'emails[type eq "work"]', {"value": "x@y"})],
        {"emails": [{"value": "x@y", "type": "work"}, HOME]},
    ),
    "add by filter": (
        [op("add", 'emails[type eq "work"]', {"display": "W"})],
        {"emails": [WORK | {"display": "W"}, HOME]},
    ),
    "replace a part by filter": (
        [op("replace", 'emails[value ew "home.example"].type', "other")],
        {"emails": [WORK, {"value": "ana@home.example", "type": "other"}]},
    ),
    "replace a part of all": (
        [op("replace", "emails.display", "x")],
        {"emails": [WORK | {"display": "x"}, HOME | {"display": "x"}]},
    ),
    "a new primary takes it from the old one": (
        [op("replace", 'emails[type eq "home"].primary', True)],
        {"emails": [WORK | {"primary": False}, HOME | {"primary": True}]},
    ),
    "an added primary takes it from the old one": (
        [op("add", "emails", {"value": "n@m", "primary": "True"})],
        {"emails": [WORK | {"primary": False}, HOME, {"value": "n@m", "primary": True}]},
    ),
    "of an extension": (
        [op("replace", f"{ENTERPRISE_URN}:department", "X")],
        {ENTERPRISE_URN: ENTERPRISE | {"department": "X"}},
    ),
    "a part in an extension": (
        [op("replace", f"{ENTERPRISE_URN}:manager.value", "9")],
        {ENTERPRISE_URN: {"department": "D", "manager": {"value": "9"}}},
    ),
    "by the URN of the core": ([op("replace", f"{USER_URN}:title", "X")], {"title": "X"}),
    "a whole extension goes": ([op("remove", ENTERPRISE_URN)], {ENTERPRISE_URN: None}),
    "a whole extension is set": (
        [op("add", ENTERPRISE_URN, {"division": "V"})],
        {ENTERPRISE_URN: {"division": "V"} | ENTERPRISE},
    ),
    "the last value of an extension goes": (
        [op("remove", f"{ENTERPRISE_URN}:{n}") for n in ("department", "manager")],
        {ENTERPRISE_URN: None},
    ),
    "without a path": (
        [{"op": "add", "value": {"title": "X", "emails": [{"value": "x@y"}]}}],
        {"title": "X", "emails": [WORK, HOME, {"value": "x@y"}]},
    ),
    "without a path, replace": (
        [{"op": "replace", "value": {"emails": [HOME], "name": {"givenName": "An"}}}],
        {"emails": [HOME], "name": {"familyName": "Lima", "givenName": "An"}},
    ),
    "one after the other": (
        [op("add", "title", "A"), op("remove", "title"), op("add", "title", "B")],
        {"title": "B"},
    ),
    "what is undone is no change": ([op("remove", "title"), op("add", "title", "Analyst")], {}),
    # --- Okta
    "Okta deactivates": ([{"op": "replace", "value": {"active": False}}], {"active": False}),
    "Okta sets a password": ([{"op": "replace", "value": {"password": "S3cret"}}], {}),
    # --- Entra ID
    "Entra's op": ([op("Replace", "title", "X")], {"title": "X"}),
    "Entra deactivates": ([op("Replace", "active", "False")], {"active": False}),
    "Entra creates an address": (
        [op("Add", 'phoneNumbers[type eq "mobile"].value', "1")],
        {"phoneNumbers": [{"value": "1", "type": "mobile"}]},
    ),
    "Entra creates by replace": (
        [op("Replace", 'emails[type eq "other"].value', "o@p")],
        {"emails": [WORK, HOME, {"value": "o@p", "type": "other"}]},
    ),
    "two paths with one filter make one value": (
        [
            op("Add", 'addresses[type eq "work"].country', "PT"),
            op("Add", 'addresses[type eq "work"].locality', "Lisboa"),
        ],
        {"addresses": [{"locality": "Lisboa", "country": "PT", "type": "work"}]},
    ),
    "the validator's primary": (
        [op("replace", "emails[primary eq true].value", "p@q")],
        {"emails": [WORK | {"value": "p@q"}, HOME]},
    ),
    "Entra's role": (
        [op("add", 'roles[primary eq "True"].value', "admin")],
        {"roles": [{"value": "admin", "primary": True}]},
    ),
    "both at once": (
        [op("add", 'addresses[type eq "work" and primary eq true].country', "PT")],
        {"addresses": [{"country": "PT", "type": "work", "primary": True}]},
    ),
    "Entra's manager": (
        [op("Add", f"{ENTERPRISE_URN}:manager", "9")],
        {ENTERPRISE_URN: {"department": "D", "manager": {"value": "9"}}},
    ),
    "an empty manager is none": (
        [op("Replace", f"{ENTERPRISE_URN}:manager", "")],
        {ENTERPRISE_URN: {"department": "D"}},
    ),
    "Entra's manager goes": (
        [op("Remove", 'manager[value eq "7"]')],
        {ENTERPRISE_URN: {"department": "D"}},
    ),
    "another manager stays": ([op("Remove", 'manager[value eq "8"]')], {}),
    "dotted and URN keys": (
        [
            {
                "op": "replace",
                "value": {
                    "name.givenName": "An",
                    f"{ENTERPRISE_URN}:department": "X",
                    'emails[type eq "work"].value': "x@y",
                    "title": "T",
                },
            }
        ],
        {
            "name": {"familyName": "Lima", "givenName": "An"},
            ENTERPRISE_URN: ENTERPRISE | {"department": "X"},
            "emails": [WORK | {"value": "x@y"}, HOME],
            "title": "T",
        },
    ),
    "an extension among the keys": (
        [{"op": "replace", "value": {ENTERPRISE_URN: {"department": "X"}}}],
        {ENTERPRISE_URN: ENTERPRISE | {"department": "X"}},
    ),
    "an extension that is null": (
        [{"op": "replace", "value": {ENTERPRISE_URN: None, "title": "T"}}],
        {ENTERPRISE_URN: None, "title": "T"},
    ),
    "read-only keys are left out": (
        [{"op": "replace", "value": {"id": "1", "meta": {}, "groups": [], "title": "T"}}],
        {"title": "T"},
    ),
    "only read-only keys": ([{"op": "replace", "value": {"id": "1"}}], {}),
    "schemas follow from the rest": ([op("add", "schemas", [ENTERPRISE_URN])], {}),
    "removal by values": (
        [op("Remove", "emails", [{"value": "ana@home.example", "display": None}])],
        {"emails": [WORK]},
    ),
    "removal of no values": ([op("Remove", "emails", [])], {}),
    "one object where a list is expected": (
        [op("replace", "emails", HOME)],
        {"emails": [HOME]},
    ),
    "a list of one where an object is expected": (
        [op("replace", 'emails[type eq "work"]', [{"value": "x@y"}])],
        {"emails": [{"value": "x@y", "type": "work"}, HOME]},
    ),
    "a value of a filter goes by null": (
        [op("replace", 'emails[type eq "work"].value', None)],
        {"emails": [{"type": "work", "primary": True}, HOME]},
    ),
    "an empty array is null": (
        [op("replace", "title", []), op("replace", "name", []), op("add", "active", [])],
        {"title": None, "name": None},
    ),
    "an empty array by filter": (
        [op("replace", 'emails[type eq "work"]', [])],
        {"emails": [HOME]},
    ),
    "removal by a whole value": ([op("remove", "emails", [HOME])], {"emails": [WORK]}),
    "an address that is there becomes primary": (
        [
            op("add", "addresses", {"country": "PT"}),
            op("add", "addresses", {"country": "PT", "primary": True}),
        ],
        {"addresses": [{"country": "PT", "primary": True}]},
    ),
    "a path that chooses needs no value": (
        [op("remove", "title", 7), op("remove", 'emails[type eq "home"]', 7)],
        {"title": None, "emails": [WORK]},
    ),
    "null where nothing is": ([op("replace", 'emails[type eq "x"].value', None)], {}),
    "a part of what is not there": (
        [op("add", "phoneNumbers.value", "1")],
        {"phoneNumbers": [{"value": "1"}]},
    ),
    "the same manager keeps his URI": (
        [op("replace", f"{ENTERPRISE_URN}:manager", {"value": "7"})],
        {},
    ),
    "another manager with his URI": (
        [op("replace", f"{ENTERPRISE_URN}:manager", {"value": "9", "$ref": "../Users/9"})],
        {ENTERPRISE_URN: ENTERPRISE | {"manager": {"value": "9", "$ref": "../Users/9"}}},
    ),
    "names in any case": (
        [op("REPLACE", "NAME.GIVENNAME", "An"), op("add", "Title", "T")],
        {"name": {"familyName": "Lima", "givenName": "An"}, "title": "T"},
    ),
}


@pytest.mark.parametrize(("operations", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_a_patch_changes_what_it_names_and_nothing_else(
    operations: list[Op], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy(ANA)
    assert changed(*operations) == expected
    assert before == ANA
    after = patch(*operations).document
    assert json.dumps(parse_resource(USER, after).document) == json.dumps(after)


REFUSED: dict[str, tuple[list[Op], type[ScimError], str]] = {
    "remove without a path": ([{"op": "remove"}], NoTarget, "Operations[0].path"),
    "no op": ([{"path": "title", "value": "x"}], InvalidSyntax, "Operations[0].op"),
    "another op": ([op("move", "title")], InvalidSyntax, "Operations[0].op"),
    "op of the wrong type": ([{"op": ["add"]}], InvalidSyntax, "Operations[0].op"),
    "no value": ([op("add", "title")], InvalidValue, "Operations[0].value"),
    "no path and no object": ([{"op": "add", "value": "x"}], InvalidValue, "Operations[0].value"),
    "path of the wrong type": ([{"op": "add", "path": 7}], InvalidPath, "Operations[0].path"),
    "empty path": ([op("add", "", 1)], InvalidPath, ""),
    "a pointer": ([op("add", "/title", "x")], InvalidPath, "/title"),
    "three names": ([op("add", "a.b.c", 1)], InvalidPath, "a.b.c"),
    "after the bracket": ([op("add", 'emails[type eq "x"]value', 1)], InvalidPath, "emails"),
    "dots after the bracket": ([op("add", "emails[type pr].a.b", 1)], InvalidPath, "emails"),
    "brackets of a part": ([op("add", 'name.x[a eq "b"]', 1)], InvalidPath, "name.x"),
    "nothing after the dot": ([op("add", "emails[type pr].", 1)], InvalidPath, "emails"),
    "brackets of a known part": (
        [op("remove", 'name.givenName[value eq "b"]')],
        InvalidPath,
        "name.givenName",
    ),
    "no URN before the colon": ([op("add", "core:title", 1)], InvalidPath, "core:title"),
    "too long": ([op("add", "x" * 8_193, 1)], InvalidPath, "path: longer than 8192"),
    "open bracket": ([op("add", 'emails[type eq "x"', 1)], InvalidFilter, "filter"),
    "empty brackets": ([op("add", "emails[]", 1)], InvalidFilter, "filter"),
    "brackets of a simple attribute": ([op("add", 'title[value eq "x"]', 1)], InvalidFilter, ""),
    "unknown": ([op("add", "shoeSize", 42)], InvalidPath, "shoeSize"),
    "unknown part": ([op("remove", "name.nick")], InvalidPath, "name.nick"),
    "unknown part of a value": ([op("add", 'emails[type eq "work"].x', 1)], InvalidPath, "emails"),
    "unknown in a filter": ([op("remove", 'emails[x eq "1"]')], InvalidPath, "emails"),
    "unknown schema": ([op("add", "urn:x:y:z", 1)], InvalidPath, "urn:x:y:z"),
    "unknown of a known schema": (
        [op("add", f"{ENTERPRISE_URN}:zip", 1)],
        InvalidPath,
        f"{ENTERPRISE_URN}:zip",
    ),
    "only unknown keys": ([{"op": "add", "value": {"shoeSize": 1}}], InvalidPath, "shoeSize"),
    "only unknown keys of an extension": (
        [{"op": "add", "value": {ENTERPRISE_URN: {"zip": 1}}}],
        InvalidPath,
        f"{ENTERPRISE_URN}:zip",
    ),
    "an unknown dotted key": (
        [{"op": "add", "value": {"title": "T", "name.nick": 1}}],
        InvalidPath,
        "name.nick",
    ),
    "an unknown URN key": (
        [{"op": "add", "value": {"title": "T", f"{ENTERPRISE_URN}:zip": "1"}}],
        InvalidPath,
        f"{ENTERPRISE_URN}:zip",
    ),
    "id": ([op("replace", "id", "2")], Mutability, "id"),
    "meta": ([op("remove", "meta.version")], Mutability, "meta.version"),
    "groups": ([op("add", "groups", [{"value": "g"}])], Mutability, "groups"),
    "a read-only part": (
        [op("add", f"{ENTERPRISE_URN}:manager.displayName", "x")],
        Mutability,
        f"{ENTERPRISE_URN}:manager.displayName",
    ),
    "removing a required attribute": ([op("remove", "userName")], Mutability, "userName"),
    "removing schemas": ([op("remove", "schemas")], Mutability, "schemas"),
    "removing the core schema": ([op("remove", USER_URN)], Mutability, USER_URN),
    "a required attribute becomes null": (
        [op("replace", "userName", None)],
        InvalidValue,
        "userName",
    ),
    "an empty name": ([op("replace", "userName", " ")], InvalidValue, "userName"),
    "a control character": ([op("replace", "externalId", "\0")], InvalidValue, "externalId"),
    "wrong type": ([op("replace", "name.givenName", 1)], InvalidValue, "name.givenName"),
    "wrong type in a list": (
        [op("add", "emails", [HOME, {"value": 1}])],
        InvalidValue,
        "emails[1].value",
    ),
    "wrong type by filter": (
        [op("replace", 'emails[type eq "work"].value', {})],
        InvalidValue,
        'emails[type eq "work"].value',
    ),
    "wrong type without a path": (
        [{"op": "replace", "value": {"name": {"givenName": 1}}}],
        InvalidValue,
        "name.givenName",
    ),
    "a schema that is text": ([op("add", ENTERPRISE_URN, "x")], InvalidValue, ENTERPRISE_URN),
    "password of the wrong type": ([op("replace", "password", 1)], InvalidValue, "password"),
    "two primaries": (
        [op("add", "emails", [{"value": "a", "primary": True}, {"value": "b", "primary": True}])],
        InvalidValue,
        "emails",
    ),
    "all become primary": ([op("replace", "emails.primary", True)], InvalidValue, "emails.primary"),
    "no value fulfils the filter": (
        [op("replace", 'emails[value eq "x"].type', "work")],
        NoTarget,
        'emails[value eq "x"].type',
    ),
    "nothing can fulfil the filter": (
        [op("add", 'emails[type eq "a" and type eq "b"].value', "x")],
        NoTarget,
        "emails",
    ),
    "an or makes nothing": (
        [op("add", 'emails[type eq "a" or type eq "b"].value', "x")],
        NoTarget,
        "emails",
    ),
    "another manager": (
        [op("replace", 'manager[value eq "8"].value', "9")],
        NoTarget,
        ENTERPRISE_URN,
    ),
}


@pytest.mark.parametrize(("operations", "error", "names"), REFUSED.values(), ids=REFUSED.keys())
def test_a_patch_is_refused_whole_and_says_where(
    operations: list[Op], error: type[ScimError], names: str
) -> None:
    before = copy.deepcopy(ANA)
    with pytest.raises(ScimError) as caught:
        patch(op("replace", "title", "Boss"), *operations)
    assert type(caught.value) in {error, *error.__subclasses__()}
    assert caught.value.detail.replace("Operations[1]", "Operations[0]").startswith(names)
    assert before == ANA


@pytest.mark.parametrize(
    "body",
    [{}, {"Operations": []}, {"Operations": "x"}, {"Operations": [7]}, {"Operations": None}, []],
    ids=repr,
)
def test_a_patch_has_operations(body: object) -> None:
    with pytest.raises(InvalidSyntax):
        parse_patch(USER, body)


def test_keys_are_taken_in_any_case_and_schemas_may_be_missing() -> None:
    body = {"operations": [{"OP": "Replace", "Path": "title", "VALUE": "X"}]}
    assert apply_patch(USER, ANA, parse_patch(USER, body)).document["title"] == "X"


def test_the_number_of_operations_is_bounded() -> None:
    body = {"Operations": [op("add", "title", "x")] * 3}
    assert len(parse_patch(USER, body, limits=Limits(max_patch_operations=3))) == 3
    with pytest.raises(TooMany):
        parse_patch(USER, body, limits=Limits(max_patch_operations=2))


def test_the_number_of_values_is_bounded() -> None:
    """What is there counts too; the last value that is allowed is."""
    added = [{"value": str(n)} for n in range(499)]
    assert len(patch(op("add", "emails", added[:498])).document["emails"]) == 500
    with pytest.raises(TooMany, match=r"^emails: "):
        patch(op("add", "emails", added))


# --- a deactivation survives a mistake in a mapping -------------------------------------------

DEACTIVATIONS: dict[str, list[Op]] = {
    "before": [op("replace", "active", False), op("add", "shoeSize", 42)],
    "after": [op("add", "shoeSize", 42), op("replace", "active", "False")],
    "without a path": [op("remove", "name.nick"), {"op": "replace", "value": {"active": False}}],
    "in one": [{"op": "replace", "value": {"urn:x:y:z": "1", "active": "false"}}],
    "a filter": [op("replace", 'emails[x eq "1"].value', "y"), op("add", "active", False)],
}


@pytest.mark.parametrize("operations", DEACTIVATIONS.values(), ids=DEACTIVATIONS.keys())
def test_what_is_unknown_does_not_stop_a_deactivation(operations: list[Op]) -> None:
    patched = patch(*operations)
    assert patched.document == ANA | {"active": False}
    assert len(patched.ignored) == 1


@pytest.mark.parametrize(
    "operations",
    [
        [op("replace", "active", False), op("add", "a.b.c", 1)],
        [op("replace", "active", False), op("add", "core:x", 1)],
        [op("replace", "active", False), op("add", "title", 1)],
        [op("replace", "active", False), op("add", 'emails[x eq "1"', 1)],
        [op("replace", "active", True), op("add", "shoeSize", 1)],
        [op("replace", "active", False), op("replace", "active", True), op("add", "x", 1)],
        [op("remove", "active"), op("add", "x", 1)],
    ],
    ids=["path", "URN", "value", "filter", "activates", "activates in the end", "removes active"],
)
def test_what_is_malformed_always_stops_and_only_a_deactivation_is_special(
    operations: list[Op],
) -> None:
    with pytest.raises(ScimError):
        patch(*operations)


def test_plain_names_that_no_schema_knows_are_left_out_beside_known_ones() -> None:
    patched = patch(
        {"op": "add", "value": {"title": "T", "shoeSize": 1, "urn:x:y": {"a": 1}, "a b": 2}},
        op("add", "emails", {"value": "x@y", "color": "red"}),
    )
    assert patched.document["title"] == "T"
    assert patched.ignored == ("shoeSize", "urn:x:y", "a b", "emails.color")


def test_old_data_that_a_limit_would_refuse_today_can_be_deactivated() -> None:
    document = ANA | {"title": "x" * 100, "custom": 1}
    limits = Limits(max_attribute_length=10)
    operations = parse_patch(USER, {"Operations": [op("replace", "active", False)]}, limits=limits)
    after = apply_patch(USER, document, operations, limits=limits).document
    assert after == document | {"active": False}


def test_a_password_goes_nowhere() -> None:
    body = {"Operations": [op("replace", "password", "S3cret")]}
    operations = parse_patch(USER, body)
    assert "S3cret" not in repr(operations)
    assert "S3cret" not in repr(apply_patch(USER, ANA, operations))


# --- groups -----------------------------------------------------------------------------------

MEMBERS: dict[str, tuple[list[Op], MemberChange | None]] = {
    "none named": ([op("replace", "displayName", "X")], None),
    "add": ([op("add", "members", [{"value": "1"}, {"value": "2"}])], MemberChange(add=("1", "2"))),
    "Entra adds": (
        [op("Add", "members", [{"$ref": None, "value": "1"}])],
        MemberChange(add=("1",)),
    ),
    "one object (Rippling)": ([op("add", "members", {"value": "1"})], MemberChange(add=("1",))),
    "one id": ([op("add", "members", "1")], MemberChange(add=("1",))),
    "add no one": ([op("add", "members", [])], MemberChange()),
    "add null": ([op("add", "members", None)], MemberChange()),
    "Okta pushes all": ([op("replace", "members", [{"value": "1"}])], MemberChange(replace=("1",))),
    "Okta empties": ([op("replace", "members", [])], MemberChange(replace=())),
    "replace by null": ([op("replace", "members", None)], MemberChange(replace=())),
    "remove all": ([op("remove", "members")], MemberChange(replace=())),
    "Entra removes a list": (
        [op("Remove", "members", [{"value": "1"}, {"value": "2"}])],
        MemberChange(remove=("1", "2")),
    ),
    "an empty list removes no one": ([op("Remove", "members", [])], MemberChange()),
    "remove by filter": ([op("remove", 'members[value eq "1"]')], MemberChange(remove=("1",))),
    "by filter, with a useless value": (
        [op("remove", 'members[value eq "1"]', [{"value": "2"}])],
        MemberChange(remove=("1",)),
    ),
    "remove by or": (
        [op("remove", 'members[value eq "1" or value eq "2"]')],
        MemberChange(remove=("1", "2")),
    ),
    "add by filter": ([op("add", 'members[value eq "1"]')], MemberChange(add=("1",))),
    "add by filter with the same": (
        [op("add", 'members[value eq "1"]', [{"value": "1", "display": "x"}])],
        MemberChange(add=("1",)),
    ),
    "replace by filter with a name": (
        [op("replace", 'members[value eq "1"]', {"display": "x"})],
        MemberChange(add=("1",)),
    ),
    "replace by filter with null": (
        [op("replace", 'members[value eq "1"]', None)],
        MemberChange(remove=("1",)),
    ),
    "Okta's both in one": (
        [op("remove", 'members[value eq "1"]'), op("add", "members", [{"value": "2"}])],
        MemberChange(add=("2",), remove=("1",)),
    ),
    "add, then remove all": (
        [op("add", "members", ["1"]), op("remove", "members")],
        MemberChange(replace=()),
    ),
    "replace, then add and remove": (
        [
            op("replace", "members", ["1", "2"]),
            op("add", "members", "3"),
            op("remove", "members", "1"),
        ],
        MemberChange(replace=("2", "3")),
    ),
    "without a path": (
        [{"op": "add", "value": {"members": [{"value": "1"}]}}],
        MemberChange(add=("1",)),
    ),
    "without a path, replace": (
        [{"op": "replace", "value": {"displayName": "X", "members": ["1"]}}],
        MemberChange(replace=("1",)),
    ),
}


@pytest.mark.parametrize(("operations", "members"), MEMBERS.values(), ids=MEMBERS.keys())
def test_members_change_apart_from_the_document(
    operations: list[Op], members: MemberChange | None
) -> None:
    patched = patch(*operations, of=GROUP)
    assert patched.members == members
    assert set(patched.document) == {"schemas", "displayName", "externalId"}


def test_okta_renames_a_group_with_its_id_in_the_value() -> None:
    patched = patch({"op": "replace", "value": {"id": "g1", "displayName": "New"}}, of=GROUP)
    assert patched == Patched(
        {"schemas": [GROUP_URN], "externalId": "e1", "displayName": "New"}, None, ()
    )


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (op("replace", 'members[value eq "1"]', {"value": "2"}), Mutability),
        (op("replace", 'members[value eq "1"]', [{"value": "2"}]), Mutability),
        (op("add", 'members[value eq "1"]', "2"), Mutability),
        (op("replace", 'members[value eq "1"].value', "2"), Mutability),
        (op("add", 'members[value eq "1"].display', "x"), Mutability),
        (op("remove", "members.value"), Mutability),
        (op("remove", 'members[type eq "User"]'), InvalidFilter),
        (op("remove", 'members[value ne "1"]'), InvalidFilter),
        (op("remove", 'members[value eq "1" and type eq "User"]'), InvalidFilter),
        (op("remove", "members[value eq null]"), InvalidFilter),
        (op("add", "members"), InvalidValue),
        (op("replace", "members"), InvalidValue),
        (op("add", "members", [{"display": "x"}]), InvalidValue),
        (op("add", "members", [{"value": 7}]), InvalidValue),
        (op("remove", "members", 7), InvalidValue),
        (op("add", 'members[value eq ""]'), InvalidValue),
        (op("remove", "displayName"), Mutability),
        (op("remove", "userName"), InvalidPath),
    ],
    ids=lambda value: f"{value['op']} {value['path']}" if isinstance(value, dict) else None,
)
def test_a_group_patch_that_is_not_understood_is_refused(
    operation: Op, error: type[ScimError]
) -> None:
    with pytest.raises(error):
        patch(operation, of=GROUP)


def test_a_thousand_single_additions_are_one_change() -> None:
    """As authentik sends them."""
    ids = tuple(map(str, range(1_000)))
    operations = [op("add", "members", [{"value": member}]) for member in ids]
    assert patch(*operations, of=GROUP).members == MemberChange(add=ids)


# --- attributes that the core schemas don't have, but extensions may --------------------------

TYPED = ResourceType(
    name="Thing",
    endpoint="/Things",
    description="",
    schema=Schema(
        id="urn:example:Thing",
        name="Thing",
        description="",
        attributes=(
            Attribute(name="serial", mutability="immutable"),
            Attribute(name="tags", multi_valued=True),
        ),
    ),
)
THING = {"schemas": ["urn:example:Thing"], "serial": "1", "tags": ["a", "b"]}

SIMPLE: dict[str, tuple[Op, list[str] | None]] = {
    "add": (op("add", "tags", ["b", "c"]), ["a", "b", "c"]),
    "remove values": (op("remove", "tags", ["a", "x"]), ["b"]),
    "remove by filter": (op("remove", 'tags[value eq "a"]'), ["b"]),
    "replace by filter": (op("replace", 'tags[value eq "a"]', "z"), ["z", "b"]),
    "replace the value by filter": (op("replace", 'tags[value eq "a"].value', "z"), ["z", "b"]),
    "remove the value by filter": (op("remove", 'tags[value eq "a"].value'), ["b"]),
    "replace all": (op("replace", "tags", "z"), ["z"]),
    "remove all": (op("remove", "tags"), None),
}


@pytest.mark.parametrize(("operation", "tags"), SIMPLE.values(), ids=SIMPLE.keys())
def test_simple_values_are_patched(operation: Op, tags: list[str] | None) -> None:
    assert patch(operation, of=TYPED, document=THING).document.get("tags") == tags


def test_an_immutable_attribute_stays() -> None:
    assert patch(op("add", "serial", "1"), of=TYPED, document=THING).document == THING
    for operation in (op("replace", "serial", "2"), op("remove", "serial")):
        with pytest.raises(Mutability, match=r"^serial: "):
            patch(operation, of=TYPED, document=THING)


# --- laws -------------------------------------------------------------------------------------

ODD: list[Any] = [
    "x", "", "True", True, False, None, 1, [], {}, ["x"], HOME, [WORK], "\ud800", [WORK, WORK],
    {"value": "n@m", "primary": True}, {"type": "work"}, {"givenName": "An", "nick": 1}, [None],
    {"active": False, "name.givenName": "An"}, {"members": ["1"], "id": 7}, {"displayName": "X"},
    {ENTERPRISE_URN: {"manager": "8"}}, {"value": "1"}, [{"value": "1"}, {"value": "2"}],
]  # fmt: skip
PATHS = [
    "title", "userName", "active", "name", "name.givenName", "emails", "emails.type", "id", "meta",
    'emails[type eq "work"]', 'emails[type eq "other"].value', "emails[primary eq true].primary",
    "emails[not (type pr)].value", 'roles[primary eq "True"].value', "emails.primary", "password",
    f"{ENTERPRISE_URN}:manager", f"{ENTERPRISE_URN}:manager.value", ENTERPRISE_URN, USER_URN,
    "members", 'members[value eq "1"]', "displayName", "shoeSize", "a.b.c", "emails[", "",
    "schemas", 'manager[value eq "7"]', "emails[value co @]", "externalId", "groups", 7, None,
]  # fmt: skip
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "Add", "replace", "Replace", "remove"])},
    optional={"path": st.sampled_from(PATHS), "value": st.sampled_from(ODD)},
)
TYPES = st.sampled_from([(USER, ANA), (GROUP, TEAM)])


@given(of=TYPES, operations=st.lists(OPERATION, min_size=1, max_size=4))
def test_a_patch_gives_a_document_or_a_scim_error_and_changes_no_input(
    of: tuple[ResourceType, dict[str, Any]], operations: list[Op]
) -> None:
    resource_type, document = of
    before = json.dumps([document, operations])
    body = {"Operations": operations}
    try:
        first = apply_patch(resource_type, document, parse_patch(resource_type, body))
    except ScimError as error:
        error.detail.encode()
        assert json.dumps([document, operations]) == before
        return
    again = apply_patch(resource_type, document, parse_patch(resource_type, body))
    assert first == again
    read = parse_resource(resource_type, first.document)
    assert json.dumps(read.document) == json.dumps(first.document)
    assert read.ignored == ()
    first.document.clear()
    assert json.dumps([document, operations]) == before


@given(
    of=TYPES,
    operations=st.lists(OPERATION, min_size=2, max_size=4),
    cut=st.integers(min_value=1, max_value=3),
)
def test_one_patch_is_its_operations_one_after_the_other(
    of: tuple[ResourceType, dict[str, Any]], operations: list[Op], cut: int
) -> None:
    resource_type, document = of

    def run(held: dict[str, Any], part: list[Op]) -> Patched:
        return apply_patch(resource_type, held, parse_patch(resource_type, {"Operations": part}))

    try:
        first = run(document, operations[:cut])
        rest = operations[cut:]
        second = run(first.document, rest) if rest else Patched(first.document, None, ())
    except ScimError:
        return  # a required attribute may be missing in between, but not in the end
    whole = run(document, operations)
    assert whole.document == second.document
    empty = MemberChange()
    composed = (first.members or empty).then(second.members or empty)
    assert (whole.members or empty) == composed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Operations", "op", "path", "value", "name", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(body=JSON | st.fixed_dictionaries({"Operations": JSON}), text=st.text(max_size=12))
def test_no_json_makes_anything_but_a_scim_error(body: object, text: str) -> None:
    for candidate in (body, {"Operations": [{"op": "add", "path": text, "value": body}]}):
        for resource_type, document in ((USER, ANA), (GROUP, TEAM)):
            try:
                apply_patch(resource_type, document, parse_patch(resource_type, candidate))
            except ScimError as error:
                error.detail.encode()
