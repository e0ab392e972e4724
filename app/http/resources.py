"""Requests at the endpoints of resources: RFC 7644 §3.2 to §3.6."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.directory.keys import KINDS, Kind
from app.http.answers import answer
from app.http.bodies import digest, parse_json, read_body
from app.http.endpoint import Endpoint
from app.http.preconditions import Preconditions, parse_preconditions
from app.http.pressure import revokes
from app.http.receiver import CALLER, RECEIVER, SENT
from app.http.search import search
from app.http.writes import Write, Written
from app.scim.present import entity_tag
from app.scim.query import parse_query, parse_search
from app.scim.schema import RESOURCE_TYPES

_KIND_AT: dict[str, Kind] = {
    RESOURCE_TYPES[of.type].endpoint[1:]: kind
    for kind, of in KINDS.items()
    if of.type in RESOURCE_TYPES
}
ENDPOINTS = tuple(_KIND_AT)
_SHORTEST_VALUE = 16  # bytes in a body: `{"value":"…"},`


def kind_at(endpoint: str) -> Kind | None:
    """Return the kind of resources below `/endpoint`."""
    return _KIND_AT.get(endpoint)


def _endpoint(request: web.Request) -> Endpoint:
    kind = _KIND_AT[request.match_info["endpoint"]]
    return Endpoint(request.app[RECEIVER], request[CALLER], kind)


def _preconditions(request: web.Request) -> Preconditions:
    headers = request.headers
    return parse_preconditions(headers.getall("If-Match", []), headers.getall("If-None-Match", []))


def _write(request: web.Request, body: bytes = b"") -> Write:
    caller = request[CALLER]
    return Write(
        endpoint=_endpoint(request),
        origin=caller.origin(digest(request, body)),
        preconditions=_preconditions(request) if "id" in request.match_info else Preconditions(),
        attributes=_names(request, "attributes"),
        excluded=_names(request, "excludedAttributes"),
        values=len(body) // _SHORTEST_VALUE,
    )


def _names(request: web.Request, parameter: str) -> str | None:
    """Return a list of names: some clients repeat the parameter instead of a comma."""
    given = request.query.getall(parameter, [])
    return ",".join(given) if given else None


async def _body(request: web.Request) -> bytes:
    return await read_body(request, request[CALLER].settings.limits.max_body_bytes)


async def _admitted(request: web.Request) -> bytes:
    """Return the body of a change, if there is room for it."""
    body, caller = await _body(request), request[CALLER]
    await request.app[RECEIVER].pressure.admit(
        caller.tenant.name,
        caller.settings,
        revoking=revokes(request.method, body),
        reads=False,
    )
    return body


def _answer(written: Written) -> web.Response:
    return answer(written.body, status=written.status, headers=written.headers)


async def create(request: web.Request) -> web.Response:
    body = await _body(request)
    written = await _write(request, body).create(parse_json(body))
    if written.created is not None:
        request[SENT] = request.app[RECEIVER].unanswered.told_of([written.created])
    return _answer(written)


async def replace(request: web.Request) -> web.Response:
    body = await _admitted(request)
    write = _write(request, body)
    return _answer(await write.replace(request.match_info["id"], parse_json(body)))


async def patch(request: web.Request) -> web.Response:
    body = await _admitted(request)
    write = _write(request, body)
    return _answer(await write.patch(request.match_info["id"], parse_json(body)))


async def delete(request: web.Request) -> web.Response:
    return _answer(await _write(request).delete(request.match_info["id"]))


async def get(request: web.Request) -> web.Response:
    """GET of one resource: RFC 7644 §3.4.1.

    Whoever is in which group is the groups' state: a user's version does not count `groups`.
    """
    endpoint = _endpoint(request)
    renderer = endpoint.renderer(
        _names(request, "attributes"), _names(request, "excludedAttributes")
    )
    stored = await endpoint.stored(request.match_info["id"])
    headers, conditions = {"ETag": entity_tag(stored.version)}, _preconditions(request)
    conditions.check_match(stored.version)
    if not conditions.holds_none_match(stored.version):
        return answer(None, status=HTTPStatus.NOT_MODIFIED, headers=headers)
    (body,) = await renderer.stored([stored])
    return answer(body, headers=headers)


async def find(request: web.Request) -> web.Response:
    """GET of a list: RFC 7644 §3.4.2; at the root over all types."""
    limits = request[CALLER].settings.limits
    asked = dict(request.query)
    for name in ("attributes", "excludedAttributes"):
        if (names := _names(request, name)) is not None:
            asked[name] = names
    query = parse_query(asked, default_page=limits.default_page, max_page=limits.max_page)
    return answer(await search(_searched(request), query))


async def post_search(request: web.Request) -> web.Response:
    """POST of a SearchRequest: RFC 7644 §3.4.3."""
    limits = request[CALLER].settings.limits
    query = parse_search(
        parse_json(await _body(request)),
        default_page=limits.default_page,
        max_page=limits.max_page,
    )
    return answer(await search(_searched(request), query))


def _searched(request: web.Request) -> list[Endpoint]:
    if "endpoint" in request.match_info:
        return [_endpoint(request)]
    receiver, caller = request.app[RECEIVER], request[CALLER]
    return [Endpoint(receiver, caller, kind) for kind in caller.tenant.types]
