"""What a report on quirks counts: each departure from the RFC that a body holds, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from app.scim.agents import AGENT, AGENT_URN
from app.scim.attribute import ResourceType
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


def test_each_quirk_tells_how_it_is_read() -> None:
    assert set(READ_AS) == set(Quirk)
    assert all(READ_AS.values())
