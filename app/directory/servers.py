"""Servers that were found in the clusters of targets, and when they were there last.

Every tenant has them for itself, as it has its lanes: whoever knows of a server has a lane to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from app.config.nodes import clustered, configured_name, with_servers
from app.config.settings import Settings
from app.config.target import Host, parse_host
from app.directory.keys import Keys
from app.directory.link import Link

# A server that is down may be missing from a cluster that finds its members by itself: it stays a
# target for so long, and whoever leaves meanwhile waits for it.
FORGOTTEN_AFTER_MS = 3_600_000
_NOTED_AGAIN_MS = FORGOTTEN_AFTER_MS // 6


async def settings_with_servers(link: Link, settings: Settings, now_ms: int) -> Settings:
    """Return `settings`, which are the file's, with the servers that workers have found.

    Raises DirectoryUnavailable.
    """
    found = await read_servers(link, settings, now_ms)
    return with_servers(settings, found) if found else settings


async def read_servers(link: Link, settings: Settings, now_ms: int) -> dict[str, tuple[Host, ...]]:
    """Return those that are not forgotten, in order, by target; of several tenants what any knows.

    One round trip, and none where no target has a cluster. Raises DirectoryUnavailable.
    """
    lanes = list(_lanes(settings))
    if not lanes:
        return {}
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        pipe.hgetall(Keys(tenant).lane("servers", target))
    found: dict[str, set[Host]] = {}
    for (_, target), raw in zip(lanes, await link.call(pipe.execute()), strict=True):
        found.setdefault(target, set()).update(
            parse_host(host.decode())
            for host, seen in raw.items()
            if now_ms - int(seen) < FORGOTTEN_AFTER_MS
        )
    return {target: tuple(sorted(hosts)) for target, hosts in found.items() if hosts}


async def note_servers(
    link: Link, settings: Settings, seen: Mapping[str, Collection[Host]], now_ms: int
) -> None:
    """Note that these are there, by target, for all its tenants. Raises DirectoryUnavailable."""
    lanes = [(tenant, target) for tenant, target in _lanes(settings) if seen.get(target)]
    if not lanes:
        return
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        pipe.hgetall(Keys(tenant).lane("servers", target))
    noted = await link.call(pipe.execute())
    pipe = link.redis.pipeline(transaction=False)
    for (tenant, target), raw in zip(lanes, noted, strict=True):
        times = {host.decode(): int(at) for host, at in raw.items()}
        new = [
            host
            for host in map(str, seen[target])
            if now_ms - times.get(host, 0) >= _NOTED_AGAIN_MS
        ]
        if new:
            pipe.hset(Keys(tenant).lane("servers", target), mapping=dict.fromkeys(new, now_ms))
    if pipe.command_stack:
        await link.call(pipe.execute())


def _lanes(settings: Settings) -> Iterable[tuple[str, str]]:
    targets = clustered(settings)
    for name, tenant in settings.tenants.items():
        for target in dict.fromkeys(map(configured_name, tenant.targets)):
            if target in targets:
                yield name, target
