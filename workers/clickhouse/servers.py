"""Asking the servers of a target which others are in its cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.config.nodes import clustered
from app.config.settings import Settings
from app.config.target import Host
from app.errors import TargetError
from workers.access.nature import Member, Place, members_query, unnamed
from workers.clickhouse.nodes import Nodes
from workers.clickhouse.pool import Pool
from workers.setup import endpoint_of


@dataclass(frozen=True, slots=True)
class Found:
    """Of one target. `servers`: those in its cluster that are not in `hosts`. `failures`: why
    a server could not tell, by `host:port`.
    """

    servers: tuple[Host, ...]
    failures: Mapping[str, TargetError]


async def ask_for_servers(configured: Settings, settings: Settings) -> dict[str, Found]:
    """Return what the servers of each target with a cluster say, by the target's name in the file.

    `configured`: the file's settings; `settings`: the same with the servers that are known, all of
    which are asked at once. One that does not answer delays this by as long as a connect may take.
    """
    targets = clustered(configured)
    found = await asyncio.gather(*(_ask(configured, settings, name) for name in targets))
    return dict(zip(targets, found, strict=True))


async def _ask(configured: Settings, settings: Settings, name: str) -> Found:
    first = clustered(configured)[name][0]
    cluster = configured.targets[first].cluster
    assert cluster is not None  # noqa: S101 - `clustered` gives no other
    told: dict[Place, Sequence[Member]] = {}

    async def work(pool: Pool) -> None:
        async with pool.session() as session:
            rows = await session.query(members_query(cluster))
            told[session.host] = [Member(*row) for row in rows]

    known = replace(endpoint_of(settings, first), hosts=_hosts(settings, name), max_connections=1)
    nodes = Nodes(known)
    try:
        answers = await nodes.each(work)
    finally:
        await nodes.close()
    servers = sorted(Host(*place) for place in unnamed(_hosts(configured, name), told))
    failures = {node: one for node, one in answers.items() if isinstance(one, TargetError)}
    return Found(tuple(servers), failures)


def _hosts(settings: Settings, name: str) -> tuple[Place, ...]:
    targets = (settings.targets[node] for node in clustered(settings)[name])
    return tuple((host.name, host.port) for target in targets for host in target.hosts)
