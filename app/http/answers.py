"""Responses in SCIM's media type."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from app.errors import ScimError, TooManyRequests, Unauthorized, Unavailable
from app.scim.messages import SCIM_JSON, error_body

_encode = msgspec.json.Encoder().encode


def answer(
    body: dict[str, Any] | None,
    *,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Return a JSON response, or one without a body for None."""
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.Response(
        status=status, headers=headers, body=_encode(body), content_type=SCIM_JSON, charset="utf-8"
    )


def error_answer(error: ScimError) -> web.Response:
    """Return the error in the form of RFC 7644 §3.12, with the headers that belong to it."""
    response = answer(error_body(error), status=error.status)
    if isinstance(error, Unavailable | TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="scim", Basic realm="scim"'
    return response
