"""Every server of a target on its own: for what one of them can't do for all, or say of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from app.errors import TargetError
from workers.clickhouse.pool import Endpoint, Pool

T = TypeVar("T")


class Nodes:
    """The servers that the configuration names for a target, each with connections of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._pools: Mapping[str, Pool] = {
            _told(host): Pool(replace(endpoint, hosts=(host,))) for host in endpoint.hosts
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Each as `host:port`."""
        return tuple(self._pools)

    async def each(self, work: Callable[[Pool], Awaitable[T]]) -> dict[str, T | TargetError]:
        """Return, by node, what `work` returns there, or the TargetError that it raises.

        All at once: a node that does not answer holds no other up.
        """

        async def of(pool: Pool) -> T | TargetError:
            try:
                return await work(pool)
            except TargetError as error:
                return error

        done = await asyncio.gather(*(of(pool) for pool in self._pools.values()))
        return dict(zip(self._pools, done, strict=True))

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()


def _told(host: tuple[str, int]) -> str:
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
