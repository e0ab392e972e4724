"""Answers, whole when they are given: head and body leave in one write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import HttpVersion, HttpVersion10, web

from app.errors import ScimError, TooManyRequests, Unauthorized, Unavailable
from app.scim.messages import JSON, SCIM_JSON, error_body

_SCIM: Final = f"{SCIM_JSON}; charset=utf-8"
_JSON: Final = f"{JSON}; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_WITHOUT_LENGTH = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

_encode = msgspec.json.Encoder().encode


class Answer:
    """What aiohttp sends in the place of a `web.Response`, at a fraction of its cost.

    `headers`: each name in the one spelling that it has here. `sent`: is told whether the answer
    went out, once that is known. `closes`: no other request is taken from the connection.
    """

    __slots__ = ("_request", "body", "closes", "headers", "keep_alive", "sent", "status")

    def __init__(
        self,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        sent: Callable[[bool], None] | None = None,
    ) -> None:
        self.status, self.body, self.sent = status, body, sent
        self.headers = {} if headers is None else dict(headers)
        self.closes = False
        self.keep_alive = False
        self._request: web.BaseRequest | None = None

    # --- what aiohttp calls, in this order -----------------------------------------------------

    async def prepare(self, request: web.BaseRequest) -> None:
        self._request = request
        self.keep_alive = not self.closes and request.keep_alive

    async def write_eof(self) -> None:
        """Send it all. Raises ConnectionError if nobody is there any more."""
        request, told = self._request, False
        if request is None:
            raise AssertionError("aiohttp prepares an answer before it sends it")
        headers, version = self.headers, request.version
        headers["Date"] = _date(int(time.time()))
        if self.status not in _WITHOUT_LENGTH:
            headers["Content-Length"] = str(len(self.body))
        if not self.keep_alive:
            headers["Connection"] = "close"
        elif version == HttpVersion10:
            headers["Connection"] = "keep-alive"
        try:
            transport = request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has gone")
            head = _head(_status_line(version, self.status), headers)
            transport.write(head if request.method == "HEAD" else head + self.body)
            await request.writer.drain()
            told = True
        finally:
            if self.sent is not None:
                self.sent(told)


def _head(status_line: str, headers: Mapping[str, str]) -> bytes:
    """Return what stands before a body. Names are ours; a value that could break out of its line
    is never sent.
    """
    if not "".join(headers.values()).isprintable():
        raise ValueError("a header's value holds control characters")
    return "\r\n".join([status_line, *map(": ".join, headers.items()), "\r\n"]).encode()


@lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


@cache  # a version of HTTP is one of a few here: all that is above 1.0 speaks 1.1
def _status_line(version: HttpVersion, status: HTTPStatus) -> str:
    spoken = "1.0" if version == HttpVersion10 else "1.1"
    return f"HTTP/{spoken} {status:d} {status.phrase}"


def answer(
    body: Any | None,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    sent: Callable[[bool], None] | None = None,
) -> Answer:
    """Return an answer in SCIM's media type, or one without a body for None."""
    if body is None:
        return Answer(status, headers, sent=sent)
    made = Answer(status, headers, _encode(body), sent=sent)
    made.headers["Content-Type"] = _SCIM
    return made


def plain_json(body: Any) -> Answer:
    return Answer(headers={"Content-Type": _JSON}, body=_encode(body))


def text(words: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, {"Content-Type": _TEXT}, words.encode())


def error_answer(error: ScimError) -> Answer:
    """Return the error in the form of RFC 7644 §3.12, with the headers that belong to it."""
    made = answer(error_body(error), status=error.status)
    if isinstance(error, Unavailable | TooManyRequests):
        made.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        made.headers["WWW-Authenticate"] = 'Bearer realm="scim", Basic realm="scim"'
    return made
