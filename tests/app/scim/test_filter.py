"""Filters: the grammar of RFC 7644 §3.4.2.2, what they mean, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidFilter, ScimError
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.filter import (
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Present,
    UnknownAttribute,
    ValuePath,
    anchors,
    attributes_of,
    conjunction,
    disjunction,
    equality,
    matches,
    parse_filter,
    render,
)
from app.scim.limits import Limits
from app.scim.paths import resolve
from app.scim.schema import ENTERPRISE_URN, GROUP, USER, USER_URN
from app.scim.text import fold

ANA = {
    "id": "u1",
    "userName": "Ana.Lima@acme.example",
    "externalId": "E1",
    "name": {"familyName": "O'Malley", "givenName": "Ana"},
    "nickName": "",
    "active": True,
    "emails": [
        {"value": "ana@acme.example", "type": "work", "primary": True},
        {"value": "ana@home.example", "type": "home"},
    ],
    ENTERPRISE_URN: {"department": "Größe", "manager": {"value": "u9"}},
    "meta": {"lastModified": "2026-01-31T09:30:00.000Z", "resourceType": "User"},
}

TRUE: dict[str, str] = {
    # the examples of the RFC, figure 2, as far as they are about this user
    "eq": 'name.familyName eq "O\'Malley"',
    "co": 'name.familyName co "O\'Malley"',
    "sw": 'userName sw "A"',
    "sw by URN": f'{USER_URN}:userName sw "A"',
    "pr": "name pr",
    "gt date": 'meta.lastModified gt "2011-05-13T04:42:34Z"',
    "ge date": 'meta.lastModified ge "2026-01-31T09:30:00Z"',
    "lt date": 'meta.lastModified lt "2026-01-31T09:30:01+00:00"',
    "le date in another zone": 'meta.lastModified le "2026-01-31T10:30:00+01:00"',
    "date without a zone is UTC": 'meta.lastModified eq "2026-01-31T09:30:00"',
    "date as text": 'meta.lastModified sw "2026-01"',
    "and": 'active eq true and name.givenName eq "Ana"',
    "or": 'active eq false or name.givenName eq "Ana"',
    "and not": 'userName pr and not (emails co "example.com")',
    "value path": 'emails[type eq "work" and value co "@acme.example"]',
    "value paths": 'emails[type eq "work"] or ims[type eq "xmpp"]',
    # precedence
    "and before or": "active eq true or active eq false and active eq false",
    "parentheses": "not ((active eq true or active eq true) and active eq false)",
    "not binds to its parentheses": "not (active eq false) and active eq true",
    "not without a space": "not(active eq false)",
    # case
    "operators and names in any case": 'USERNAME Eq "ana.lima@acme.example" AND Active PR',
    "text without case": 'userName eq "ANA.LIMA@ACME.EXAMPLE"',
    "text by fold": f'{ENTERPRISE_URN}:department eq "GRÖSSE"',
    "exact text": 'externalId eq "E1"',
    # values
    "multi-valued compares value": 'emails eq "ANA@home.example"',
    "PingOne's email": 'email Co "home.example"',
    "any of the values": 'emails.type eq "home"',
    "ew": 'emails.value ew "HOME.example"',
    "ne": 'userName ne "bob"',
    "ne of what is not there": 'title ne "boss"',
    "ne of any value": 'emails.type ne "work"',
    "eq null": "title eq null",
    "ne null": "userName ne null",
    "eq null of a part": "emails.primary eq null",
    "gt text": 'userName gt "an"',
    "le text": 'userName le "ANA.LIMA@ACME.EXAMPLE"',
    "boolean as text": 'active eq "True"',
    "boolean in any case": "active eq TRUE",
    "not primary": "emails.primary ne false",
    "complex single value": f'{ENTERPRISE_URN}:manager eq "u9"',
    "Entra ID's manager": 'id eq "u1" and manager eq "u9"',
    "Entra ID's value path": 'emails[type eq "work"].value eq "ANA@acme.example"',
    "no quotes": "userName eq ana.lima@acme.example",
    "a number for text": "userName ne 12",
    "true for text": "userName ne true",
    "escapes": r'name.familyName eq "O\u0027Malley"',
    "spaces": '  userName   eq  "ana.lima@acme.example"  ',
    "pr in a value path": "emails[primary pr]",
    "not in a value path": 'emails[not (type eq "home")]',
}

FALSE: dict[str, str] = {
    "eq": 'userName eq "bob"',
    "exact text": 'externalId eq "e1"',
    "exact text, by part": 'externalId sw "e"',
    "one value fulfils the whole value path": 'emails[type eq "home" and value co "acme"]',
    "pr of nothing": "title pr",
    "pr of empty text": "nickName pr",
    "co of nothing": 'title co ""',
    "gt of nothing": 'title gt ""',
    "lt of nothing": 'title lt "z"',
    "eq null": "userName eq null",
    "ne null": "title ne null",
    "value path of nothing": 'ims[type ne "xmpp"]',
    "an extension without values": 'costCenter eq "1"',
    "another date": 'meta.lastModified gt "2026-01-31T09:30:00Z"',
    "boolean": "active ne true",
    "precedence": "(active eq true or active eq true) and active eq false",
}

REFUSED: dict[str, str] = {
    "empty": "",
    "only white space": "  ",
    "no operator": "userName",
    "no value": "userName eq",
    "no value after space": "userName eq ",
    "no such operator": 'userName is "a"',
    "no space": 'userName eq"a"',
    "two tokens": "userName eq Ana Lima",
    "unterminated": 'userName eq "a',
    "bad escape": r'userName eq "\x"',
    "control character": 'userName eq "a\nb"',
    "half a character": r'userName eq "\ud800"',
    "half a character itself": "userName eq \ud800",
    "single quotes are no quotes": "name.familyName eq 'O Malley'",
    "open": '(userName eq "a"',
    "open bracket": 'emails[type eq "a"',
    "closed": 'userName eq "a")',
    "closed bracket": 'userName eq "a"]',
    "nothing in parentheses": "()",
    "nothing in brackets": "emails[]",
    "dangling and": 'userName eq "a" and',
    "double or": "userName pr or or userName pr",
    "not without parentheses": "not userName pr",
    "brackets in brackets": "emails[emails[type pr]]",
    "value path of a part": 'name.givenName[value eq "a"]',
    "a bad name": '1a eq "b"',
    "too many dots": 'a.b.c eq "d"',
    "value path of a part of many": 'emails.value[value eq "a"]',
    "only a dot": 'emails[type pr]. eq "a"',
    "complex without a value": 'name eq "a"',
    "boolean order": "active gt true",
    "boolean text": 'active co "t"',
    "boolean": "active eq yes",
    "boolean as a number": "active eq 1",
    "null order": "userName gt null",
    "binary order": 'x509Certificates.value lt "AA"',
    "no date": 'meta.created gt "yesterday"',
    "unknown attribute": 'shoeSize eq "42"',
    "unknown part": 'name.nick eq "x"',
    "unknown part of values": 'emails[color eq "red"]',
    "unknown schema": 'urn:x:y:userName eq "a"',
    "a pointer": '/userName eq "a"',
}


@pytest.mark.parametrize("text", TRUE.values(), ids=TRUE.keys())
def test_a_filter_matches(text: str) -> None:
    assert matches(parse_filter(USER, text), ANA)


@pytest.mark.parametrize("text", FALSE.values(), ids=FALSE.keys())
def test_a_filter_does_not_match(text: str) -> None:
    assert not matches(parse_filter(USER, text), ANA)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(USER, text)
    caught.value.detail.encode()


@pytest.mark.parametrize(
    ("text", "position"),
    [('userName eq "a" x', 16), ("userName eq", 11), ("active gt true", 10), ("a b c", 2)],
)
def test_an_error_tells_the_position(text: str, position: int) -> None:
    with pytest.raises(InvalidFilter, match=f"at position {position}$"):
        parse_filter(USER, text)


@pytest.mark.parametrize(
    "text", ["shoeSize eq 1 and (", "core:x pr", "x[y eq 1", "x pr y", "a eq 1 or b gt"]
)
def test_a_malformed_filter_is_never_called_unknown(text: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(USER, text)
    assert not isinstance(caught.value, UnknownAttribute)


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "not (" * 1_000, "(" * 33 + "userName pr" + ")" * 33, "a" * 9_000]
)
def test_length_and_depth_are_bounded(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(USER, text)


def test_a_filter_may_be_as_long_as_the_limit() -> None:
    text = 'userName eq "a"'
    parse_filter(USER, text, limits=Limits(max_filter_length=len(text)))
    with pytest.raises(InvalidFilter, match="longer than"):
        parse_filter(USER, text, limits=Limits(max_filter_length=len(text) - 1))


def test_depth_is_allowed_up_to_the_limit_and_width_beyond_it() -> None:
    limits = Limits(max_filter_depth=3)
    parse_filter(USER, "(((userName pr)))", limits=limits)
    with pytest.raises(InvalidFilter, match="deeper than 3"):
        parse_filter(USER, "((((userName pr))))", limits=limits)
    wide = parse_filter(USER, " or ".join(["userName pr"] * 400), limits=limits)
    assert isinstance(wide, Or)
    assert len(wide.filters) == 400


NUMBERS = ResourceType(
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
            Attribute(name="tags", multi_valued=True, case_exact=True),
        ),
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size eq 7", True),
        ("size gt 6.5", True),
        ("ratio lt -0.5e0", False),
        ("ratio ge 5E-1", True),
        ("size le 6", False),
        ("size ne 7", False),
        ("size eq null", False),
        ('tags eq "a"', True),
        ('tags eq "A"', False),
        ('tags[value sw "b"]', True),
        ('tags[value eq "c"]', False),
    ],
)
def test_numbers_and_simple_values_are_compared(text: str, expected: bool) -> None:
    document = {"size": 7, "ratio": 0.5, "tags": ["a", "bc"]}
    assert matches(parse_filter(NUMBERS, text), document) is expected


@pytest.mark.parametrize(
    "text",
    ['size eq "7"', "size eq 07", "size eq x", "size co 1", "size eq 1e999", "size eq 0x1"],
)
def test_a_number_is_compared_with_a_number(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(NUMBERS, text)


def test_a_value_that_has_not_its_attributes_type_counts_as_none() -> None:
    odd: dict[str, Any] = {"size": "7", "meta": {"created": 7}, "tags": [1]}
    assert not matches(parse_filter(NUMBERS, "size eq 7"), odd)
    assert not matches(parse_filter(NUMBERS, 'tags co "1"'), odd)
    assert not matches(parse_filter(NUMBERS, 'meta.created gt "2020-01-01T00:00:00Z"'), odd)


EQUALITIES: dict[str, tuple[ResourceType, str, tuple[str, str] | None]] = {
    "userName": (USER, 'USERNAME Eq "Ana"', ("userName", "Ana")),
    "by URN": (USER, f'{USER_URN}:userName eq "Ana"', ("userName", "Ana")),
    "externalId": (USER, 'externalId eq "E1"', ("externalId", "E1")),
    "id": (GROUP, 'id eq "1"', ("id", "1")),
    "a group's name": (GROUP, 'displayName eq "g"', ("displayName", "g")),
    "no quotes": (GROUP, "displayName eq g", ("displayName", "g")),
    "in parentheses": (USER, '(userName eq "a")', ("userName", "a")),
    "a user's displayName has no index": (USER, 'displayName eq "Ana"', None),
    "another operator": (USER, 'userName sw "a"', None),
    "not": (USER, 'not (userName eq "a")', None),
    "null": (USER, "externalId eq null", None),
    "a part": (USER, 'name.givenName eq "a"', None),
    "more than one": (USER, 'userName eq "a" or userName eq "b"', None),
    "value path": (USER, 'emails[type eq "work"]', None),
}


@pytest.mark.parametrize(
    ("resource_type", "text", "expected"), EQUALITIES.values(), ids=EQUALITIES.keys()
)
def test_one_look_up_is_recognised(
    resource_type: ResourceType, text: str, expected: tuple[str, str] | None
) -> None:
    parsed = parse_filter(resource_type, text)
    assert equality(parsed) == expected
    if expected is not None:
        assert anchors(parsed) == (expected,)


def test_a_conjunction_is_anchored_by_a_look_up_in_it() -> None:
    parsed = parse_filter(USER, 'active eq true and (manager pr and id eq "u1")')
    assert anchors(parsed) == (("id", "u1"),)
    assert equality(parsed) is None
    assert anchors(parse_filter(USER, 'id eq "1" or active eq true')) is None


def test_a_disjunction_of_look_ups_needs_no_scan() -> None:
    parsed = parse_filter(USER, 'userName eq "a" or externalId eq "b" and title pr')
    assert anchors(parsed) == (("userName", "a"), ("externalId", "b"))


def test_a_filter_tells_what_it_reads() -> None:
    parsed = parse_filter(GROUP, 'not (members eq "1") and displayName pr or members[type pr]')
    assert attributes_of(parsed) == {"members", "displayName"}


# --- laws -------------------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["", "a", "A", "ab", "ß", "SS", '"', "\\", "é", "\u2028", "😀", "x y", "null"]
)
STRING_PATHS = [
    "userName",
    "externalId",
    "name.givenName",
    "emails.value",
    "emails.type",
    f"{ENTERPRISE_URN}:department",
    f"{ENTERPRISE_URN}:manager.value",
]
TEXT_OPERATORS = st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"])
DATES = st.sampled_from(
    ["2026-01-31T09:30:00Z", "2026-01-31T10:30:00+01:00", "2027-01-01T00:00:00Z"]
)


def path(text: str) -> Any:
    found = resolve(USER, text)
    assert found is not None
    return found


def in_emails(name: str) -> Any:
    emails = path(f"emails.{name}")
    return type(emails)(None, emails.sub)


STRINGS = st.builds(Comparison, st.sampled_from(STRING_PATHS).map(path), TEXT_OPERATORS, TEXTS)
BOOLEANS = st.builds(
    Comparison,
    st.sampled_from(["active", "emails.primary"]).map(path),
    st.sampled_from(["eq", "ne"]),
    st.none() | st.booleans(),
)
NULLS = st.builds(
    Comparison,
    st.sampled_from(STRING_PATHS).map(path),
    st.sampled_from(["eq", "ne"]),
    st.none(),
)
MOMENTS = st.builds(
    Comparison,
    st.just(path("meta.created")),
    st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"]),
    DATES,
)
PRESENT = st.builds(
    Present, st.sampled_from([*STRING_PATHS, "name", "emails", "active", "meta.created"]).map(path)
)


def combined(leaves: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Not, inner)
            | st.lists(inner, min_size=2, max_size=3).map(lambda f: conjunction(*f))
            | st.lists(inner, min_size=2, max_size=3).map(lambda f: disjunction(*f))
        ),
        max_leaves=6,
    )


ELEMENT_LEAVES: st.SearchStrategy[Filter] = (
    st.builds(
        Comparison,
        st.sampled_from(["value", "type"]).map(in_emails),
        TEXT_OPERATORS,
        TEXTS,
    )
    | st.builds(Comparison, st.just(in_emails("primary")), st.just("eq"), st.booleans())
    | st.builds(Present, st.just(in_emails("primary")))
)
LEAVES: st.SearchStrategy[Filter] = (
    STRINGS
    | BOOLEANS
    | NULLS
    | MOMENTS
    | PRESENT
    | st.builds(ValuePath, st.just(path("emails")), combined(ELEMENT_LEAVES))
)
FILTERS = combined(LEAVES)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "userName": TEXTS,
        "externalId": TEXTS,
        "active": st.booleans(),
        "name": optional(givenName=TEXTS, familyName=TEXTS),
        "emails": st.lists(optional(value=TEXTS, type=TEXTS, primary=st.booleans()), max_size=2),
        "meta": optional(created=DATES),
        ENTERPRISE_URN: st.fixed_dictionaries(
            {}, optional={"department": TEXTS, "manager": optional(value=TEXTS)}
        ),
    },
)


def naive(filter_: Filter, document: Mapping[str, Any]) -> bool:
    """What the RFC says, in the plainest words."""
    if isinstance(filter_, And):
        return not [f for f in filter_.filters if not naive(f, document)]
    if isinstance(filter_, Or):
        return bool([f for f in filter_.filters if naive(f, document)])
    if isinstance(filter_, Not):
        return not naive(filter_.filter, document)
    values = found(filter_.path, document)
    if isinstance(filter_, Present):
        return any(value not in (None, "", {}) for value in values)
    if isinstance(filter_, ValuePath):
        return any(value is not None and naive(filter_.filter, value) for value in values)
    return any(naive_comparison(filter_, value) for value in values)


def found(at: Any, document: Mapping[str, Any]) -> list[Any]:
    container = document if at.schema is None else document.get(at.schema.id, {})
    values = container.get(at.attribute.name)
    values = values if isinstance(values, list) else [values]
    if at.sub is not None:
        values = [(value or {}).get(at.sub.name) for value in values]
    return values or [None]


def naive_comparison(comparison: Comparison, value: Any) -> bool:
    wanted: Any = comparison.value
    if value is None or wanted is None:
        return (comparison.operator == "eq") == (value is wanted) and comparison.operator in (
            "eq",
            "ne",
        )
    leaf = comparison.path.leaf
    if leaf.type == "dateTime":
        value, wanted = datetime.fromisoformat(value), datetime.fromisoformat(wanted)
    elif leaf.type == "string" and not leaf.case_exact:
        value, wanted = fold(value), fold(wanted)
    match comparison.operator:
        case "eq":
            return bool(value == wanted)
        case "ne":
            return bool(value != wanted)
        case "co":
            return wanted in value
        case "sw":
            return bool(value[: len(wanted)] == wanted)
        case "ew":
            return bool(value[len(value) - len(wanted) :] == wanted and len(value) >= len(wanted))
        case "gt":
            return bool(value > wanted)
        case "ge":
            return bool(value >= wanted)
        case "lt":
            return bool(value < wanted)
        case "le":
            return bool(value <= wanted)


@given(filter_=FILTERS)
def test_parsing_what_was_rendered_gives_the_same_filter(filter_: Filter) -> None:
    text = render(filter_)
    assert parse_filter(USER, text) == filter_
    assert parse_filter(USER, text.replace(" and ", "  AND ").replace(" eq ", " EQ ")) == filter_


@given(filter_=FILTERS, document=DOCUMENTS)
def test_matching_is_what_the_rfc_says(filter_: Filter, document: dict[str, Any]) -> None:
    assert matches(filter_, document) == naive(filter_, document)


@given(filter_=FILTERS, document=DOCUMENTS)
def test_anchors_find_every_match(filter_: Filter, document: dict[str, Any]) -> None:
    found_by = anchors(filter_)
    if found_by is not None and matches(filter_, document):
        assert any(
            document.get(name) == value
            or (name != "externalId" and fold(document[name]) == fold(value))
            for name, value in found_by
        )


PIECES = st.sampled_from(
    ["userName", "emails", "[", "]", "(", ")", ".", " ", "eq", "pr", "and", "or", "not", '"', "a",
     '"x"', "true", "1", "\\", "type", "urn:", ":", "é", "\ud800", "null", "shoe", "meta.created"]
)  # fmt: skip


@given(text=st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=20))
def test_no_text_makes_anything_but_invalid_filter(text: str) -> None:
    try:
        parsed = parse_filter(USER, text)
    except InvalidFilter as error:
        error.detail.encode()
    except ScimError as error:  # pragma: no cover
        pytest.fail(repr(error))
    else:
        assert parse_filter(USER, render(parsed)) == parsed
        matches(parsed, ANA)
