"""Connections to a Redis, found where its URL says or where the Sentinels say.

There is no `socket_timeout`, which on Python 3.11 now and then swallows the cancellation of its
task: deadlines are where Redis is waited for (`answered`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import RedisError

from app.config.redis import Address

CONNECT_S = 1.0


def make_pool(
    at: Address, password: str | None, sentinel_password: str | None, **settings: Any
) -> ConnectionPool:
    """Return a pool that connects on first use; one for Sentinels asks them at each connecting.

    Of a cluster it is one to the first node that the URL names. `settings`: as
    BlockingConnectionPool has them.
    """
    options = settings | connecting(at.plain, password)
    if at.kind != "sentinel":
        return BlockingConnectionPool(**options)
    tls = options.pop("connection_class", None) is SSLConnection
    options["connection_class"] = SentinelManagedSSLConnection if tls else SentinelManagedConnection
    del options["host"], options["port"]
    shared = {k: v for k, v in options.items() if k.startswith("ssl_")}
    sentinels = _Sentinels(  # type: ignore[no-untyped-call]
        at.hosts,
        sentinel_kwargs={
            **shared,
            "ssl": tls,
            "password": sentinel_password,
            "socket_connect_timeout": CONNECT_S,
        },
    )
    return _SentinelPool(at.service, sentinels, **options)  # type: ignore[no-untyped-call]


def connecting(url: str, password: str | None) -> dict[str, Any]:
    """Return what redis-py needs to connect to the server of a plain URL."""
    options: dict[str, Any] = {**parse_url(url), "socket_connect_timeout": CONNECT_S}
    if password is not None:
        options["password"] = password
    return options


class _Sentinels(Sentinel):
    """Asks one Sentinel after the other; one that hangs keeps nobody longer than CONNECT_S, and is
    asked last from then on.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        sentinels: Sequence[Redis] = list(self.sentinels)
        for one in sentinels:
            try:
                async with asyncio.timeout(CONNECT_S):
                    masters: dict[str, Any] = await one.sentinel_masters()  # type: ignore[no-untyped-call]
            except (RedisError, OSError, TimeoutError):
                self.sentinels.remove(one)
                self.sentinels.append(one)
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                return state["ip"], state["port"]
        raise MasterNotFoundError(f"no Sentinel knows a primary called {service_name} that is up")

    async def aclose(self) -> None:
        for one in self.sentinels:
            await one.aclose()


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    sentinel_manager: _Sentinels

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:  # the pool itself does without, where the primary is another one
            await self.sentinel_manager.aclose()
