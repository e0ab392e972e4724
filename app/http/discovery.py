"""What clients are told of the service itself: RFC 7644 §4."""

from __future__ import annotations

from app.errors import Forbidden, NotImplementedByServer
from app.http.answers import Answer, answer
from app.http.exchange import Exchange
from app.scim import discovery
from app.scim.messages import list_response

ENDPOINTS = ("ResourceTypes", "Schemas")


async def service_provider_config(exchange: Exchange) -> Answer:
    _refuse_filter(exchange)
    caller = exchange.caller
    limits = caller.settings.limits
    config = discovery.service_provider_config(
        caller.base_url,
        max_results=limits.max_page,
        sort=True,
        etag=True,
        bulk_max_operations=limits.max_bulk_operations,
        bulk_max_payload_size=min(limits.max_bulk_bytes, limits.max_body_bytes),
        change_password=caller.tenant.hasher is not None,
        pagination=discovery.Pagination(
            default_page=limits.default_page,
            max_page=limits.max_page,
            cursor_seconds=limits.cursor_seconds,
        ),
        authentication=("oauthbearertoken", "httpbasic"),
    )
    return answer(config)


async def me(_: Exchange) -> Answer:
    """RFC 7644 §3.11: tokens are those of identity providers, so nobody is `/Me`."""
    raise NotImplementedByServer("Me: a token belongs to no user here; name one by its id")


async def described(exchange: Exchange) -> Answer:
    """Return all there is; paging is ignored, a filter refused."""
    _refuse_filter(exchange)
    caller = exchange.caller
    listed = discovery.schemas if exchange.endpoint == "Schemas" else discovery.resource_types
    found = listed(caller.base_url, caller.tenant.types.values())
    return answer(list_response(found, len(found), 1, len(found)))


async def described_one(exchange: Exchange) -> Answer:
    caller = exchange.caller
    told = discovery.schema if exchange.endpoint == "Schemas" else discovery.resource_type
    return answer(told(exchange.id, caller.base_url, caller.tenant.types.values()))


def _refuse_filter(exchange: Exchange) -> None:
    if "filter" in exchange.request.query:
        raise Forbidden("filter: is not for discovery endpoints")
