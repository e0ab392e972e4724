"""Every path that the receiver answers; all others are 404 without a word more."""

from __future__ import annotations

from aiohttp import web

from app.directory.link import check_durable
from app.errors import DirectoryError, Forbidden, NotImplementedByServer
from app.http import ops, resources
from app.http.answers import answer
from app.http.bulk import bulk
from app.http.receiver import CALLER, RECEIVER
from app.scim import discovery
from app.scim.messages import list_response

_BASE = "/scim/{tenant}/v2"
_ENDPOINTS = "|".join(resources.ENDPOINTS)
_PROBE = "scim:ready"


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/healthz", healthz)
    router.add_get("/readyz", readyz)
    router.add_get("/metrics", metrics)
    router.add_get("/ops/{tenant}/lanes", ops.lanes)
    router.add_get("/ops/{tenant}/deadletters", ops.dead_letters)
    for root in (_BASE, f"{_BASE}/"):
        router.add_get(root, resources.find)
    # Administrators end base URLs with a slash, so that what follows begins with two; some clients
    # end their paths with one. The plain paths come first: they are found sooner.
    for base, end in ((_BASE, ""), (_BASE, "/"), (f"{_BASE}/", ""), (f"{_BASE}/", "/")):
        _add_scim_routes(router, base, end)


def _add_scim_routes(router: web.UrlDispatcher, base: str, end: str) -> None:
    endpoint = f"{base}/{{endpoint:{_ENDPOINTS}}}"
    one = f"{endpoint}/{{id}}{end}"
    router.add_post(f"{base}/.search{end}", resources.post_search)
    router.add_post(f"{endpoint}/.search{end}", resources.post_search)
    router.add_route("*", f"{base}/Me{end}", me)
    router.add_post(f"{base}/Bulk{end}", bulk)
    router.add_get(f"{endpoint}{end}", resources.find)
    router.add_post(f"{endpoint}{end}", resources.create)
    router.add_get(one, resources.get)
    router.add_put(one, resources.replace)
    router.add_patch(one, resources.patch)
    router.add_delete(one, resources.delete)
    router.add_get(f"{base}/ServiceProviderConfig{end}", service_provider_config)
    router.add_get(f"{base}/{{endpoint:ResourceTypes|Schemas}}{end}", described)
    router.add_get(f"{base}/{{endpoint:ResourceTypes|Schemas}}/{{id}}{end}", described_one)


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Redis takes writes (is no replica, not full, its disk not either) and keeps them."""
    receiver = request.app[RECEIVER]
    link = receiver.link
    try:
        await link.call(link.redis.set(_PROBE, "1", px=1000))
        if not receiver.allow_volatile_redis:
            await check_durable(link)
    except DirectoryError as error:
        return web.Response(status=503, text=f"{error}\n")
    return web.Response(text="ok\n")


async def metrics(request: web.Request) -> web.Response:
    receiver = request.app[RECEIVER]
    body = await receiver.exposition.render(receiver.settings)
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})


async def service_provider_config(request: web.Request) -> web.Response:
    _refuse_filter(request)
    caller = request[CALLER]
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


async def me(_: web.Request) -> web.Response:
    """RFC 7644 §3.11: tokens are those of identity providers, so nobody is `/Me`."""
    raise NotImplementedByServer("Me: a token belongs to no user here; name one by its id")


def _refuse_filter(request: web.Request) -> None:
    if "filter" in request.query:
        raise Forbidden("filter: is not for discovery endpoints")


async def described(request: web.Request) -> web.Response:
    """Return all there is; paging is ignored, a filter refused (RFC 7644 §4)."""
    _refuse_filter(request)
    caller = request[CALLER]
    of_schemas = request.match_info["endpoint"] == "Schemas"
    listed = discovery.schemas if of_schemas else discovery.resource_types
    found = listed(caller.base_url, caller.tenant.types.values())
    return answer(list_response(found, len(found), 1, len(found)))


async def described_one(request: web.Request) -> web.Response:
    caller = request[CALLER]
    of_schemas = request.match_info["endpoint"] == "Schemas"
    told = discovery.schema if of_schemas else discovery.resource_type
    types = caller.tenant.types.values()
    return answer(told(request.match_info["id"], caller.base_url, types))
