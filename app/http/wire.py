"""HTTP as aiohttp speaks it, below its applications: those cost more than all of SCIM does.

What is no HTTP request at all is refused in SCIM's form too (RFC 7644 §3.12). aiohttp answers what
its parser refuses by itself, in plain text that repeats the line it refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from app.errors import InvalidSyntax, ScimError, ServerError
from app.http.answers import Answer, error_answer

Respond = Callable[[web.BaseRequest], Awaitable[Answer]]


class _Handler(web.RequestHandler):
    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on, if reading was stopped. aiohttp says so after each body, however short, and would
        ask its parser and the transport each time.
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the error; aiohttp logs it, and raises where an answer has begun."""
        super().handle_error(request, status, exc, message)
        error: ScimError = (
            ServerError("internal error")
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR
            else InvalidSyntax("the request is no well-formed HTTP, or a line of it is too long")
        )
        answer = error_answer(error)
        answer.closes = True
        return cast(web.StreamResponse, answer)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.BaseRunner):
    """Has `respond` answer every request while `parts` are open."""

    def __init__(
        self, respond: Respond, parts: AbstractAsyncContextManager[None], **options: Any
    ) -> None:
        """`options`: those of aiohttp's servers."""
        super().__init__(**options)
        self._respond, self._parts = respond, parts

    async def shutdown(self) -> None:
        """Nothing more has to be told that it ends."""

    async def _make_server(self) -> web.Server:
        await self._parts.__aenter__()
        return _Server(cast(Any, self._respond), **self._kwargs)

    async def _cleanup_server(self) -> None:
        await self._parts.__aexit__(None, None, None)
