"""What is no HTTP request at all is refused in SCIM's form too (RFC 7644 §3.12).

aiohttp answers what its parser refuses by itself, in plain text that repeats the line it refused.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.errors import InvalidSyntax, ScimError, ServerError
from app.http.answers import error_answer
from app.http.receiver import SENT


class _Handler(web.RequestHandler):
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
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, and tell whoever waits for that (`SENT`)."""
        told = request.get(SENT)
        if told is None:
            return await super().finish_response(request, resp, start_time)
        lost = True
        try:
            resp, lost = await super().finish_response(request, resp, start_time)
        finally:
            told(not lost)
        return resp, lost


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application with the handler above."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            loop=made._loop,  # noqa: SLF001 - nothing public tells
            **made._kwargs,  # noqa: SLF001
        )
