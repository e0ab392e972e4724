"""What a report on quirks counts: each departure from the RFC that a body holds, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from app.scim.agents import AGENT, AGENT_URN
from app.scim.attribute import ResourceType
from app.scim.filter import parse_filter
from app.scim.messages import PATCH_OP
from app.scim.patch import apply_patch, parse_patch
from app.scim.quirks import READ_AS, Quirk
from app.scim.schema import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from app.scim.validate import parse_group, parse_resource

MICROSOFT = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
OLD = "urn:scim:schemas:core:1.0"


def user(**more: Any) -> dict[str, Any]:
    return {"schemas": [USER_URN], "userName": "ana", **more}


CASES: dict[str, tuple[ResourceType, dict[str, Any], set[Quirk]]] = {
    "by the RFC": (USER, user(active=True, emails=[{"value": "a@b.c", "primary": True}]), set()),
    "null": (USER, user(title=None, emails=None), set()),
    "other case": (USER, {"SCHEMAS": [USER_URN.upper()], "username": "ana"}, set()),
    "read-only": (USER, user(id="1", groups=[], meta={"version": "x"}), set()),
    "text for a boolean": (USER, user(active="False"), {Quirk.BOOLEAN_AS_TEXT}),
    "text for a boolean in a list": (
        USER,
        user(roles=[{"value": "r", "primary": "True"}]),
        {Quirk.BOOLEAN_AS_TEXT},
    ),
    "one address": (USER, user(emails={"value": "a@b.c"}), {Quirk.VALUE_WITHOUT_LIST}),
    "bare roles": (USER, user(roles=["admin"]), {Quirk.BARE_VALUE}),
    "bare manager": (USER, user(**{ENTERPRISE_URN: {"manager": "1"}}), {Quirk.BARE_VALUE}),
    "no schemas": (USER, {"userName": "ana"}, {Quirk.SCHEMAS_MISSING}),
    "empty schemas": (USER, {"schemas": [], "userName": "ana"}, {Quirk.SCHEMAS_MISSING}),
    "an old schema": (USER, {"schemas": [OLD], "userName": "ana"}, {Quirk.OLD_SCHEMA}),
    "an old extension": (
        USER,
        user(**{"urn:scim:schemas:extension:enterprise:1.0": {"department": "R"}}),
        {Quirk.OLD_SCHEMA},
    ),
    "a foreign schema": (
        GROUP,
        {"schemas": [GROUP_URN, MICROSOFT], "displayName": "g"},
        {Quirk.FOREIGN_SCHEMA},
    ),
    "SCIM 1.1's manager": (
        USER,
        user(**{ENTERPRISE_URN: {"manager": {"managerId": "1"}}}),
        {Quirk.OTHER_NAME},
    ),
    "the other draft's name": (
        AGENT,
        {"schemas": [AGENT_URN], "agentUserName": "bot"},
        {Quirk.OTHER_NAME},
    ),
    "unknown": (USER, user(shoeSize=44), {Quirk.UNKNOWN_ATTRIBUTE}),
    "unknown in an object": (USER, user(name={"nick": "x"}), {Quirk.UNKNOWN_ATTRIBUTE}),
    "several": (
        USER,
        {"userName": "ana", "active": "true", "shoeSize": 44},
        {Quirk.SCHEMAS_MISSING, Quirk.BOOLEAN_AS_TEXT, Quirk.UNKNOWN_ATTRIBUTE},
    ),
}


@pytest.mark.parametrize(("of", "body", "quirks"), CASES.values(), ids=CASES.keys())
def test_a_body_has_the_quirks(of: ResourceType, body: dict[str, Any], quirks: set[Quirk]) -> None:
    assert parse_resource(of, body).quirks == quirks


def test_one_member_without_a_list_is_a_quirk() -> None:
    body = {"schemas": [GROUP_URN], "displayName": "g", "members": {"value": "1"}}
    parsed, members = parse_group(body)
    assert parsed.quirks == {Quirk.VALUE_WITHOUT_LIST}
    assert members is not None
    assert members.replace == ("1",)


def op(kind: str, path: str | None = None, value: object = None) -> dict[str, Any]:
    return {"op": kind, "value": value} | ({} if path is None else {"path": path})


PATCHES: dict[str, tuple[ResourceType, list[dict[str, Any]], set[Quirk]]] = {
    "by the RFC": (
        USER,
        [
            op("replace", "active", True),
            op("add", "emails", {"value": "b@b.c"}),
            op("replace", f"{ENTERPRISE_URN}:department", "Ops"),
            op("replace", 'emails[type eq "work"].value', "c@b.c"),
            op("add", None, {"title": "T", ENTERPRISE_URN: {"division": "V"}}),
        ],
        set(),
    ),
    "capitals": (USER, [op("Replace", "title", "T")], {Quirk.OP_IN_CAPITALS}),
    "text for a boolean": (USER, [op("replace", "active", "False")], {Quirk.BOOLEAN_AS_TEXT}),
    "dotted key": (USER, [op("replace", None, {"name.givenName": "B"})], {Quirk.PATH_AS_KEY}),
    "URN key": (
        USER,
        [op("replace", None, {f"{ENTERPRISE_URN}:department": "O"})],
        {Quirk.PATH_AS_KEY},
    ),
    "id along": (
        GROUP,
        [op("replace", None, {"id": "1", "displayName": "h"})],
        {Quirk.READ_ONLY_IN_PATCH},
    ),
    "members by value": (
        GROUP,
        [op("remove", "members", [{"value": "1"}])],
        {Quirk.REMOVE_BY_VALUE},
    ),
    "all members": (GROUP, [op("remove", "members")], set()),
    "a member by filter": (GROUP, [op("remove", 'members[value eq "1"]')], set()),
    "emails by value": (USER, [op("remove", "emails", [{"value": "x"}])], {Quirk.REMOVE_BY_VALUE}),
    "a member added by filter": (
        GROUP,
        [op("add", 'members[value eq "1"]')],
        {Quirk.ADD_BY_FILTER},
    ),
    "created by filter": (
        USER,
        [op("replace", 'emails[type eq "home"].value', "h@h")],
        {Quirk.CREATED_BY_FILTER},
    ),
    "a wrapped boolean": (
        USER,
        [op("replace", "active", [{"$ref": None, "value": False}])],
        {Quirk.WRAPPED_VALUE},
    ),
    "a manager in a list": (
        USER,
        [op("add", f"{ENTERPRISE_URN}:manager", [{"$ref": "http://x/Users/1", "value": "1"}])],
        {Quirk.WRAPPED_VALUE},
    ),
    "bare manager": (USER, [op("add", f"{ENTERPRISE_URN}:manager", "1")], {Quirk.BARE_VALUE}),
    "a manager without its URN": (
        USER,
        [op("remove", 'manager[value eq "1"]')],
        {Quirk.EXTENSION_WITHOUT_URN},
    ),
    "a primary as text": (
        USER,
        [op("replace", 'emails[primary eq "True"].display', "A")],
        {Quirk.QUOTED_BOOLEAN},
    ),
    "unknown beside a deactivation": (
        USER,
        [op("replace", "shoeSize", "1"), op("replace", "active", False)],
        {Quirk.UNKNOWN_PATH_LEFT_OUT},
    ),
    "unknown without a path": (
        USER,
        [op("replace", None, {"shoeSize": 1, "title": "T"})],
        {Quirk.UNKNOWN_ATTRIBUTE},
    ),
    "unknown in a value": (
        USER,
        [op("replace", "name", {"nick": "x", "givenName": "B"})],
        {Quirk.UNKNOWN_ATTRIBUTE},
    ),
}


@pytest.mark.parametrize(("of", "operations", "quirks"), PATCHES.values(), ids=PATCHES.keys())
def test_a_patch_has_the_quirks(
    of: ResourceType, operations: list[dict[str, Any]], quirks: set[Quirk]
) -> None:
    names = {"userName": "ana", "displayName": "g"}
    emails = [{"value": "a@b.c", "type": "work", "primary": True}]
    document = parse_resource(of, names | {"emails": emails}).document
    found: set[Quirk] = set()
    body = {"schemas": [PATCH_OP], "Operations": operations}
    after = apply_patch(of, document, parse_patch(of, body, quirks=found))
    assert found | after.quirks == quirks


def test_a_patch_without_schemas_has_a_quirk() -> None:
    found: set[Quirk] = set()
    parse_patch(USER, {"Operations": [op("replace", "title", "T")]}, quirks=found)
    assert found == {Quirk.SCHEMAS_MISSING}


FILTERS: dict[str, tuple[str, set[Quirk]]] = {
    "by the grammar": ('userName Eq "ana" and emails[type eq "work" and primary eq true]', set()),
    "a number and a time": ('meta.created gt "2026-01-01T00:00:00Z" and title eq null', set()),
    "without quotes": ("userName eq ana", {Quirk.VALUE_WITHOUT_QUOTES}),
    "quoted boolean": ('active eq "True"', {Quirk.QUOTED_BOOLEAN}),
    "after brackets": ('emails[type eq "work"].value eq "a"', {Quirk.COMPARED_AFTER_BRACKETS}),
    "no URN": ('manager eq "1"', {Quirk.EXTENSION_WITHOUT_URN}),
    "with its URN": (f'{ENTERPRISE_URN}:manager eq "1"', set()),
    "other name": ('email eq "a@b.c"', {Quirk.OTHER_NAME}),
}


@pytest.mark.parametrize(("text", "quirks"), FILTERS.values(), ids=FILTERS.keys())
def test_a_filter_has_the_quirks(text: str, quirks: set[Quirk]) -> None:
    found: set[Quirk] = set()
    parse_filter(USER, text, quirks=found)
    assert found == quirks


@pytest.mark.parametrize(
    ("operations", "secret"),
    [
        ([op("replace", "password", "S3cret")], "S3cret"),
        ([op("replace", None, {"password": "S3cret"})], "S3cret"),
        ([op("replace", "password", "old"), op("add", "password", "S3cret")], "S3cret"),
        ([op("replace", "password", "S3cret"), op("remove", "password")], ""),
        ([op("replace", "password", None)], ""),
        ([op("add", "password", None)], None),
        ([op("replace", "title", "T")], None),
    ],
)
def test_a_patched_password_comes_apart(operations: list[dict[str, Any]], secret: str) -> None:
    document = parse_resource(USER, {"userName": "ana"}).document
    parsed = parse_patch(USER, {"schemas": [PATCH_OP], "Operations": operations})
    after = apply_patch(USER, document, parsed)
    assert after.secret == secret
    assert "S3cret" not in repr(parsed) + repr(after)


def test_each_quirk_tells_how_it_is_read() -> None:
    assert set(READ_AS) == set(Quirk)
    assert all(READ_AS.values())
