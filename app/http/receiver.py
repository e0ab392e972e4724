"""What the receiver's handlers stand on: one typed value, built by `main`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from app.clock import Clock
from app.config.nodes import with_servers
from app.config.rolemap import RoleMap
from app.config.settings import Settings
from app.config.target import Host
from app.config.tenant import Tenant as Configured
from app.directory.directory import Directory, Origin
from app.directory.keys import KINDS, Kind
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.directory.shards import Shards
from app.directory.tokens import TokenRecord
from app.http.activity import ActivityLog
from app.http.auth import Authenticator
from app.http.pressure import Pressure
from app.http.progress import Lanes
from app.http.quirks import QuirkCounter
from app.http.rendering import Source
from app.http.unanswered import Unanswered
from app.http.uses import TokenUses
from app.metrics.declared import Metrics
from app.metrics.exposition import Exposition
from app.metrics.fleet import Fleet
from app.scim.attribute import ResourceType
from app.scim.fitting import Fitting
from app.scim.limits import Limits
from app.scim.password import Hasher
from app.wake import Waker

if TYPE_CHECKING:
    from app.tracing.spans import Tracing


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as requests see it. `link`: where it lies. `verified_domains`: folded; empty means
    that any is taken.

    `types`: the resource types that it has, with the extensions that it declares; `fittings`: what
    reads their bodies; `sources`: what answers about them are made of. `hasher`: what passwords
    become, None where the tenant's users have none.
    """

    name: str
    link: Link
    directory: Directory
    role_map: RoleMap
    verified_domains: frozenset[str]
    types: Mapping[Kind, ResourceType]
    fittings: Mapping[Kind, Fitting]
    sources: Mapping[Kind, Source]
    limits: Limits
    hasher: Hasher | None
    lanes: Lanes


def build_tenants(settings: Settings, shards: Shards) -> dict[str, Tenant]:
    ledger, limits = settings.ledger is not None, _limits(settings)
    fittings: dict[int, Fitting] = {}
    return {
        name: _tenant(name, one, shards.of(name), limits, fittings, ledger=ledger)
        for name, one in settings.tenants.items()
    }


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        max_name_length=limits.max_name_length,
        max_attribute_length=limits.max_attribute_length,
        max_values=limits.max_values,
        max_members=limits.max_members,
        max_document_depth=limits.max_json_depth,
        max_patch_operations=limits.max_patch_operations,
        max_filter_length=limits.max_filter_length,
        max_filter_depth=limits.max_filter_depth,
    )


def _tenant(
    name: str,
    configured: Configured,
    link: Link,
    limits: Limits,
    fittings: dict[int, Fitting],
    *,
    ledger: bool,
) -> Tenant:
    """`fittings`: those of other tenants, by the identity of the type: most tenants have the same
    types.
    """
    named = configured.resource_types
    types = {kind: named[of.type] for kind, of in KINDS.items() if of.type in named}
    for one in types.values():
        if id(one) not in fittings:
            fittings[id(one)] = Fitting(one)
    directory = Directory(link, name, configured.targets, ledger=ledger)
    lanes = Lanes([LaneStore(link, name, target) for target in configured.targets])
    return Tenant(
        name=name,
        link=link,
        directory=directory,
        role_map=RoleMap.of(configured),
        verified_domains=frozenset(configured.verified_domains),
        types=types,
        fittings={kind: fittings[id(one)] for kind, one in types.items()},
        sources={kind: Source(directory, types, kind, lanes) for kind in types},
        limits=limits,
        hasher=configured.hasher,
        lanes=lanes,
    )


@dataclass(slots=True)
class Receiver:
    """The parts. `configured` is the file, `settings` that with the `servers` that were found in
    clusters; `settings` and `tenants` are replaced together. `admitted`: what was found durable and
    in order; requests for tenants elsewhere are refused. `log_answer`: writes a request's line.
    """

    settings: Settings
    configured: Settings
    tenants: Mapping[str, Tenant]
    shards: Shards
    waker: Waker
    metrics: Metrics
    fleet: Fleet
    exposition: Exposition
    activity: ActivityLog
    authenticator: Authenticator
    uses: TokenUses
    clock: Clock
    unanswered: Unanswered
    quirks: QuirkCounter
    pressure: Pressure
    log_answer: Callable[[dict[str, Any]], None]
    tracing: Tracing | None = None
    allow_volatile_redis: bool = False
    admitted: set[Link] = field(default_factory=set)
    servers: Mapping[str, tuple[Host, ...]] = field(default_factory=dict)

    def replace(self, configured: Settings) -> None:
        """Answer from now on by another configuration."""
        self.configured = configured
        self.settings = with_servers(configured, self.servers)
        self.tenants = build_tenants(self.settings, self.shards)
        self.metrics.show(self.settings.tenants)

    def join(self, servers: Mapping[str, tuple[Host, ...]]) -> None:
        """Write for these servers, by target, beside those that the file names."""
        if servers != self.servers:
            self.servers = servers
            self.replace(self.configured)


class Caller(msgspec.Struct, frozen=True):
    """Who asks, once the token has been checked; `settings`: those it was checked under.

    `address`, `agent`: where the request came from, and what the client calls itself. `trace`: as
    in `Origin`.
    """

    tenant: Tenant
    settings: Settings
    token: TokenRecord
    request_id: str
    base_url: str
    address: str
    agent: str
    trace: str = ""

    def origin(self, digest: str) -> Origin:
        """Return what events keep of a request. `digest`: what tells its repeat."""
        return Origin(
            request_id=self.request_id,
            token_id=self.token.id,
            digest=digest,
            address=self.address,
            agent=self.agent,
            trace=self.trace,
        )
