"""From a request to its answer: id, caller, errors in SCIM's form, line in the log."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from http import HTTPStatus

import structlog
from aiohttp import web

from app.config.settings import Settings
from app.errors import (
    DirectoryUnavailable,
    Forbidden,
    InvalidSyntax,
    MethodNotAllowed,
    NotFound,
    ScimError,
    ServerError,
    Unavailable,
)
from app.http.address import client_address, is_proxy, user_agent
from app.http.answers import Answer, error_answer
from app.http.exchange import Exchange
from app.http.receiver import Caller, Receiver
from app.http.routes import OPEN, Route, find_route

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_READS = frozenset({"GET", "HEAD"})
_TOLD_BY_BODY = frozenset({"PATCH", "PUT"})
_NOWHERE: tuple[str, ...] = ()
_REFUSED, _NOT_FOUND = HTTPStatus.BAD_REQUEST.value, HTTPStatus.NOT_FOUND.value
_METHODS = _READS | {"POST", "PUT", "PATCH", "DELETE"}  # a label has few values, a client many

log = structlog.get_logger()


class Dispatch:
    """One request: `respond` answers it, whatever it is and whatever happens."""

    __slots__ = ("_caller", "_id", "_reads", "_receiver", "_request", "_route", "_trace")

    def __init__(self, receiver: Receiver, request: web.BaseRequest, trace: str = "") -> None:
        """`trace`: as in `Origin`."""
        given = request.headers.get("X-Request-Id")
        # 24 digits: 32 would be taken for a hash by what scrubs reports to Sentry.
        self._id = given if given and _SANE_ID.fullmatch(given) else os.urandom(12).hex()
        self._receiver, self._request = receiver, request
        self._route = route = find_route(request.rel_url.raw_path)
        self._reads = request.method in _READS or (route is not None and route.is_search)
        self._caller: Caller | None = None
        self._trace = trace

    @property
    def asked(self) -> tuple[str, str]:
        """The tenant and the endpoint; "" and "-" unless somebody has been let in."""
        if self._caller is None or self._route is None:
            return "", "-"
        return self._caller.tenant.name, self._route.endpoint or "-"

    async def respond(self) -> Answer:
        """Return the answer, counted, timed, and with a line in the log."""
        clock = self._receiver.clock
        started = clock.monotonic()
        answer = await self._answer()
        answer.headers["X-Request-Id"] = self._id
        self._note(answer, clock.monotonic() - started)
        return answer

    async def _answer(self) -> Answer:
        """Turn every error into RFC 7644 §3.12's form; one that we did not foresee is a 500."""
        try:
            if self._route is None:
                return await self._open()
            self._caller = await self._let_in(self._route)
            return await self._admitted(self._caller, self._route)
        except ScimError as error:
            return error_answer(error)
        except DirectoryUnavailable as error:
            log.warning("directory.unavailable", error=str(error), request_id=self._id)
            return error_answer(Unavailable("the directory is not available, try again"))
        except Exception:
            tenant = self._caller.tenant.name if self._caller else ""
            log.exception("request.failed", tenant=tenant, request_id=self._id)
            return error_answer(ServerError("internal error; the log has it under the request id"))

    async def _open(self) -> Answer:
        """Answer what anybody may ask."""
        request = self._request
        probe = OPEN.get(request.path)
        if probe is None:
            raise NotFound("no such endpoint or resource")
        if request.method not in _READS:
            return _not_allowed(request.method, _READS)
        return await probe(self._receiver)

    async def _let_in(self, route: Route) -> Caller:
        """Return who asks, before anything else is looked at.

        Raises Unauthorized, the same where there is no such tenant as where the token is wrong;
        Forbidden where it is right and not for this.
        """
        receiver, request, headers = self._receiver, self._request, self._request.headers
        tenants, settings = receiver.tenants, receiver.settings
        address = client_address(
            request.remote,
            headers.getall("X-Forwarded-For", _NOWHERE),
            settings.receiver.trusted_proxies,
        )
        token = await receiver.authenticator.check(
            tenants, route.tenant, headers.get("Authorization"), address
        )
        if not _is_utf8(request.raw_path):
            raise InvalidSyntax("the URL is not UTF-8")
        if tenants[route.tenant].link not in receiver.admitted:
            raise Unavailable("the directory has not been found durable yet, try again")
        if not _covers(token.scopes, route, reads=self._reads):
            raise Forbidden("this token's scopes do not cover the request")
        return Caller(
            tenant=tenants[route.tenant],
            token=token,
            request_id=self._id,
            settings=settings,
            base_url=f"{_root(request, settings)}/scim/{route.tenant}/v2",
            address=address,
            agent=user_agent(headers.get("User-Agent")),
            trace=self._trace,
        )

    async def _admitted(self, caller: Caller, route: Route) -> Answer:
        """Answer, if there is room for it; of a PATCH or PUT its body tells that (`resources`)."""
        receiver, method, tenant = self._receiver, self._request.method, caller.tenant.name
        pressure, settings = receiver.pressure, caller.settings
        with pressure.entered(tenant, settings.limits):
            if method not in _TOLD_BY_BODY:
                revoking = method == "DELETE"
                await pressure.admit(tenant, settings, revoking=revoking, reads=self._reads)
            handler = route.handlers.get(method)
            if handler is not None:
                exchange = Exchange(receiver, self._request, caller, route.endpoint, route.id)
                return await handler(exchange)
            if route.handlers:
                return _not_allowed(method, route.handlers)
            raise NotFound("no such endpoint or resource")

    def _note(self, answer: Answer, duration_s: float) -> None:
        """Count the answer, and write one line about it."""
        receiver, caller, status = self._receiver, self._caller, answer.status
        tenant, endpoint = self.asked
        method = self._request.method if self._request.method in _METHODS else "other"
        metrics, label = receiver.metrics, ""
        if caller is not None:
            label = metrics.tenant(tenant)
            gone = method == "DELETE" and status == _NOT_FOUND  # as wanted
            refused = status >= _REFUSED and not gone
            receiver.activity.note(tenant, write=not self._reads, refused=refused)
        metrics.note_request(label, method, endpoint, status, duration_s)
        receiver.log_answer(
            {
                "tenant": tenant,
                "method": method,
                "resource": endpoint,
                "status": status,
                "request_id": self._id,
                "seq": answer.headers.get("X-Event-Seq"),
                "token": None if caller is None else caller.token.id,
                "duration_s": round(duration_s, 4),
            }
        )


