"""The discovery endpoints (RFC 7644 §4) as RFC 7643 §5 to §8.7 write them down."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.errors import NotFound
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.paths import shown
from app.scim.schema import RESOURCE_TYPES

CONFIG_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
RESOURCE_TYPE_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"

Authentication = Literal["oauthbearertoken", "httpbasic"]

BEARER: Final[tuple[Authentication, ...]] = ("oauthbearertoken",)
AUTHENTICATION: Final[dict[Authentication, dict[str, str]]] = {
    "oauthbearertoken": {
        "type": "oauthbearertoken",
        "name": "OAuth Bearer Token",
        "description": "A token of the tenant in the Authorization header, as Bearer",
        "specUri": "https://www.rfc-editor.org/info/rfc6750",
    },
    "httpbasic": {
        "type": "httpbasic",
        "name": "HTTP Basic",
        "description": "The id and the secret of a key of the tenant, as user name and password",
        "specUri": "https://www.rfc-editor.org/info/rfc7617",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pagination:
    """What RFC 9865 §4 announces: sizes of pages, and how long a cursor is good."""

    default_page: int
    max_page: int
    cursor_seconds: int


def service_provider_config(
    base_url: str,
    *,
    max_results: int,
    sort: bool = False,
    etag: bool = False,
    change_password: bool = False,
    bulk_max_operations: int = 0,
    bulk_max_payload_size: int = 0,
    authentication: Collection[Authentication] = BEARER,
    pagination: Pagination | None = None,
    documentation_uri: str | None = None,
) -> dict[str, Any]:
    """Return what the server can do (RFC 7643 §5); the first way to authenticate is the primary.

    authentik decides by it how to write, so it tells the truth about the server it is called for:
    bulk is supported if it may hold operations.
    """
    config: dict[str, Any] = {"schemas": [CONFIG_URN]}
    if documentation_uri is not None:
        config["documentationUri"] = documentation_uri
    if pagination is not None:
        config["pagination"] = {
            "cursor": True,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": pagination.default_page,
            "maxPageSize": pagination.max_page,
            "cursorTimeout": pagination.cursor_seconds,
        }
    return config | {
        "patch": {"supported": True},
        "bulk": {
            "supported": bulk_max_operations > 0,
            "maxOperations": bulk_max_operations,
            "maxPayloadSize": bulk_max_payload_size,
        },
        "filter": {"supported": True, "maxResults": max_results},
        "changePassword": {"supported": change_password},
        "sort": {"supported": sort},
        "etag": {"supported": etag},
        "authenticationSchemes": [
            {**AUTHENTICATION[scheme], "primary": position == 0}
            for position, scheme in enumerate(authentication)
        ],
        "meta": _meta("ServiceProviderConfig", f"{base_url}/ServiceProviderConfig"),
    }


def resource_types(
    base_url: str, types: Iterable[ResourceType] = tuple(RESOURCE_TYPES.values())
) -> list[dict[str, Any]]:
    """Return all resource types (RFC 7643 §6), to be sent as a list response."""
    return [_resource_type(resource_type, base_url) for resource_type in types]


def resource_type(
    name: str, base_url: str, types: Iterable[ResourceType] = tuple(RESOURCE_TYPES.values())
) -> dict[str, Any]:
    """Return the resource type of that name, in any case, or raise NotFound."""
    for candidate in types:
        if candidate.name.lower() == name.lower():
            return _resource_type(candidate, base_url)
    raise NotFound(f"{shown(name)}: there is no such resource type")


def schemas(
    base_url: str, types: Iterable[ResourceType] = tuple(RESOURCE_TYPES.values())
) -> list[dict[str, Any]]:
    """Return all schemas (RFC 7643 §7), to be sent as a list response."""
    return [_schema(known, base_url) for known in _known(types)]


def schema(
    urn: str, base_url: str, types: Iterable[ResourceType] = tuple(RESOURCE_TYPES.values())
) -> dict[str, Any]:
    """Return the schema of that URN, in any case, or raise NotFound."""
    for known in _known(types):
        if known.id.lower() == urn.lower():
            return _schema(known, base_url)
    raise NotFound(f"{shown(urn)}: there is no such schema")


def _known(types: Iterable[ResourceType]) -> list[Schema]:
    known = {s.id: s for t in types for s in (t.schema, *t.extensions)}
    return list(known.values())


def _meta(kind: str, location: str) -> dict[str, str]:
    return {"resourceType": kind, "location": location}


def _resource_type(of: ResourceType, base_url: str) -> dict[str, Any]:
    return {
        "schemas": [RESOURCE_TYPE_URN],
        "id": of.name,
        "name": of.name,
        "endpoint": of.endpoint,
        "description": of.description,
        "schema": of.schema.id,
        "schemaExtensions": [
            {"schema": extension.id, "required": False}
            for extension in of.extensions
            if extension.announced
        ],
        "meta": _meta("ResourceType", f"{base_url}/ResourceTypes/{of.name}"),
    }


def _schema(of: Schema, base_url: str) -> dict[str, Any]:
    return {
        "schemas": [SCHEMA_URN],
        "id": of.id,
        "name": of.name,
        "description": of.description,
        "attributes": [_attribute(attribute) for attribute in of.attributes],
        "meta": _meta("Schema", f"{base_url}/Schemas/{of.id}"),
    }


def _attribute(of: Attribute) -> dict[str, Any]:
    """Return an attribute as §8.7.1 does: `caseExact` where text is compared, no empty lists."""
    rendered: dict[str, Any] = {
        "name": of.name,
        "type": of.type,
        "multiValued": of.multi_valued,
        "description": of.description,
        "required": of.required,
    }
    if of.canonical_values:
        rendered["canonicalValues"] = list(of.canonical_values)
    if of.type in {"string", "reference", "binary"}:
        rendered["caseExact"] = of.case_exact
    rendered |= {
        "mutability": of.mutability,
        "returned": of.returned,
        "uniqueness": of.uniqueness,
    }
    if of.reference_types:
        rendered["referenceTypes"] = list(of.reference_types)
    if of.sub_attributes:
        rendered["subAttributes"] = [_attribute(sub) for sub in of.sub_attributes]
    return rendered
