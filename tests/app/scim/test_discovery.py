"""What the server says of itself, in the forms of RFC 7643 §5 to §8.7."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import NotFound
from app.scim.agents import AGENT, AGENTIC_APPLICATION
from app.scim.discovery import (
    resource_type,
    resource_types,
    schema,
    schemas,
    service_provider_config,
)
from app.scim.schema import ENTERPRISE_URN, GROUP_URN, USER_URN
from app.scim.validity import VALIDITY_URN

BASE = "https://scim.example/scim/acme/v2"


def test_the_configuration_says_what_is_supported_and_nothing_else() -> None:
    config = service_provider_config(BASE, max_results=200)
    assert config["schemas"] == ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"]
    assert config["patch"] == {"supported": True}
    assert config["bulk"] == {"supported": False, "maxOperations": 0, "maxPayloadSize": 0}
    assert config["filter"] == {"supported": True, "maxResults": 200}
    for name in ("changePassword", "sort", "etag"):
        assert config[name] == {"supported": False}
    assert config["meta"] == {
        "resourceType": "ServiceProviderConfig",
        "location": f"{BASE}/ServiceProviderConfig",
    }
    assert "documentationUri" not in config


def test_the_configuration_follows_the_server_it_is_called_for() -> None:
    config = service_provider_config(
        BASE,
        max_results=50,
        sort=True,
        etag=True,
        change_password=True,
        bulk_max_operations=100,
        bulk_max_payload_size=1_000_000,
        authentication=("oauthbearertoken", "httpbasic"),
        documentation_uri="https://docs.example",
    )
    assert config["bulk"] == {
        "supported": True,
        "maxOperations": 100,
        "maxPayloadSize": 1_000_000,
    }
    assert all(config[name]["supported"] for name in ("changePassword", "sort", "etag"))
    assert config["documentationUri"] == "https://docs.example"
    schemes = config["authenticationSchemes"]
    assert [(s["type"], s["primary"]) for s in schemes] == [
        ("oauthbearertoken", True),
        ("httpbasic", False),
    ]
    assert all(s["name"] and s["description"] and s["specUri"] for s in schemes)


def test_the_user_type_is_that_of_the_rfc() -> None:
    """RFC 7643 §8.6, with the enterprise extension optional."""
    assert resource_type("user", BASE) == {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "description": "User Account",
        "schema": USER_URN,
        "schemaExtensions": [
            {"schema": ENTERPRISE_URN, "required": False},
        ],
        "meta": {"location": f"{BASE}/ResourceTypes/User", "resourceType": "ResourceType"},
    }


def test_lists_hold_what_can_be_asked_for_by_name() -> None:
    types, known = resource_types(BASE), schemas(BASE)
    assert [t["id"] for t in types] == ["User", "Group", "Agent", "AgenticApplication"]
    assert [s["id"] for s in known] == [
        USER_URN,
        ENTERPRISE_URN,
        VALIDITY_URN,
        GROUP_URN,
        AGENT.schema.id,
        AGENTIC_APPLICATION.schema.id,
    ]
    assert types == [resource_type(t["name"], BASE) for t in types]
    assert known == [schema(s["id"].upper(), BASE) for s in known]
    for described in (*types, *known):
        assert described["meta"]["location"].startswith(BASE)
        assert described["meta"]["location"].endswith(described["id"])


@pytest.mark.parametrize("look_up", [resource_type, schema], ids=["type", "schema"])
def test_what_does_not_exist_is_not_found(look_up: Any) -> None:
    with pytest.raises(NotFound, match="Unicorn"):
        look_up("Unicorn", BASE)


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {a["name"]: a for a in of.get("attributes", of.get("subAttributes", []))}


def test_the_user_schema_reads_as_in_the_rfc() -> None:
    """RFC 7643 §8.7.1, for one attribute of each kind."""
    user = attributes(schema(USER_URN, BASE))
    assert {k: v for k, v in user["userName"].items() if k != "description"} == {
        "name": "userName",
        "type": "string",
        "multiValued": False,
        "required": True,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "server",
    }
    emails = user["emails"]
    assert (emails["type"], emails["multiValued"]) == ("complex", True)
    assert "caseExact" not in emails
    assert attributes(emails)["type"]["canonicalValues"] == ["work", "home", "other"]
    assert "caseExact" not in user["active"]
    assert user["profileUrl"]["referenceTypes"] == ["external"]
    assert user["password"]["returned"] == "never"
    assert set(attributes(emails)) == {"value", "display", "type", "primary"}


def test_common_attributes_are_in_no_schema() -> None:
    """RFC 7643 §3.1: id, externalId and meta belong to every resource."""
    for described in schemas(BASE):
        assert not {"id", "externalId", "meta", "schemas"} & set(attributes(described))


def test_our_own_marks_on_attributes_stay_inside() -> None:
    for attribute in schema(GROUP_URN, BASE)["attributes"]:
        assert not {"indexed", "separate", "aliases", "key"} & set(attribute)
