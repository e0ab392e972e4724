"""Waking workers: a call to all that listen, or an arq job for one, that say "drain this lane".

The call is heard at once or not at all; where nobody heard it, the job waits until a worker comes.
Either may be lost, doubled or late without harm: the lane is marked dirty in the same commit, and
each worker's sweep finds dirty lanes that nobody holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from app.directory.answered import answered
from app.directory.link import CONNECT_S
from app.errors import DirectoryUnavailable

QUEUE = "clickhouse-scim:lanes"
JOB = "drain"
CALLS = "clickhouse-scim:calls"  # a channel; a call is TENANT/TARGET

log = structlog.get_logger()


def connect_queue(url: str, password: str | None, connections: int) -> ArqRedis:
    """Return the queue's Redis; end it with `aclose(close_connection_pool=True)`.

    Without `socket_timeout`, which would now and then swallow a cancellation: see `answered`.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=None,
        socket_keepalive=True,
        **({} if password is None else {"password": password}),
    )
    return ArqRedis(pool, default_queue_name=QUEUE)


async def send(redis: ArqRedis, tenant: str, target: str) -> None:
    """Call whoever listens; leave a job if nobody does. Raises DirectoryUnavailable."""
    if not await answered(redis.publish(CALLS, f"{tenant}/{target}")):
        await answered(redis.enqueue_job(JOB, tenant, target))


class Waker:
    """Enqueues wake-ups behind the answer: a request never waits for them, nor fails with them."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._redis = connect_queue(url, password, 4)
        self._lanes: dict[tuple[str, str], None] = {}
        self._some = asyncio.Event()

    def wake(self, tenant: str, targets: Sequence[str]) -> None:
        """Have a worker look at these lanes soon. Never waits, and holds each lane once."""
        for target in targets:
            self._lanes[tenant, target] = None
            self._some.set()

    async def run(self) -> None:
        """Send wake-ups until cancelled. One task owns this; see `main`."""
        while True:
            await self._some.wait()
            self._some.clear()
            lanes, self._lanes = self._lanes, {}
            for tenant, target in lanes:
                await self._send(tenant, target)

    async def _send(self, tenant: str, target: str) -> None:
        try:
            await send(self._redis, tenant, target)
        except DirectoryUnavailable as error:
            log.warning("lane.not_woken", tenant=tenant, target=target, error=str(error))
        except Exception:  # this wake-up ends here; the next one may do better
            log.exception("lane.not_woken", tenant=tenant, target=target)

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._redis.connection_pool.disconnect()  # aclose leaves a given pool open
