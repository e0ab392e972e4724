"""Every path that the receiver answers; all others are 404 without a word more.

Paths are taken apart instead of being tried one by one: their form says what they name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import unquote

import msgspec

from app.http import bulk, discovery, ops, probes, resources
from app.http.answers import Answer
from app.http.exchange import Exchange
from app.http.receiver import Receiver

Handler = Callable[[Exchange], Awaitable[Answer]]
Handlers = Mapping[str, Handler]


def _handlers(**methods: Handler) -> Handlers:
    """Return handlers by method; what answers GET answers HEAD."""
    if "GET" in methods:
        methods["HEAD"] = methods["GET"]
    return MappingProxyType(methods)


_NONE = _handlers()
_ROOT = _handlers(GET=resources.find)
_SEARCH = _handlers(POST=resources.post_search)
_ALL = _handlers(GET=resources.find, POST=resources.create)
_ONE = _handlers(
    GET=resources.get, PUT=resources.replace, PATCH=resources.patch, DELETE=resources.delete
)
_DESCRIBED = _handlers(GET=discovery.described)
_DESCRIBED_ONE = _handlers(GET=discovery.described_one)
_ANY = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Below the tenant's base URL, by what stands there: one word, or an endpoint and something below.
_WORDS: Mapping[str, Handlers] = {
    ".search": _SEARCH,
    "Bulk": _handlers(POST=bulk.bulk),
    "Me": _handlers(**dict.fromkeys(_ANY, discovery.me)),
    "ServiceProviderConfig": _handlers(GET=discovery.service_provider_config),
    **dict.fromkeys(resources.ENDPOINTS, _ALL),
    **dict.fromkeys(discovery.ENDPOINTS, _DESCRIBED),
}
_BELOW: Mapping[str, Handlers] = {
    **dict.fromkeys(resources.ENDPOINTS, _ONE),
    **dict.fromkeys(discovery.ENDPOINTS, _DESCRIBED_ONE),
}
_OPS: Mapping[str, Handlers] = {
    "lanes": _handlers(GET=ops.lanes),
    "deadletters": _handlers(GET=ops.dead_letters),
}

OPEN: Mapping[str, Callable[[Receiver], Awaitable[Answer]]] = {
    "/healthz": probes.healthz,
    "/readyz": probes.readyz,
    "/metrics": probes.metrics,
}


class Route(msgspec.Struct, frozen=True):
    """What a path names. `handlers`: by method, none where there is nothing.

    `endpoint`, `id`: "" where the path has none. `is_search`: a POST there only reads
    (RFC 7644 §3.4.3). `is_ops`: what operators' tokens are for.
    """

    tenant: str
    handlers: Handlers
    endpoint: str = ""
    id: str = ""
    is_ops: bool = False
    is_search: bool = False


_SHORT = 200  # characters of paths that are remembered: most are those of few endpoints


def find_route(path: str) -> Route | None:
    """Return what a path names below `/scim/TENANT` and `/ops/TENANT`, None for all other paths.

    `path`: as it was sent, without the query.
    """
    return _found_before(path) if len(path) <= _SHORT else _found(path)


def _found(path: str) -> Route | None:
    parts = path.split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
    match parts:
        case ["", "scim", tenant, "v2", *rest]:
            return _scim_route(tenant, rest)
        case ["", "ops", tenant, word]:
            return Route(tenant, _OPS.get(word, _NONE), is_ops=True)
        case ["", "scim" | "ops" as area, tenant, *_]:
            return Route(tenant, _NONE, is_ops=area == "ops")
        case _:
            return None


_found_before = lru_cache(maxsize=1024)(_found)


def _scim_route(tenant: str, rest: list[str]) -> Route:
    """Administrators end base URLs with a slash, so that what follows begins with two; some clients
    end their paths with one.
    """
    if rest and rest[0] == "":
        rest = rest[1:]
    if rest and rest[-1] == "":
        rest = rest[:-1]
    match rest:
        case []:
            return Route(tenant, _ROOT)
        case [word]:
            endpoint = word if word in _BELOW else ""
            handlers = _WORDS.get(word, _NONE)
            return Route(tenant, handlers, endpoint, is_search=handlers is _SEARCH)
        case [endpoint, ".search"] if endpoint in resources.ENDPOINTS:
            return Route(tenant, _SEARCH, endpoint, is_search=True)
        case [endpoint, below] if endpoint in _BELOW:
            return Route(tenant, _BELOW[endpoint], endpoint, below)
        case _:
            return Route(tenant, _NONE)
