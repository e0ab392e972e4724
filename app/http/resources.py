"""Requests at the endpoints of resources: RFC 7644 §3.2 to §3.6."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from app.directory.keys import KINDS, Kind
from app.errors import TooManyRequests, Unavailable
from app.http.answers import Answer, answer
from app.http.bodies import digest, parse_json, read_body
from app.http.endpoint import Endpoint
from app.http.exchange import Exchange
from app.http.preconditions import NO_PRECONDITIONS, Preconditions, parse_preconditions
from app.http.pressure import members_named, revokes
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


def kind_at(endpoint: str) -> Kind | None:
    """Return the kind of resources below `/endpoint`."""
    return _KIND_AT.get(endpoint)


def _endpoint(exchange: Exchange) -> Endpoint:
    return Endpoint(exchange.receiver, exchange.caller, _KIND_AT[exchange.endpoint])


def _preconditions(exchange: Exchange) -> Preconditions:
    headers = exchange.request.headers
    return parse_preconditions(headers.getall("If-Match", []), headers.getall("If-None-Match", []))


def _write(exchange: Exchange, body: bytes = b"") -> Write:
    return Write(
        endpoint=_endpoint(exchange),
        origin=exchange.caller.origin(digest(exchange.request, body)),
        preconditions=_preconditions(exchange) if exchange.id else NO_PRECONDITIONS,
        attributes=_names(exchange, "attributes"),
        excluded=_names(exchange, "excludedAttributes"),
    )


def _names(exchange: Exchange, parameter: str) -> str | None:
    """Return a list of names: some clients repeat the parameter instead of a comma."""
    request = exchange.request
    given = request.query.getall(parameter, []) if request.query_string else []
    return ",".join(given) if given else None


def _body(exchange: Exchange) -> Awaitable[bytes]:
    return read_body(exchange.request, exchange.caller.settings.limits.max_body_bytes)


async def _admitted(exchange: Exchange) -> bytes:
    """Return the body of a change, if there is room for it."""
    body, caller = await _body(exchange), exchange.caller
    admit = partial(
        exchange.receiver.pressure.admit, caller.tenant.name, caller.settings, reads=False
    )
    revoking = revokes(exchange.request.method, body)
    try:
        await admit(revoking=revoking)
    except (TooManyRequests, Unavailable):
        if revoking or not await _only_removes(exchange, body):
            raise
        await admit(revoking=True)
    return body


async def _only_removes(exchange: Exchange, body: bytes) -> bool:
    """Whether this is a PUT of a group that brings nobody in: what only the directory can tell, so
    it is asked where the request would be refused.
    """
    if exchange.request.method != "PUT" or _KIND_AT[exchange.endpoint] != "group":
        return False
    directory = _endpoint(exchange).directory
    return await directory.are_members(exchange.id, members_named(body))


def _answer(written: Written, sent: Callable[[bool], None] | None = None) -> Answer:
    return answer(written.body, status=written.status, headers=written.headers, sent=sent)


async def create(exchange: Exchange) -> Answer:
    body = await _body(exchange)
    written = await _write(exchange, body).create(body)
    if written.created is None:
        return _answer(written)
    return _answer(written, exchange.receiver.unanswered.told_of([written.created]))


async def replace(exchange: Exchange) -> Answer:
    body = await _admitted(exchange)
    return _answer(await _write(exchange, body).replace(exchange.id, body))


async def patch(exchange: Exchange) -> Answer:
    body = await _admitted(exchange)
    return _answer(await _write(exchange, body).patch(exchange.id, body))


async def delete(exchange: Exchange) -> Answer:
    return _answer(await _write(exchange).delete(exchange.id))


async def get(exchange: Exchange) -> Answer:
    """GET of one resource: RFC 7644 §3.4.1.

    Whoever is in which group is the groups' state: a user's version does not count `groups`.
    """
    endpoint = _endpoint(exchange)
    renderer = endpoint.renderer(
        _names(exchange, "attributes"), _names(exchange, "excludedAttributes")
    )
    stored = await endpoint.stored(exchange.id)
    headers, conditions = {"ETag": entity_tag(stored.version)}, _preconditions(exchange)
    conditions.check_match(stored.version)
    if not conditions.holds_none_match(stored.version):
        return answer(None, status=HTTPStatus.NOT_MODIFIED, headers=headers)
    (body,) = await renderer.stored([stored])
    return answer(body, headers=headers)


async def find(exchange: Exchange) -> Answer:
    """GET of a list: RFC 7644 §3.4.2; at the root over all types."""
    limits = exchange.caller.settings.limits
    asked = dict(exchange.request.query)
    for name in ("attributes", "excludedAttributes"):
        if (names := _names(exchange, name)) is not None:
            asked[name] = names
    query = parse_query(asked, default_page=limits.default_page, max_page=limits.max_page)
    return answer(await search(_searched(exchange), query))


async def post_search(exchange: Exchange) -> Answer:
    """POST of a SearchRequest: RFC 7644 §3.4.3."""
    limits = exchange.caller.settings.limits
    query = parse_search(
        parse_json(await _body(exchange)),
        default_page=limits.default_page,
        max_page=limits.max_page,
    )
    return answer(await search(_searched(exchange), query))


def _searched(exchange: Exchange) -> list[Endpoint]:
    if exchange.endpoint:
        return [_endpoint(exchange)]
    receiver, caller = exchange.receiver, exchange.caller
    return [Endpoint(receiver, caller, kind) for kind in caller.tenant.types]
