"""The reader of bodies that fit their schema says of them what `validate` says, or nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidSyntax, InvalidValue, ScimError
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.fitting import Fitting
from app.scim.limits import Limits
from app.scim.schema import ENTERPRISE_URN, GROUP, USER, USER_URN
from app.scim.validate import Parsed, parse_resource
from app.scim.validity import VALIDITY

BADGE = Schema(
    id="urn:acme:Badge",
    name="Badge",
    description="",
    attributes=(
        Attribute(name="number", type="integer", required=True),
        Attribute(name="colours", multi_valued=True),
        Attribute(name="shape"),
    ),
)
SITE = Schema(
    id="urn:acme:Site",
    name="Site",
    description="",
    attributes=(Attribute(name="code", required=True), Attribute(name="floor")),
)
WORKER = USER.extended(BADGE, SITE)
LIMITS = Limits(max_name_length=8, max_attribute_length=400, max_values=3, max_document_depth=5)

TYPICAL: dict[str, Any] = {
    "schemas": [USER_URN, ENTERPRISE_URN],
    "userName": "ana",
    "name": {"givenName": "Ana", "familyName": "Ruiz"},
    "emails": [{"primary": True, "value": "ana@acme.example", "type": "work"}],
    "active": True,
    "groups": [],
    "password": "S3cret",
    ENTERPRISE_URN: {"department": "Analytics", "manager": {"value": "7"}},
}


def said(type_: ResourceType, text: bytes) -> Parsed | type[ScimError]:
    """Return what `validate` says of a body, or the class of its refusal."""
    try:
        body = msgspec.json.decode(text)
    except ValueError:
        return InvalidSyntax
    try:
        return parse_resource(type_, body, limits=LIMITS)
    except ScimError as error:
        return type(error)


def test_what_providers_send_fits() -> None:
    fit = Fitting(USER).read(msgspec.json.encode(TYPICAL), Limits())
    assert fit is not None
    parsed, beside = fit
    assert parsed == parse_resource(USER, TYPICAL)
    assert (parsed.secret, beside) == ("S3cret", {"groups": []})
    assert msgspec.json.encode(parsed.document).startswith(b'{"schemas":')
    assert "S3cret" not in repr(parsed)


def test_members_of_a_group_come_as_they_were_sent() -> None:
    body = {"displayName": "g", "members": [{"value": "1"}, "2"]}
    fit = Fitting(GROUP).read(msgspec.json.encode(body), Limits())
    assert fit is not None
    assert fit[1] == {"members": [{"value": "1"}, "2"]}


OTHERS: dict[str, dict[str, Any]] = {
    "another case": {"username": "ana"},
    "an alias": {"userName": "ana", "email": [{"value": "a@b.c"}]},
    "text for a truth": {"userName": "ana", "active": "True"},
    "null": {"userName": "ana", "title": None},
    "an empty list": {"userName": "ana", "emails": []},
    "an empty object": {"userName": "ana", "name": {}},
    "an object without a value in a list": {"userName": "ana", "emails": [{}]},
    "an unknown attribute": {"userName": "ana", "x": 1},
    "an unknown part": {"userName": "ana", "name": {"x": 1}},
    "a bare value": {"userName": "ana", ENTERPRISE_URN: {"manager": "7"}},
    "no name": {"title": "x"},
    "base64": {"userName": "ana", "x509Certificates": [{"value": "AAAA"}]},
    "a time": {"userName": "ana", VALIDITY.id: {"validUntil": "2030-01-01T00:00:00Z"}},
    "another schema": {"userName": "ana", "schemas": ["urn:x"]},
    "no schemas": {"userName": "ana", "schemas": []},
    "two primaries": {"userName": "a", "emails": [{"value": v, "primary": True} for v in "xy"]},
    "a number that is needed": {"userName": "ana", "urn:acme:Badge": {"number": 1}},
    "without the number that is needed": {"userName": "ana", "urn:acme:Badge": {"shape": "x"}},
    "without the text that is needed": {"userName": "ana", "urn:acme:Site": {"floor": "x"}},
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS.keys())
def test_what_does_not_fit_is_left_to_others(body: dict[str, Any]) -> None:
    assert Fitting(WORKER).read(msgspec.json.encode(body), Limits()) is None


@pytest.mark.parametrize("name", ["", " ", "a\n", "x" * 257])
def test_a_name_that_misleads_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"^userName: "):
        Fitting(USER).read(msgspec.json.encode({"userName": name}), Limits())


def test_nesting_length_and_the_number_of_values_are_bounded() -> None:
    many = {"userName": "ana", "emails": [{"value": str(n)} for n in range(4)]}
    assert Fitting(USER).read(msgspec.json.encode(many), LIMITS) is None
    fitting = Fitting(GROUP)
    for deep in ([[[[[1]]]]], [{"value": "x" * 400}]):
        body = msgspec.json.encode({"displayName": "g", "members": deep})
        assert fitting.read(body, LIMITS) is None


TEXTS = st.sampled_from(["", " ", "a", "Ana", "x" * 9, "é", "true", "a\n"])
VALUES = TEXTS | st.booleans() | st.none() | st.integers(0, 3)
EMAIL = st.dictionaries(st.sampled_from(["value", "type", "primary", "display", "x"]), VALUES)
PARTS = st.dictionaries(st.sampled_from(["givenName", "familyName", "GivenName"]), VALUES)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "schemas": st.lists(st.sampled_from([USER_URN, ENTERPRISE_URN, "urn:x", 1])),
        "userName": TEXTS,
        "externalId": VALUES,
        "title": VALUES,
        "active": VALUES,
        "password": VALUES,
        "name": PARTS | VALUES,
        "emails": st.lists(EMAIL, max_size=4) | EMAIL | VALUES,
        "groups": st.lists(st.lists(st.lists(st.just({})), max_size=1), max_size=1) | VALUES,
        "x": VALUES,
        ENTERPRISE_URN: st.dictionaries(st.sampled_from(["department", "manager", "y"]), VALUES),
        "urn:acme:Badge": st.dictionaries(st.sampled_from(["number", "colours", "shape"]), VALUES),
        "urn:acme:Site": st.dictionaries(st.sampled_from(["code", "floor"]), VALUES),
    },
)
FITTING = Fitting(WORKER)


@given(body=BODIES)
def test_it_says_what_validate_says_or_nothing(body: dict[str, Any]) -> None:
    text = msgspec.json.encode(body)
    expected = said(WORKER, text)
    try:
        fit = FITTING.read(text, LIMITS)
    except InvalidValue:
        assert expected is InvalidValue
        return
    if fit is not None:
        assert fit[0] == expected
        assert isinstance(expected, Parsed)
        assert msgspec.json.encode(fit[0].document) == msgspec.json.encode(expected.document)


@given(text=st.binary(max_size=40))
def test_no_bytes_make_it_fail(text: bytes) -> None:
    fit = FITTING.read(text, LIMITS)
    assert fit is None or fit[0] == said(WORKER, text)
