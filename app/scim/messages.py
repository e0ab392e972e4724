"""The messages of RFC 7644 §8.2 around resources: lists and errors, their URNs and media types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.errors import ScimError

SCIM_JSON: Final = "application/scim+json"
JSON: Final = "application/json"
MEDIA_TYPES: Final = frozenset({SCIM_JSON, JSON})

LIST_RESPONSE: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SEARCH_REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK_REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_RESPONSE: Final = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"


def error_body(error: ScimError) -> dict[str, Any]:
    """Return the body of an error answer; its `status` is a string (RFC 7644 §3.12)."""
    body: dict[str, Any] = {"schemas": [ERROR], "status": str(error.status.value)}
    if error.scim_type is not None:
        body["scimType"] = error.scim_type
    return body | {"detail": error.detail}


def list_response(
    resources: Sequence[dict[str, Any]],
    total: int | None,
    start_index: int | None,
    items_per_page: int,
) -> dict[str, Any]:
    """Return the answer to a query (RFC 7644 §3.4.2); figures are integers, also for no match.

    A page by cursor has no `start_index`, and no `total` where counting would cost more than the
    page (RFC 9865).
    """
    answer: dict[str, Any] = {"schemas": [LIST_RESPONSE]}
    if total is not None:
        answer["totalResults"] = total
    if start_index is not None:
        answer["startIndex"] = start_index
    return answer | {"itemsPerPage": items_per_page, "Resources": list(resources)}
