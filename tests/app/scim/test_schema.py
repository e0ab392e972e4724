"""The schemas as data: complete by RFC 7643 §4, looked up without regard to case."""

from __future__ import annotations

import pytest

from app.scim.attribute import Attribute, ResourceType
from app.scim.schema import ENTERPRISE, GROUP, RESOURCE_TYPES, USER

# RFC 7643 §4.1.1, §4.1.2, §4.2, §4.3, in their order.
USER_NAMES = (
    "userName name displayName nickName profileUrl title userType preferredLanguage locale "
    "timezone active password emails phoneNumbers ims photos addresses groups entitlements roles "
    "x509Certificates"
)
ENTERPRISE_NAMES = "employeeNumber costCenter organization division department manager"

TYPES = list(RESOURCE_TYPES.values())
ATTRIBUTES = [a for t in TYPES for s in (t.schema, *t.extensions) for a in s.attributes]


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        (USER.schema.attributes, USER_NAMES),
        (ENTERPRISE.attributes, ENTERPRISE_NAMES),
        (GROUP.schema.attributes, "displayName members"),
    ],
    ids=["User", "EnterpriseUser", "Group"],
)
def test_every_core_attribute_of_the_rfc_is_there(
    attributes: tuple[Attribute, ...], names: str
) -> None:
    assert [a.name for a in attributes] == names.split()


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda a: a.name)
def test_an_attribute_has_parts_exactly_if_it_is_complex(attribute: Attribute) -> None:
    assert (attribute.type == "complex") == bool(attribute.sub_attributes)
    assert all(sub.type != "complex" for sub in attribute.sub_attributes)
    assert all(a.description for a in (attribute, *attribute.sub_attributes))
    assert (attribute.type == "reference") == bool(attribute.reference_types)


@pytest.mark.parametrize("resource_type", TYPES, ids=lambda t: t.name)
def test_names_are_found_in_any_case(resource_type: ResourceType) -> None:
    for attribute in resource_type.core:
        assert resource_type.attribute(attribute.name.swapcase()) is attribute
        for sub in attribute.sub_attributes:
            assert attribute.sub(sub.name.upper()) is sub
    for schema in (resource_type.schema, *resource_type.extensions):
        assert resource_type.known_schema(schema.id.upper()) is schema
    assert resource_type.attribute("nothing") is None
    assert resource_type.known_schema("urn:nothing") is None


def named(resource_type: ResourceType, name: str) -> Attribute:
    attribute = resource_type.attribute(name)
    assert attribute is not None
    return attribute


def test_what_the_rfc_says_of_the_attributes_that_access_depends_on() -> None:
    user_name, password = named(USER, "userName"), named(USER, "password")
    group_name = named(GROUP, "displayName")
    assert (user_name.required, user_name.uniqueness, user_name.case_exact) == (
        True,
        "server",
        False,
    )
    assert (group_name.required, group_name.uniqueness) == (True, "server")
    assert named(USER, "externalId").case_exact
    assert (password.mutability, password.returned) == ("writeOnly", "never")
    assert named(USER, "groups").mutability == "readOnly"


def test_values_can_be_compared_and_hashed() -> None:
    assert Attribute(name="a") == Attribute(name="a") != Attribute(name="b")
    assert len({USER, GROUP, USER}) == 2
