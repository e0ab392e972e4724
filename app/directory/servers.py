"""Servers that were found in the clusters of targets, and when they were there last.

Every tenant has them for itself, as it has its lanes: whoever knows of a server has a lane to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from app.config.nodes import clustered, configured_name, with_servers
from app.config.settings import Settings
from app.config.target import Host, parse_host
from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable

Lane = tuple[str, str]

# A server that is down may be missing from a cluster that finds its members by itself: it stays a
# target for so long, and whoever leaves meanwhile waits for it.
FORGOTTEN_AFTER_MS = 3_600_000
_NOTED_AGAIN_MS = FORGOTTEN_AFTER_MS // 6


async def settings_with_servers(shards: Shards, settings: Settings, now_ms: int) -> Settings:
    """Return `settings`, which are the file's, with the servers that workers have found.

    Raises DirectoryUnavailable.
    """
    found = await read_servers(shards, settings, now_ms)
    return with_servers(settings, found) if found else settings


async def read_servers(
    shards: Shards, settings: Settings, now_ms: int
) -> dict[str, tuple[Host, ...]]:
    """Return those that are not forgotten, in order, by target; of several tenants what any knows.

    One round trip to each Redis, and none where no target has a cluster. What lies on a Redis that
    is away lies on others too, or serves nobody now. Raises DirectoryUnavailable if all are away.
    """
    found: dict[str, set[Host]] = {}
    away: list[DirectoryUnavailable] = []
    lanes = _by_link(shards, settings)
    for link, its in lanes.items():
        try:
            noted = await _noted(link, its)
        except DirectoryUnavailable as error:
            away.append(error)
            continue
        for (_, target), times in noted.items():
            found.setdefault(target, set()).update(
                host for host, seen_ms in times.items() if now_ms - seen_ms < FORGOTTEN_AFTER_MS
            )
    if away and len(away) == len(lanes):
        raise away[0]
    return {target: tuple(sorted(hosts)) for target, hosts in found.items() if hosts}


async def note_servers(
    shards: Shards, settings: Settings, seen: Mapping[str, Collection[Host]], now_ms: int
) -> None:
    """Note that these are there, by target, for all its tenants. Raises DirectoryUnavailable if
    some could not be told.
    """
    away: list[DirectoryUnavailable] = []
    for link, lanes in _by_link(shards, settings).items():
        try:
            await _note(link, [lane for lane in lanes if seen.get(lane[1])], seen, now_ms)
        except DirectoryUnavailable as error:
            away.append(error)
    if away:
        raise away[0]


async def _note(
    link: Link, lanes: Sequence[Lane], seen: Mapping[str, Collection[Host]], now_ms: int
) -> None:
    pipe = link.redis.pipeline(transaction=False)
    for (tenant, target), times in (await _noted(link, lanes)).items():
        new = [h for h in seen[target] if now_ms - times.get(h, 0) >= _NOTED_AGAIN_MS]
        if new:
            fields = {str(host): now_ms for host in new}
            pipe.hset(Keys(tenant).lane("servers", target), mapping=fields)
    if pipe.command_stack:
        await link.call(pipe.execute())


async def _noted(link: Link, lanes: Sequence[Lane]) -> dict[Lane, dict[Host, int]]:
    """Return when (ms) each server was seen last, by (tenant, target)."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        pipe.hgetall(Keys(tenant).lane("servers", target))
    found = await link.call(pipe.execute()) if lanes else []
    return {
        lane: {parse_host(host.decode()): int(at) for host, at in raw.items()}
        for lane, raw in zip(lanes, found, strict=True)
    }


def _by_link(shards: Shards, settings: Settings) -> dict[Link, list[Lane]]:
    lanes: dict[Link, list[Lane]] = {}
    for tenant, target in _lanes(settings):
        lanes.setdefault(shards.of(tenant), []).append((tenant, target))
    return lanes


def _lanes(settings: Settings) -> Iterable[tuple[str, str]]:
    targets = clustered(settings)
    for name, tenant in settings.tenants.items():
        for target in dict.fromkeys(map(configured_name, tenant.targets)):
            if target in targets:
                yield name, target
