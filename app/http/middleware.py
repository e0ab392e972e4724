"""Around every request: its id, its caller, its errors in SCIM's form, its line in the log."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Collection
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
from app.http.answers import error_answer
from app.http.receiver import CALLER, RECEIVER, REQUEST_ID, Caller, Receiver

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_UTF8 = re.compile(r"[^\ud800-\udfff]*")  # aiohttp reads other bytes as half surrogates
_SEARCH = "/.search"  # a POST that only reads (RFC 7644 §3.4.3)
_READS = frozenset({"GET", "HEAD"})
_METHODS = _READS | {"POST", "PUT", "PATCH", "DELETE"}  # a label has few values, a client many

log = structlog.get_logger()


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request, time it, count it, log one line about it."""
    receiver = request.app[RECEIVER]
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _SANE_ID.fullmatch(given) else str(uuid.uuid4())
    request[REQUEST_ID] = request_id
    started = receiver.clock.monotonic()
    response = await handler(request)
    duration_s = receiver.clock.monotonic() - started
    response.headers["X-Request-Id"] = request_id
    caller = request.get(CALLER)
    tenant = caller.tenant.name if caller else ""
    resource = request.match_info.get("endpoint", "-") if caller else "-"
    method = request.method if request.method in _METHODS else "other"
    receiver.metrics.requests.labels(method, resource, response.status).inc()
    if caller:
        _count_of(receiver, request, caller, response.status)
    receiver.metrics.request_seconds.labels(method, resource).observe(duration_s)
    log.info(
        "request.answered",
        tenant=tenant,
        method=method,
        resource=resource,
        status=response.status,
        request_id=request_id,
        seq=response.headers.get("X-Event-Seq"),
        token=caller.token.id if caller else None,
        duration_s=round(duration_s, 4),
    )
    return response


def _count_of(receiver: Receiver, request: web.Request, caller: Caller, status: int) -> None:
    """Count a request to its tenant, and note that the tenant's provider is there."""
    tenant = caller.tenant.name
    refused = status >= HTTPStatus.BAD_REQUEST
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    result = "failed" if failed else "refused" if refused else "ok"
    metrics = receiver.metrics
    metrics.tenant_requests.labels(metrics.tenant(tenant), result).inc()
    gone = request.method == "DELETE" and status == HTTPStatus.NOT_FOUND  # as wanted
    receiver.activity.note(tenant, write=not _reads(request), refused=refused and not gone)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into RFC 7644 §3.12's form; one that we did not foresee is a 500."""
    try:
        return await handler(request)
    except ScimError as error:
        return error_answer(error)
    except DirectoryUnavailable as error:
        log.warning("directory.unavailable", error=str(error), request_id=request[REQUEST_ID])
        return error_answer(Unavailable("the directory is not available, try again"))
    except web.HTTPMethodNotAllowed as error:
        answer = error_answer(MethodNotAllowed(f"{request.method} is not allowed here"))
        answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except web.HTTPException:
        return error_answer(NotFound("no such endpoint or resource"))
    except Exception:
        caller = request.get(CALLER)
        log.exception(
            "request.failed",
            tenant=caller.tenant.name if caller else "",
            request_id=request[REQUEST_ID],
        )
        return error_answer(ServerError("internal error; the log has it under the request id"))


def _reads(request: web.Request) -> bool:
    return request.method in _READS or request.path.rstrip("/").endswith(_SEARCH)


def _covers(scopes: Collection[str], request: web.Request) -> bool:
    """Whether a token with these scopes may ask this."""
    if request.path.startswith("/ops/"):
        return "ops" in scopes
    return "scim" in scopes or ("read" in scopes and _reads(request))


def _root(request: web.Request, settings: Settings) -> str:
    """Return what stands before the path: as configured, else as the client called it."""
    return settings.receiver.public_url or f"{_scheme(request, settings)}://{_host(request)}"


def _scheme(request: web.Request, settings: Settings) -> str:
    """Return what the client spoke: a proxy that ends TLS tells, if it is one of ours."""
    told = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    is_ours = is_proxy(request.remote, settings.receiver.trusted_proxies)
    return told if is_ours and told in {"http", "https"} else request.scheme


def _host(request: web.Request) -> str:
    """Return the host that the client named; aiohttp would else ask a name server, and wait."""
    named = request.headers.get("Host", "")
    return named if _HOST.fullmatch(named) else request.app[RECEIVER].settings.receiver.host


def _address(request: web.Request) -> str:
    proxies = request.app[RECEIVER].settings.receiver.trusted_proxies
    forwarded = request.headers.getall("X-Forwarded-For", [])
    return client_address(request.remote, forwarded, proxies)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Admit the caller of anything below /scim and /ops before anything else is looked at."""
    if not request.path.startswith(("/scim/", "/ops/")):
        return await handler(request)
    receiver = request.app[RECEIVER]
    # No route: any answer is fine, but the same as for a tenant that there is not.
    name = request.match_info.get("tenant") or request.path.split("/", 3)[2]
    tenants, settings = receiver.tenants, receiver.settings
    address = _address(request)
    authorization = request.headers.get("Authorization")
    token = await receiver.authenticator.check(tenants, name, authorization, address)
    if not _UTF8.fullmatch(str(request.rel_url)):
        raise InvalidSyntax("the URL is not UTF-8")
    if not receiver.durable:
        raise Unavailable("the directory has not been found durable yet, try again")
    if not _covers(token.scopes, request):
        raise Forbidden("this token's scopes do not cover the request")
    request[CALLER] = Caller(
        tenant=tenants[name],
        token=token,
        request_id=request[REQUEST_ID],
        settings=settings,
        base_url=f"{_root(request, settings)}/scim/{name}/v2",
        address=address,
        agent=user_agent(request.headers.get("User-Agent")),
    )
    return await handler(request)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is too much; of a PATCH or PUT its body tells whether it is (`resources`)."""
    caller = request.get(CALLER)
    if caller is None:
        return await handler(request)
    pressure = request.app[RECEIVER].pressure
    with pressure.entered(caller.tenant.name, caller.settings.limits):
        if request.method not in {"PATCH", "PUT"}:
            await pressure.admit(
                caller.tenant.name,
                caller.settings,
                revoking=request.method == "DELETE",
                reads=_reads(request),
            )
        return await handler(request)
