"""What an answer shows of a resource."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from app.errors import InvalidValue
from app.scim.attribute import Attribute, Schema
from app.scim.present import EVERYTHING, Selection, parse_selection, present, timestamp
from app.scim.schema import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from app.scim.validate import parse_resource

ANA = parse_resource(
    USER,
    {
        "userName": "ana",
        "externalId": "e1",
        "name": {"givenName": "Ana", "familyName": "Lima"},
        "emails": [{"value": "a@b", "type": "work"}, {"value": "c@d"}, {"type": "home"}],
        ENTERPRISE_URN: {"department": "D", "manager": "7"},
    },
).document
META = {
    "resourceType": "User",
    "created": "2026-01-31T09:30:00.007Z",
    "lastModified": "2026-01-31T09:30:01.000Z",
    "location": "https://x/Users/1",
    "version": 'W/"3"',
}


def shown(attributes: str | None = None, excluded: str | None = None, **extra: Any) -> Any:
    return present(
        USER,
        {**ANA, **extra},
        resource_id="1",
        location="https://x/Users/1",
        version=3,
        created_ms=1_769_851_800_007,
        last_modified_ms=1_769_851_801_000,
        attributes=parse_selection(USER, attributes, excluded),
    )


def test_a_resource_is_its_document_with_id_and_meta() -> None:
    before = copy.deepcopy(ANA)
    assert shown() == {**ANA, "id": "1", "meta": META}
    assert list(shown())[:2] == ["schemas", "id"]
    assert before == ANA


def test_attributes_that_are_kept_elsewhere_come_with_the_document() -> None:
    assert shown(groups=[{"value": "g"}])["groups"] == [{"value": "g"}]
    group = present(
        GROUP,
        {"schemas": [GROUP_URN], "displayName": "g", "members": [{"value": "1"}]},
        resource_id="2",
        location="https://x/Groups/2",
        version=1,
        created_ms=0,
        last_modified_ms=0,
    )
    assert (group["schemas"], group["members"]) == ([GROUP_URN], [{"value": "1"}])
    assert group["meta"]["resourceType"] == "Group"


ALWAYS = {"schemas": [USER_URN], "id": "1"}
FULL = {**ANA, "id": "1", "meta": META}
CORE = {k: v for k, v in FULL.items() if k != ENTERPRISE_URN} | {"schemas": [USER_URN]}
WITH_ENTERPRISE = [USER_URN, ENTERPRISE_URN]

SELECTED: dict[str, tuple[str | None, str | None, dict[str, Any]]] = {
    "one": ("userName", None, {**ALWAYS, "userName": "ana"}),
    "any case, spaces": (
        " USERNAME , externalid",
        None,
        {**ALWAYS, "userName": "ana", "externalId": "e1"},
    ),
    "a part": ("name.givenName", None, {**ALWAYS, "name": {"givenName": "Ana"}}),
    "a part and the whole": ("name.givenName,name", None, {**ALWAYS, "name": ANA["name"]}),
    "the whole and a part": ("name,name.givenName", None, {**ALWAYS, "name": ANA["name"]}),
    "a part of each value": (
        "emails.value",
        None,
        {**ALWAYS, "emails": [{"value": "a@b"}, {"value": "c@d"}]},
    ),
    "a part that nobody has": ("name.middleName", None, ALWAYS),
    "a part of what is not there": ("ims.value", None, ALWAYS),
    "by URN": (f"{USER_URN}:userName", None, {**ALWAYS, "userName": "ana"}),
    "of an extension": (
        f"{ENTERPRISE_URN}:department",
        None,
        {"schemas": WITH_ENTERPRISE, "id": "1", ENTERPRISE_URN: {"department": "D"}},
    ),
    "an extension": (
        ENTERPRISE_URN,
        None,
        {"schemas": WITH_ENTERPRISE, "id": "1", ENTERPRISE_URN: ANA[ENTERPRISE_URN]},
    ),
    "part of meta": ("meta.version", None, {**ALWAYS, "meta": {"version": 'W/"3"'}}),
    "unknown": ("shoeSize,urn:x:y", None, ALWAYS),
    "never": ("password", None, ALWAYS),
    "without one": (None, "meta", {k: v for k, v in FULL.items() if k != "meta"}),
    "without what is always there": (None, "id,schemas", FULL),
    "without a part": (None, "name.familyName", {**FULL, "name": {"givenName": "Ana"}}),
    "without a part of each value": (
        None,
        "emails.type",
        {**FULL, "emails": [{"value": "a@b"}, {"value": "c@d"}]},
    ),
    "without any part": (
        None,
        ",".join(f"name.{sub.name}" for sub in USER.core[4].sub_attributes),
        {k: v for k, v in FULL.items() if k != "name"},
    ),
    "without an extension": (None, ENTERPRISE_URN, CORE),
    "without an unknown one": (None, "shoeSize", FULL),
    "blank is not sent": ("", " , ", FULL),
}


@pytest.mark.parametrize(
    ("attributes", "excluded", "expected"), SELECTED.values(), ids=SELECTED.keys()
)
def test_an_answer_has_what_was_selected(
    attributes: str | None, excluded: str | None, expected: dict[str, Any]
) -> None:
    assert shown(attributes, excluded) == expected


def test_attributes_and_excluded_attributes_exclude_one_another() -> None:
    with pytest.raises(InvalidValue, match=r"^attributes: "):
        parse_selection(USER, "userName", "meta")


def test_what_must_never_be_returned_is_not_even_if_it_were_stored() -> None:
    assert "password" not in shown(password="x")
    assert "password" not in shown("password", password="x")


APPLIED = Schema(
    id="urn:example:Applied",
    name="Applied",
    description="",
    attributes=(
        Attribute(name="seq", type="integer", returned="request"),
        Attribute(
            name="lane",
            type="complex",
            sub_attributes=(
                Attribute(name="target", returned="always"),
                Attribute(name="lag", type="integer", returned="request"),
                Attribute(name="secret", returned="never"),
                Attribute(name="note"),
            ),
        ),
    ),
)
LANE = {"target": "eu", "lag": 3, "secret": "s", "note": "n"}


@pytest.mark.parametrize(
    ("attributes", "excluded", "part"),
    [
        (None, None, {"lane": {"target": "eu", "note": "n"}}),
        ("urn:example:Applied:seq", None, {"seq": 7}),
        ("urn:example:Applied:lane.lag", None, {"lane": {"target": "eu", "lag": 3}}),
        (None, "urn:example:Applied:lane.note", {"lane": {"target": "eu"}}),
        (None, "urn:example:Applied:lane", {}),
    ],
    ids=["default", "requested", "requested part", "excluded part", "excluded"],
)
def test_returned_decides_for_parts_too(
    attributes: str | None, excluded: str | None, part: dict[str, Any]
) -> None:
    resource_type = replace(USER, extensions=(APPLIED,))
    answer = present(
        resource_type,
        {"userName": "ana", APPLIED.id: {"seq": 7, "lane": LANE}},
        resource_id="1",
        location="l",
        version=1,
        created_ms=0,
        last_modified_ms=0,
        attributes=parse_selection(resource_type, attributes, excluded),
    )
    assert answer.get(APPLIED.id, {}) == part
    assert (APPLIED.id in answer["schemas"]) == bool(part)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (EVERYTHING, True),
        (parse_selection(GROUP, None, "members"), False),
        (parse_selection(GROUP, None, "members.display"), True),
        (parse_selection(GROUP, "displayName", None), False),
        (parse_selection(GROUP, "members.value", None), True),
    ],
    ids=["everything", "excluded", "part excluded", "not named", "part named"],
)
def test_a_caller_can_tell_whether_to_load_the_members(selection: Selection, wanted: bool) -> None:
    assert selection.wants("members") == wanted


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_851_800_007, "2026-01-31T09:30:00.007Z"),
        (1_769_851_800_999, "2026-01-31T09:30:00.999Z"),
    ],
)
def test_times_keep_their_milliseconds(ms: int, text: str) -> None:
    assert timestamp(ms) == text