def _not_allowed(method: str, allowed: Collection[str]) -> Answer:
    answer = error_answer(MethodNotAllowed(f"{method} is not allowed here"))
    answer.headers["Allow"] = ",".join(sorted(allowed))
    return answer


def _is_utf8(url: str) -> bool:
    """Whether the parser found text: it reads other bytes as half surrogates."""
    if url.isascii():
        return True
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _covers(scopes: Collection[str], route: Route, *, reads: bool) -> bool:
    """Whether a token with these scopes may ask this."""
    if route.is_ops:
        return "ops" in scopes
    return "scim" in scopes or ("read" in scopes and reads)


def _root(request: web.BaseRequest, settings: Settings) -> str:
    """Return what stands before the path: as configured, else as the client called it."""
    at = settings.receiver
    return at.public_url or f"{_scheme(request, settings)}://{_host(request, settings)}"


def _scheme(request: web.BaseRequest, settings: Settings) -> str:
    """Return what the client spoke: a proxy that ends TLS tells, if it is one of ours."""
    proxies = settings.receiver.trusted_proxies
    if not proxies or not is_proxy(request.remote, proxies):
        return request.scheme
    told = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    return told if told in {"http", "https"} else request.scheme


def _host(request: web.BaseRequest, settings: Settings) -> str:
    """Return the host that the client named; aiohttp would else ask a name server, and wait."""
    named = request.headers.get("Host", "")
    return named if _HOST.fullmatch(named) else settings.receiver.host
