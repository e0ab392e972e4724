"""What the receiver's handlers stand on: one typed value, built by `main`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from app.clock import Clock
from app.config.rolemap import RoleMap
from app.config.settings import Settings
from app.directory.directory import Directory
from app.directory.link import Link
from app.directory.tokens import TokenRecord
from app.http.auth import Authenticator
from app.http.metrics import Metrics
from app.http.repeats import Repeats
from app.wake import Waker


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as requests see it. `verified_domains`: folded; empty means that any is taken."""

    name: str
    directory: Directory
    role_map: RoleMap
    verified_domains: frozenset[str]


def build_tenants(settings: Settings, link: Link) -> dict[str, Tenant]:
    return {
        name: Tenant(
            name=name,
            directory=Directory(link, name, tenant.targets),
            role_map=RoleMap.of(tenant),
            verified_domains=frozenset(tenant.verified_domains),
        )
        for name, tenant in settings.tenants.items()
    }


@dataclass(slots=True)
class Receiver:
    """The parts; `settings` and `tenants` are replaced together when the file is reread."""

    settings: Settings
    tenants: Mapping[str, Tenant]
    link: Link
    waker: Waker
    metrics: Metrics
    authenticator: Authenticator
    clock: Clock
    repeats: Repeats
    allow_volatile_redis: bool = False
    durable: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, once the token has been checked; `settings`: those it was checked under."""

    tenant: Tenant
    settings: Settings
    token: TokenRecord
    request_id: str
    base_url: str


RECEIVER: web.AppKey[Receiver] = web.AppKey("receiver", Receiver)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
