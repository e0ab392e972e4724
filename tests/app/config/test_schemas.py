"""Extension schemas of a tenant: from the file to everything that reads schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.config.load import load
from app.config.rolemap import digest
from app.config.tenant import Tenant
from app.errors import ConfigError, InvalidValue, Mutability
from app.scim.applied import APPLIED_URN
from app.scim.attribute import ResourceType
from app.scim.discovery import schema as described
from app.scim.filter import matches, parse_filter
from app.scim.patch import apply_patch, parse_patch
from app.scim.present import parse_selection, present
from app.scim.schema import RESOURCE_TYPES
from app.scim.validate import parse_resource

URN = "urn:acme:scim:schemas:2.0:Badge"
MINIMAL = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""
BADGE = f"""
[tenants.acme.schemas."{URN}"]
name = "Badge"
[[tenants.acme.schemas."{URN}".attributes]]
name = "number"
type = "integer"
required = true
mutability = "immutable"
[[tenants.acme.schemas."{URN}".attributes]]
name = "color"
canonical_values = ["red", "blue"]
[[tenants.acme.schemas."{URN}".attributes]]
name = "pin"
returned = "never"
case_exact = true
[[tenants.acme.schemas."{URN}".attributes]]
name = "doors"
type = "complex"
multi_valued = true
sub_attributes = [
    {{ name = "value", case_exact = true }},
    {{ name = "$ref", type = "reference", reference_types = ["external"] }},
    {{ name = "primary", type = "boolean" }},
]
"""


def tenant(tmp_path: Path, text: str = BADGE) -> Tenant:
    path = tmp_path / "clickhouse-scim.toml"
    path.write_text(MINIMAL + text)
    return load(path, {}).tenants["acme"]


@pytest.fixture
def user(tmp_path: Path) -> ResourceType:
    return tenant(tmp_path).resource_types["User"]


def test_without_schemas_a_tenant_has_what_everybody_has_and_the_applied_state() -> None:
    types = Tenant(targets=("main",)).resource_types
    assert list(types) == list(RESOURCE_TYPES)
    for name, base in RESOURCE_TYPES.items():
        own = [s.id for s in types[name].extensions if s not in base.extensions]
        assert own == ([] if name == "AgenticApplication" else [APPLIED_URN])


def test_a_declared_schema_is_described_to_clients(user: ResourceType) -> None:
    shown = described(URN, "https://x", [user])
    number, color, pin, doors = shown["attributes"]
    assert (shown["id"], shown["name"]) == (URN, "Badge")
    assert (number["type"], number["required"], number["mutability"]) == (
        "integer",
        True,
        "immutable",
    )
    assert (color["caseExact"], color["canonicalValues"]) == (False, ["red", "blue"])
    assert (pin["caseExact"], pin["returned"]) == (True, "never")
    assert [sub["name"] for sub in doors["subAttributes"]] == ["value", "$ref", "primary"]
    assert doors["subAttributes"][1]["caseExact"]


def body(**badge: Any) -> dict[str, Any]:
    return {"userName": "ana", URN: badge}


def test_a_declared_attribute_is_kept_like_any_other(user: ResourceType) -> None:
    parsed = parse_resource(user, body(NUMBER=7, color="Red", doors=[{"value": "a"}], x=1))
    assert parsed.document[URN] == {"number": 7, "color": "Red", "doors": [{"value": "a"}]}
    assert URN in parsed.document["schemas"]
    assert parsed.ignored == (f"{URN}:x",)


def test_nobody_else_knows_it() -> None:
    other = Tenant(targets=("main",)).resource_types["User"]
    assert parse_resource(other, body(number=7)).ignored == (URN,)


@pytest.mark.parametrize(
    ("badge", "path"),
    [({"color": "red"}, "number: is required"), ({"number": "7"}, "number: must be a whole")],
)
def test_what_does_not_fit_is_refused(user: ResourceType, badge: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue, match=path):
        parse_resource(user, body(**badge))


def test_what_is_required_of_an_extension_is_not_required_of_a_user(user: ResourceType) -> None:
    assert URN not in parse_resource(user, {"userName": "ana"}).document


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{URN}:number gt 6", True),
        (f'{URN}:color eq "RED"', True),
        (f'{URN}:pin eq "AB"', False),
        (f'{URN}:doors[value eq "a" and primary eq true]', True),
        (f'{URN}:doors.value eq "A"', False),
    ],
)
def test_it_is_filtered_by(user: ResourceType, text: str, found: bool) -> None:
    badge = {"number": 7, "color": "red", "pin": "ab", "doors": [{"value": "a", "primary": True}]}
    document = parse_resource(user, body(**badge)).document
    assert matches(parse_filter(user, text), document) is found


def test_it_is_patched_and_immutable_where_it_says_so(user: ResourceType) -> None:
    before = parse_resource(user, body(number=7)).document

    def patched(path: str, value: object) -> dict[str, Any]:
        operations = [{"op": "replace", "path": f"{URN}:{path}", "value": value}]
        return apply_patch(user, before, parse_patch(user, {"Operations": operations})).document

    assert patched("color", "blue")[URN] == {"number": 7, "color": "blue"}
    with pytest.raises(Mutability):
        patched("number", 8)


def test_what_is_never_returned_is_kept_and_not_shown(user: ResourceType) -> None:
    document = parse_resource(user, body(number=7, pin="ab")).document
    times = {"created_ms": 0, "last_modified_ms": 0}
    for names in (None, f"{URN}:pin,{URN}:number"):
        selection = parse_selection(user, names, None)
        shown = present(
            user, document, resource_id="1", location="l", version=1, attributes=selection, **times
        )
        assert shown[URN] == {"number": 7}
    assert document[URN]["pin"] == "ab"


def test_declared_schemas_change_nobodys_access(tmp_path: Path) -> None:
    assert digest(tenant(tmp_path)) == digest(tenant(tmp_path, ""))


def declared(
    urn: str = URN, rest: str = "", attributes: str = 'attributes = [{ name = "a" }]'
) -> str:
    return f'[tenants.acme.schemas."{urn}"]\nname = "Badge"\n{rest}\n{attributes}'


def of(attribute: str) -> str:
    return declared(attributes=f"attributes = [{{ {attribute} }}]")


HERE = f"tenants.acme.schemas.{URN}"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
MISTAKES = {
    "no URN": (declared("Badge"), "is no URN"),
    "a known one": (declared(ENTERPRISE), "is a schema that is known"),
    "two that differ in case": (declared() + "\n" + declared(URN.upper()), "URNs ignore case"),
    "no name": (f'[tenants.acme.schemas."{URN}"]\nattributes = [{{ name = "a" }}]', ".name: is mi"),
    "no attributes": (declared(attributes=""), ".attributes: is missing"),
    "an empty list": (declared(attributes="attributes = []"), "must have at least one entry"),
    "an unknown resource": (declared(rest='resource = "Role"'), "must be one of 'User', 'Group'"),
    "an unknown key": (of('name = "a", multivalued = true'), "did you mean multi_valued?"),
    "an unknown type": (of('name = "a", type = "text"'), ".attributes[0].type: must be one of"),
    "no name of an attribute": (of('name = "a b"'), ".attributes[0].name: is no name"),
    "a name twice": (
        declared(attributes='attributes = [{ name = "a" }, { name = "A" }]'),
        ".attributes: has A twice",
    ),
    "complex without parts": (of('name = "a", type = "complex"'), "[0].sub_attributes: is missing"),
    "parts of a text": (
        of('name = "a", sub_attributes = [{ name = "b" }]'),
        '[0].sub_attributes: belongs to type = "complex"',
    ),
    "parts of parts": (
        of('name = "a", type = "complex", sub_attributes = [{ name = "b", type = "complex" }]'),
        "[0].sub_attributes[0].type: must be one of",
    ),
    "a part twice": (
        of('name = "a", type = "complex", sub_attributes = [{ name = "b" }, { name = "B" }]'),
        "[0].sub_attributes: has B twice",
    ),
    "write-only": (of('name = "a", mutability = "writeOnly"'), "[0].mutability: must be one of"),
    "uniqueness": (of('name = "a", uniqueness = "server"'), "[0].uniqueness: is no known key"),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_plain_words(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        tenant(tmp_path, text)
    told = [str(problem) for problem in error.value.problems]
    assert len(told) == 1, told
    assert line in told[0]
    assert told[0].startswith("tenants.acme.schemas")
