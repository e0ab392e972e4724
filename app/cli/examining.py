"""What `doctor` does: looks at everything that the configuration names, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain

from app.clock import Clock
from app.config.ledger import LedgerSettings
from app.config.nodes import configured_name, with_servers
from app.config.redis import RedisSettings
from app.config.settings import Settings
from app.directory.lanes import LaneStatus, read_statuses
from app.directory.link import Link, connect
from app.directory.servers import settings_with_servers
from app.directory.shards import connect_all
from app.directory.tokens import list_all
from app.doctor.directory import examine_link, examine_places
from app.doctor.finding import Finding, ok, warn
from app.doctor.tokens import judge_tokens
from app.errors import DirectoryUnavailable
from workers.access.desired import role_definitions
from workers.clickhouse.servers import ask_for_servers
from workers.doctor.ledger import examine_ledger
from workers.doctor.marker import examine_markers
from workers.doctor.target import examine_target, judge_servers
from workers.setup import endpoint_of

_AT_ONCE = 16  # targets


async def examine(settings: Settings) -> list[Finding]:
    """Return every finding: of Redis, the tokens in it, the targets, the ledger, in this order."""
    clock = Clock()
    directory, targets, ledger = await asyncio.gather(
        _examine_directory(settings, clock),
        _examine_targets(settings, clock),
        _examine_ledger(settings.ledger),
    )
    return [*directory, *targets, *ledger]


async def _examine_directory(settings: Settings, clock: Clock) -> list[Finding]:
    shards = connect_all(settings.redis)
    try:
        links = shards.links.values()
        found = list(chain(*await asyncio.gather(*(examine_link(one, clock) for one in links))))
        for link, tenants in shards.by_link(settings.tenants).items():
            with suppress(DirectoryUnavailable):  # told of already
                found += await _examine_tokens(link, tenants, clock)
        with suppress(DirectoryUnavailable):
            joined = await settings_with_servers(shards, settings, clock.now_ms())
            for link, tenants in shards.by_link(joined.tenants).items():
                with suppress(DirectoryUnavailable):
                    found += await _examine_markers(link, tenants, joined, clock)
        if len(shards.links) > 1:
            found += await examine_places(shards)
    finally:
        await shards.close()
    return [*found, *await _examine_queue(settings.redis)]


async def _examine_queue(redis: RedisSettings) -> list[Finding]:
    """Look at the Redis that carries wake-ups, if it is one of its own."""
    if redis.queue is None:
        return []
    link = connect(
        redis.queue.url,
        redis.queue.secret(),
        sentinel_password=redis.sentinel.secret() if redis.sentinel else None,
    )
    try:
        await link.call(link.redis.ping())
    except DirectoryUnavailable as error:
        mend = "start it, or correct [redis.queue]; until then changes take a second or two longer"
        return [warn("redis queue", link.name, str(error), mend)]
    finally:
        await link.close()
    return [ok("redis queue", link.name, "answers")]


async def _examine_tokens(link: Link, tenants: Sequence[str], clock: Clock) -> list[Finding]:
    found: list[Finding] = []
    for tenant in tenants:
        found += judge_tokens(tenant, await list_all(link, tenant), clock.now_ms())
    return found


async def _examine_markers(
    link: Link, tenants: Sequence[str], settings: Settings, clock: Clock
) -> list[Finding]:
    names = [(name, target) for name in tenants for target in settings.tenants[name].targets]
    lanes: dict[str, dict[LaneStatus, str]] = {}
    for lane in (await read_statuses(link, names)).values():
        lanes.setdefault(lane.target, {})[lane] = settings.tenants[lane.tenant].marker_role
    found: list[Finding] = []
    for target, its in lanes.items():
        found += await examine_markers(endpoint_of(settings, target), its, clock)
    return found


async def _examine_targets(configured: Settings, clock: Clock) -> list[Finding]:
    """Look at every server, those of clusters that the file does not name, too."""
    found = await ask_for_servers(configured, configured)
    servers = {name: one.servers for name, one in found.items()}
    settings = with_servers(configured, servers)
    told = [finding for name, one in found.items() for finding in judge_servers(name, one)]
    return told + await _examine_each(settings, clock)


async def _examine_each(settings: Settings, clock: Clock) -> list[Finding]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> list[Finding]:
        roles = {
            role: definition
            for tenant in settings.tenants.values()
            if name in tenant.targets
            for role, definition in role_definitions(tenant.roles).items()
        }
        target = settings.targets[name]
        alike = [one for one in settings.targets if configured_name(one) == configured_name(name)]
        async with slots:
            return await examine_target(
                name,
                endpoint_of(settings, name),
                roles.values(),
                clock,
                storage=target.storage,
                servers=max(len(alike), len(target.hosts)),
                cluster=target.cluster,
            )

    return list(chain(*await asyncio.gather(*map(one, settings.targets))))


async def _examine_ledger(ledger: LedgerSettings | None) -> list[Finding]:
    return [] if ledger is None else await examine_ledger(ledger)
