"""Reading a request's body: media type, size, JSON."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
from aiohttp import HttpVersion11, web

from app.errors import BodyTooLarge, InvalidSyntax, RequestTimeout, UnsupportedMediaType
from app.scim.messages import JSON, MEDIA_TYPES, SCIM_JSON

ARRIVAL_S = 30.0
_USUAL_TYPES = {None, *MEDIA_TYPES, *(f"{kind}; charset=utf-8" for kind in MEDIA_TYPES)}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode


async def read_body(request: web.BaseRequest, max_bytes: int, limit: str = "the limit") -> bytes:
    """Return the body, `max_bytes` at most; one that says that it is longer is refused unread.

    `limit`: what the client knows the bound as.
    A missing Content-Type counts as JSON's. A packed body is refused: identity providers send
    none, and a small one may unpack to a huge one. Raises BodyTooLarge, UnsupportedMediaType,
    RequestTimeout, InvalidSyntax.
    """
    given = request.headers.get("Content-Type")
    if given not in _USUAL_TYPES and request.content_type not in MEDIA_TYPES:
        raise UnsupportedMediaType(f"Content-Type: send {SCIM_JSON} or {JSON}")
    packing = request.headers.get("Content-Encoding")
    if packing is not None and packing.lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding: send the body as it is")
    if (request.content_length or 0) > max_bytes:
        raise _too_large(limit, max_bytes)
    if request.content.is_eof():  # as nearly always: it came with its head, nothing to wait for
        arrived = request.content.read_nowait()
        if len(arrived) > max_bytes:
            raise _too_large(limit, max_bytes)
        return arrived
    try:
        async with asyncio.timeout(ARRIVAL_S):
            return await _arrived(request, max_bytes, limit)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {ARRIVAL_S:g} s") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidSyntax("the body did not arrive whole, or not as its headers say") from error


async def _arrived(request: web.BaseRequest, max_bytes: int, limit: str) -> bytes:
    """Return the body when it is there; a client that waits to be told so sends it now."""
    waits = request.headers.get("Expect", "").lower() == "100-continue"
    if waits and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(limit, max_bytes)
    return bytes(body)


def _too_large(limit: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit} of {max_bytes} bytes")


def parse_json(body: bytes) -> Any:
    """Return what `body` holds: its strings can be sent on as UTF-8, its numbers are finite.

    Of a name that is given twice the last one counts, as in nearly every parser. Raises
    InvalidSyntax.
    """
    try:
        return _decode(body.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidSyntax(f"the body is not JSON: {error}") from error


def digest(request: web.BaseRequest, body: bytes) -> str:
    """Return what tells a repeated request from a new one."""
    head = f"{request.method} {request.raw_path}\n".encode(errors="surrogateescape")
    return hashlib.sha256(head + body).hexdigest()[:32]
