"""Finding the servers that join the clusters of targets."""

from __future__ import annotations

import asyncio

import structlog

from app.config.nodes import clustered
from app.directory.servers import note_servers, read_servers
from app.errors import DirectoryUnavailable
from workers.clickhouse.servers import ask_for_servers
from workers.drainer import Drainer

FIND_S = 5.0

log = structlog.get_logger()


async def find_servers(drainer: Drainer) -> None:
    """Ask targets which servers their clusters have, and give each a lane, until cancelled.

    What one worker finds the others, and receivers, read in Redis.
    """
    told: dict[str, str] = {}
    while True:
        if clustered(drainer.configured):
            try:
                told = await _find(drainer, told)
            except DirectoryUnavailable as error:
                log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(FIND_S * drainer.rng.uniform(0.75, 1.25))


async def _find(drainer: Drainer, told: dict[str, str]) -> dict[str, str]:
    """Look once. `told`: the failures that the log has already, by server; return those of now."""
    await _follow(drainer)  # those that others know of, which are asked as well
    configured = drainer.configured
    found = await ask_for_servers(configured, drainer.settings)
    servers = {target: one.servers for target, one in found.items()}
    await note_servers(drainer.shards, configured, servers, drainer.clock.now_ms())
    await _follow(drainer)
    failures = {
        f"{target}@{node}": str(error)
        for target, one in found.items()
        for node, error in one.failures.items()
    }
    for server, why in failures.items():
        if told.get(server) != why:
            log.warning("servers.unknown", server=server, error=why[:500])
    return failures


async def _follow(drainer: Drainer) -> None:
    now_ms = drainer.clock.now_ms()
    await drainer.join(await read_servers(drainer.shards, drainer.configured, now_ms))
