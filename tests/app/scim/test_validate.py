"""Bodies become documents, or an error that names the attribute."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidSyntax, InvalidValue, Mutability, ScimError, TooMany
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.limits import Limits
from app.scim.members import MemberChange
from app.scim.reading import CONTROL, _way_down, is_deeper
from app.scim.schema import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from app.scim.validate import parse_group, parse_resource, refuse_immutable_changes

OLD_ENTERPRISE = "urn:scim:schemas:extension:enterprise:2.0"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from([a.name for a in USER.core] + [ENTERPRISE_URN, OLD_ENTERPRISE, "MEMBERS"])
SUBS = st.sampled_from(["value", "type", "primary", "Primary", "givenName", "manager", "$ref", "x"])
ODD: list[Any] = ["work", "a@b.example", "", True, False, "True", None, 7, [], {}, "\ud800"]
VALUES = st.sampled_from(ODD)
PARTS = st.dictionaries(SUBS, VALUES, max_size=3)
BODIES = st.dictionaries(NAMES, VALUES | PARTS | st.lists(PARTS | VALUES, max_size=3), max_size=6)


def user(**attributes: Any) -> dict[str, Any]:
    """The document of a user with these attributes, which may have any spelling."""
    return parse_resource(USER, {"userName": "ana", **attributes}).document


CANONICAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "names in any case": (
        {"DISPLAYNAME": "Ana", "Name": {"GIVENNAME": "Ana"}},
        {"displayName": "Ana", "name": {"givenName": "Ana"}},
    ),
    "null, empty array and empty object are not there": (
        {"title": None, "emails": [], "phoneNumbers": [None, {}], "name": {}, "nickName": []},
        {},
    ),
    "null parts are not there": (
        {"emails": [{"value": "a@b", "display": None}]},
        {"emails": [{"value": "a@b"}]},
    ),
    "read-only attributes": ({"id": "1", "meta": {"version": 1}, "groups": [{"value": "g"}]}, {}),
    "booleans as Entra ID sends them": ({"active": "True"}, {"active": True}),
    "false in any case": ({"active": "fALSE"}, {"active": False}),
    "one object for a list": (
        {"emails": {"value": "a@b", "primary": "true"}},
        {"emails": [{"value": "a@b", "primary": True}]},
    ),
    "a scalar for a list of objects": ({"roles": "admin"}, {"roles": [{"value": "admin"}]}),
    "scalars in a list of objects": (
        {"roles": ["a", "b", "a"]},
        {"roles": [{"value": "a"}, {"value": "b"}]},
    ),
    "an empty scalar is no value": ({"roles": ""}, {}),
    "the same value twice is one": (
        {"emails": [{"value": "a@b", "type": "work"}, {"type": "work", "value": "a@b"}]},
        {"emails": [{"value": "a@b", "type": "work"}]},
    ),
    "an alias": ({"email": "a@b"}, {"emails": [{"value": "a@b"}]}),
    "the right name before its alias": (
        {"email": "x", "emails": "y"},
        {"emails": [{"value": "y"}]},
    ),
    "the alias where the right name is null": (
        {"email": "x", "emails": None},
        {"emails": [{"value": "x"}]},
    ),
    "white space in names is kept": ({"externalId": " 1 "}, {"externalId": " 1 "}),
    "empty text is kept": ({"title": ""}, {"title": ""}),
    "base64 with line breaks": (
        {"x509Certificates": "MII\nC+/="},
        {"x509Certificates": [{"value": "MII\nC+/="}]},
    ),
}


@pytest.mark.parametrize(("body", "expected"), CANONICAL.values(), ids=CANONICAL.keys())
def test_a_document_has_canonical_form(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert user(**body) == {"schemas": [USER_URN], "userName": "ana", **expected}


EXTENSIONS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "as it should be": ({ENTERPRISE_URN: {"department": "D"}}, {"department": "D"}),
    "in any case": ({ENTERPRISE_URN.upper(): {"DEPARTMENT": "D"}}, {"department": "D"}),
    "by its old name": (
        {OLD_ENTERPRISE: {"manager": {"managerId": "7", "displayName": "x"}}},
        {"manager": {"value": "7"}},
    ),
    "by both": (
        {
            ENTERPRISE_URN: {"division": "new"},
            OLD_ENTERPRISE: {"division": "old", "department": "D"},
        },
        {"division": "new", "department": "D"},
    ),
    "manager as a bare id": ({ENTERPRISE_URN: {"manager": "7"}}, {"manager": {"value": "7"}}),
    "nothing in it": ({ENTERPRISE_URN: {"manager": "", "department": None}}, None),
    "null": ({ENTERPRISE_URN: None}, None),
    "an empty array": ({ENTERPRISE_URN: []}, None),
}


@pytest.mark.parametrize(("body", "expected"), EXTENSIONS.values(), ids=EXTENSIONS.keys())
def test_schemas_lists_an_extension_exactly_if_it_has_a_value(
    body: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    document = user(schemas=[USER_URN, ENTERPRISE_URN], **body)
    assert document.get(ENTERPRISE_URN) == expected
    assert document["schemas"] == [USER_URN, *([ENTERPRISE_URN] if expected else [])]


@pytest.mark.parametrize(
    "schemas",
    [
        None,
        [],
        "urn:scim:schemas:core:1.0",
        [GROUP_URN],
        ["http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
    ],
    ids=["null", "empty", "a string", "another type's", "Microsoft's"],
)
def test_foreign_schemas_refuse_no_body(schemas: object) -> None:
    assert user(schemas=schemas)["schemas"] == [USER_URN]


UNKNOWN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "at the top": ({"shoeSize": 42}, ("shoeSize",)),
    "in a complex value": ({"name": {"nick": "x"}}, ("name.nick",)),
    "in many values, said once": ({"emails": [{"a": 1}, {"a": 2}]}, ("emails.a",)),
    "in an extension": ({ENTERPRISE_URN: {"zip": "1"}}, (f"{ENTERPRISE_URN}:zip",)),
    "a foreign extension": ({"urn:x:y": {"a": {"b": 1}}}, ("urn:x:y",)),
    "null is nothing": ({"shoeSize": None, "name": {"nick": None}}, ()),
    "read-only is known": ({"id": 7, "groups": "x", "password": "p"}, ()),
}


@pytest.mark.parametrize(("body", "ignored"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_no_schema_knows_is_left_out_and_reported(
    body: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    parsed = parse_resource(USER, {"userName": "ana", **body})
    assert parsed.ignored == ignored
    assert parsed.document == {"schemas": [USER_URN], "userName": "ana"}


def test_a_very_long_unknown_name_is_reported_short() -> None:
    (name,) = parse_resource(USER, {"userName": "ana", "x" * 100_000: 1}).ignored
    assert len(name) < 200


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "userName missing": ({"userName": None}, "userName"),
    "userName empty": ({"userName": ""}, "userName"),
    "userName of white space": ({"userName": " \t\u2003"}, "userName"),
    "userName too long": ({"userName": "x" * 257}, "userName"),
    "userName a number": ({"userName": 7}, "userName"),
    "userName a list": ({"userName": ["ana"]}, "userName"),
    "userName with a line break": ({"userName": "a\nb"}, "userName"),
    "userName with a C1 control": ({"userName": "a\x85b"}, "userName"),
    "externalId empty": ({"externalId": ""}, "externalId"),
    "externalId too long": ({"externalId": "x" * 257}, "externalId"),
    "externalId with NUL": ({"externalId": "\0"}, "externalId"),
    "part of the wrong type": ({"name": {"givenName": 1}}, "name.givenName"),
    "part of a value of the wrong type": ({"emails": [{"value": 1}]}, "emails[0].value"),
    "the second value is wrong": ({"emails": [{"value": "a"}, 7]}, "emails[1]"),
    "part that is a list": ({"emails": [{"value": ["a"]}]}, "emails[0].value"),
    "list in a list": ({"emails": [["a"]]}, "emails[0]"),
    "text for a complex value": ({"name": "Ana"}, "name"),
    "a list for a complex value": ({"name": [{"givenName": "A"}]}, "name"),
    "a word for a boolean": ({"active": "yes"}, "active"),
    "a number for a boolean": ({"active": 1}, "active"),
    "a boolean for text": ({"title": True}, "title"),
    "password of the wrong type": ({"password": 12}, "password"),
    "not base64": ({"x509Certificates": [{"value": "é"}]}, "x509Certificates[0].value"),
    "text too long": ({"title": "x" * 65_537}, "title"),
    "two primaries": (
        {"emails": [{"value": "a", "primary": True}, {"value": "b", "primary": "True"}]},
        "emails",
    ),
    "an extension that is text": ({ENTERPRISE_URN: "x"}, ENTERPRISE_URN),
    "in an extension": (
        {ENTERPRISE_URN: {"manager": {"value": 1}}},
        f"{ENTERPRISE_URN}:manager.value",
    ),
    "schemas of numbers": ({"schemas": [1]}, "schemas[0]"),
    "the same name twice": ({"active": True, "Active": False}, "Active"),
    "the same part twice": ({"name": {"givenName": "a", "givenname": "b"}}, "name.givenname"),
}


@pytest.mark.parametrize(("body", "path"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_value_is_refused_by_its_full_path(body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        user(**body)
    assert caught.value.detail.startswith(f"{path}: ")
    caught.value.detail.encode()


@pytest.mark.parametrize("body", [None, [], "x", 7, True], ids=repr)
def test_a_body_is_an_object(body: object) -> None:
    with pytest.raises(InvalidSyntax):
        parse_resource(USER, body)
    with pytest.raises(InvalidSyntax):
        parse_group(body)


def test_names_may_be_as_long_as_the_limit_in_characters() -> None:
    assert user(userName="😀" * 256)["userName"] == "😀" * 256
    assert user(title="x" * 65_536)["title"]
    assert parse_group({"displayName": "g", "members": ["x" * 256]})[1]
    with pytest.raises(InvalidValue, match="userName: longer than 3 characters"):
        parse_resource(USER, {"userName": "abcd"}, limits=Limits(max_name_length=3))


def test_a_users_display_name_is_no_name_to_look_up() -> None:
    assert user(displayName="x" * 300)["displayName"] == "x" * 300
    with pytest.raises(InvalidValue, match=r"^displayName: "):
        parse_group({"displayName": "x" * 300})


def test_the_control_characters_are_those_of_unicode() -> None:
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        assert (unicodedata.category(character) == "Cc") == bool(CONTROL.match(character)), point
        if point > 0x3000:
            break


@pytest.mark.parametrize(
    ("sent", "secret"),
    [({"password": "S3cret"}, "S3cret"), ({"PASSWORD": ""}, ""), ({"password": None}, None)],
    ids=["one", "an empty one", "null"],
)
def test_a_password_comes_apart_from_the_document(sent: dict[str, Any], secret: str | None) -> None:
    assert parse_resource(USER, {"userName": "ana"} | sent).secret == secret
    assert parse_resource(USER, {"userName": "ana"}).secret is None


def test_a_password_is_never_in_the_document_nor_in_an_error() -> None:
    parsed = parse_resource(USER, {"userName": "ana", "password": "S3cret"})
    assert "S3cret" not in repr(parsed)
    with pytest.raises(InvalidValue) as caught:
        parse_resource(USER, {"userName": "ana", "password": ["S3cret"]})
    assert "S3cret" not in str(caught.value)


@pytest.mark.parametrize("nest", [lambda v: [v], lambda v: {"a": v}], ids=["lists", "objects"])
@pytest.mark.parametrize("place", ["emails", "unknown", "groups"])
def test_nesting_is_bounded_wherever_it_is(place: str, nest: Callable[[object], object]) -> None:
    value: object = "x"
    for _ in range(5_000):
        value = nest(value)
    with pytest.raises(InvalidValue, match="nested too deeply"):
        user(**{place: value})


ANYTHING = st.dictionaries(st.text(max_size=3) | VALUES.filter(lambda v: isinstance(v, str)), JSON)


@given(body=ANYTHING | BODIES, depth=st.integers(1, 6))
def test_what_is_too_deep_can_be_named(body: dict[str, Any], depth: int) -> None:
    assert is_deeper(body, depth) is (len(_way_down(body, depth)) == depth)


def test_the_number_of_values_is_bounded() -> None:
    assert len(user(emails=[{"value": str(n)} for n in range(500)])["emails"]) == 500
    with pytest.raises(TooMany, match=r"^emails: "):
        user(emails=[{"value": str(n)} for n in range(501)])


def test_a_group_has_its_members_apart() -> None:
    parsed, members = parse_group(
        {
            "displayName": "Analysts",
            "Members": [
                {"value": "1", "display": None, "$ref": None},
                {"VALUE": "2", "type": "User"},
                "3",
                None,
                {"value": "1"},
            ],
        }
    )
    assert parsed.document == {"schemas": [GROUP_URN], "displayName": "Analysts"}
    assert parsed.ignored == ()
    assert members == MemberChange(replace=("1", "2", "3"))


@pytest.mark.parametrize(
    ("body", "members"),
    [
        ({}, None),
        ({"members": None}, MemberChange(replace=())),
        ({"members": []}, MemberChange(replace=())),
        ({"members": {"value": "1"}}, MemberChange(replace=("1",))),
        ({"members": "1"}, MemberChange(replace=("1",))),
    ],
    ids=["absent", "null", "empty", "one object", "one id"],
)
def test_absent_members_are_not_the_same_as_none(
    body: dict[str, Any], members: MemberChange | None
) -> None:
    assert parse_group({"displayName": "g", **body})[1] == members


@pytest.mark.parametrize(
    "member",
    [{}, {"value": None}, {"value": 1}, {"value": ""}, "a\nb", 7, ["1"], {"value": "x" * 257}],
    ids=repr,
)
def test_a_member_without_a_usable_id_is_refused_by_its_place(member: object) -> None:
    with pytest.raises(InvalidValue, match=r"^members\[1\]\.value: "):
        parse_group({"displayName": "g", "members": ["ok", member]})


def test_the_number_of_members_is_bounded() -> None:
    parse_group({"displayName": "g", "members": ["1"]}, limits=Limits(max_members=1))
    with pytest.raises(TooMany, match=r"^members: "):
        parse_group({"displayName": "g", "members": ["1", "2"]}, limits=Limits(max_members=1))


def test_a_group_needs_a_name() -> None:
    with pytest.raises(InvalidValue, match=r"^displayName: is required"):
        parse_group({"members": []})


TYPED = ResourceType(
    name="Thing",
    endpoint="/Things",
    description="",
    schema=Schema(
        id="urn:example:Thing",
        name="Thing",
        description="",
        attributes=(
            Attribute(name="size", type="integer"),
            Attribute(name="ratio", type="decimal"),
            Attribute(name="until", type="dateTime"),
            Attribute(name="serial", mutability="immutable"),
            Attribute(name="tags", multi_valued=True),
            Attribute(
                name="links",
                type="complex",
                multi_valued=True,
                sub_attributes=(
                    Attribute(name="value", mutability="readOnly"),
                    Attribute(name="hosts", multi_valued=True),
                ),
            ),
        ),
    ),
)


def test_attributes_of_every_type_can_be_declared() -> None:
    """Types and shapes that the core schemas don't use, extensions may."""
    body = {
        "size": 7,
        "ratio": 0.5,
        "until": "2026-01-31T09:30:00.5+01:00",
        "tags": ["a", "b", "a"],
        "links": [{"hosts": ["x", "x"]}, {"hosts": "x"}, "read-only"],
    }
    assert parse_resource(TYPED, body).document == {
        "schemas": ["urn:example:Thing"],
        "size": 7,
        "ratio": 0.5,
        "until": "2026-01-31T09:30:00.5+01:00",
        "tags": ["a", "b"],
        "links": [{"hosts": ["x"]}],
    }


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"size": 1.5}, "size"),
        ({"size": True}, "size"),
        ({"ratio": "1"}, "ratio"),
        ({"until": "tomorrow"}, "until"),
        ({"until": "2026-02-30T00:00:00Z"}, "until"),
        ({"until": "2026-01-31"}, "until"),
        ({"until": 7}, "until"),
        ({"tags": [{"value": "a"}]}, "tags[0]"),
    ],
    ids=str,
)
def test_a_value_has_its_attributes_type(body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_resource(TYPED, body)
    assert caught.value.detail.startswith(f"{path}: ")


def test_an_immutable_attribute_can_be_set_once() -> None:
    refuse_immutable_changes(TYPED, {}, {"serial": "1"})
    refuse_immutable_changes(TYPED, {"serial": "1"}, {"serial": "1", "size": 2})
    for after in ({"serial": "2"}, {}):
        with pytest.raises(Mutability, match=r"^serial: "):
            refuse_immutable_changes(TYPED, {"serial": "1"}, after)


@given(body=BODIES)
def test_a_document_read_again_is_itself(body: dict[str, Any]) -> None:
    before = json.dumps(body)
    try:
        document = parse_resource(USER, {**body, "userName": "ana"}).document
    except ScimError:
        return
    finally:
        assert json.dumps(body) == before
    again = parse_resource(USER, document)
    assert json.dumps(again.document) == json.dumps(document)  # also in its order
    assert again.ignored == ()


@given(body=JSON | BODIES | st.fixed_dictionaries({"userName": st.just("a"), "name": JSON}))
def test_no_json_makes_anything_but_a_scim_error(body: object) -> None:
    for read in (
        lambda: parse_resource(USER, body),
        lambda: parse_resource(GROUP, body),
        lambda: parse_group(body),
    ):
        try:
            read()
        except ScimError as error:
            error.detail.encode()
