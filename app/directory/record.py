"""How a resource lies in Redis: a header line for the scripts, then the SCIM document."""

from __future__ import annotations

from typing import Any

import msgspec


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A resource as the identity provider last left it.

    `version` grows with every change (meta.version); `document_version` only with changes of the
    document, not of a group's members: writes of the document compare and swap on it.
    Times are milliseconds since 1970 of Redis's clock.
    """

    id: str
    document: dict[str, Any]
    version: int
    document_version: int
    created_ms: int
    modified_ms: int


class _Header(msgspec.Struct):
    v: int
    d: int
    c: int
    m: int


_decode_header = msgspec.json.Decoder(_Header).decode
_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder(order="deterministic").encode


def parse_stored(resource_id: str, raw: bytes) -> Stored:
    head, _, body = raw.partition(b"\n")
    header = _decode_header(head)
    return Stored(
        id=resource_id,
        document=_decode(body),
        version=header.v,
        document_version=header.d,
        created_ms=header.c,
        modified_ms=header.m,
    )
