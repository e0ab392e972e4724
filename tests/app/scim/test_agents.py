"""Agents and their applications: what the drafts' clients send, and what is made of it."""

from __future__ import annotations

import pytest

from app.errors import InvalidValue
from app.scim.agents import AGENT, AGENT_URN, AGENTIC_APPLICATION, AGENTIC_APPLICATION_URN
from app.scim.attribute import Attribute, ResourceType
from app.scim.filter import equality, parse_filter
from app.scim.schema import GROUP, USER
from app.scim.validate import parse_resource
from app.scim.validity import VALIDITY_URN, valid_until

# draft-abbey-scim-agent-extension-00 §5.1 and §5.2.
AGENT_NAMES = (
    "name displayName active description agentType entitlements roles groups applications subject "
    "x509Certificates protocols parent owners"
)
APPLICATION_NAMES = (
    "name displayName description active applicationUrls lastAccessed oAuthConfiguration agents "
    "externalIdentifiers"
)


@pytest.mark.parametrize(
    ("resource_type", "names"),
    [(AGENT, AGENT_NAMES), (AGENTIC_APPLICATION, APPLICATION_NAMES)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_attribute_of_the_draft_is_there(resource_type: ResourceType, names: str) -> None:
    beside = {"password"} if resource_type is AGENT else set()  # as a user has
    assert {a.name for a in resource_type.schema.attributes} == set(names.split()) | beside


def attributes(resource_type: ResourceType) -> list[Attribute]:
    return [a for s in (resource_type.schema, *resource_type.extensions) for a in s.attributes]


@pytest.mark.parametrize("attribute", [*attributes(AGENT), *attributes(AGENTIC_APPLICATION)])
def test_an_attribute_has_parts_exactly_if_it_is_complex(attribute: Attribute) -> None:
    assert (attribute.type == "complex") == bool(attribute.sub_attributes)
    assert all(sub.type != "complex" for sub in attribute.sub_attributes)
    assert all(a.description for a in (attribute, *attribute.sub_attributes))
    assert (attribute.type == "reference") == bool(attribute.reference_types)


@pytest.mark.parametrize(
    ("resource_type", "name"),
    [
        (USER, "userName"),
        (GROUP, "displayName"),
        (AGENT, "name"),
        (AGENTIC_APPLICATION, "name"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_each_type_has_one_attribute_that_names_its_resources(
    resource_type: ResourceType, name: str
) -> None:
    assert resource_type.naming.name == name
    assert resource_type.naming.required


def test_a_name_is_looked_up_in_an_index() -> None:
    assert equality(parse_filter(AGENT, 'name eq "Helpdesk bot"')) == ("name", "Helpdesk bot")


def test_an_agent_is_kept_as_its_provider_describes_it() -> None:
    body = {
        "schemas": [AGENT_URN],
        "name": "Clippy 2.0",
        "active": True,
        "agentType": "Assistant",
        "subject": "agent|clippy",
        "owners": [{"value": "u1", "display": "Ana"}],
        "protocols": [{"type": "MCP-Server", "specificationUrl": "https://a.example/card"}],
        "parent": {"value": "a1"},
        "groups": [{"value": "g"}],
    }
    kept = parse_resource(AGENT, body).document
    assert kept == {name: value for name, value in body.items() if name != "groups"}


def test_the_other_draft_calls_the_name_agent_user_name() -> None:
    body = {"schemas": [AGENT_URN], "agentUserName": "support-agent", "displayName": "Support"}
    parsed = parse_resource(AGENT, body)
    assert parsed.document["name"] == "support-agent"
    assert parsed.ignored == ()


def test_the_misspelt_url_of_the_drafts_own_table_is_read() -> None:
    body = {"name": "a", "protocols": [{"type": "A2A", "specifiationUrl": "https://a.example"}]}
    kept = parse_resource(AGENT, body).document
    assert kept["protocols"] == [{"type": "A2A", "specificationUrl": "https://a.example"}]


@pytest.mark.parametrize("resource_type", [AGENT, AGENTIC_APPLICATION], ids=lambda t: t.name)
@pytest.mark.parametrize("name", [None, "", " ", "a\nb", 3])
def test_without_a_name_there_is_no_agent(resource_type: ResourceType, name: object) -> None:
    with pytest.raises(InvalidValue, match="name"):
        parse_resource(resource_type, {"name": name})


def test_an_application_keeps_several_urls_to_be_redirected_to() -> None:
    urls = ["https://a.example/1", "https://a.example/2"]
    body = {"name": "app", "oAuthConfiguration": [{"clientId": "c", "redirectUri": urls}]}
    kept = parse_resource(AGENTIC_APPLICATION, body).document
    assert kept["schemas"] == [AGENTIC_APPLICATION_URN]
    assert kept["oAuthConfiguration"] == [{"clientId": "c", "redirectUri": urls}]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T01:01:00+01:00", 60),
        ("1970-01-01T00:01:00", 60),
        ("1970-01-01T00:01:00.999Z", 60),
        ("1900-01-01T00:00:00Z", 0),
        ("2106-02-07T06:28:15Z", 0xFFFF_FFFF),
        ("2200-01-01T00:00:00Z", None),
    ],
)
def test_the_end_of_validity_in_seconds(text: str, seconds: int | None) -> None:
    extension = {VALIDITY_URN: {"validUntil": text}}
    assert valid_until(parse_resource(AGENT, {"name": "a"} | extension).document) == seconds
    assert valid_until(parse_resource(USER, {"userName": "a"} | extension).document) == seconds


def test_without_an_end_validity_does_not_end() -> None:
    assert valid_until(parse_resource(AGENT, {"name": "a"}).document) is None
