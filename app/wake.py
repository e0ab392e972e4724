"""Waking workers: a call to all that listen, or an arq job for one, that say "drain this lane".

The call is heard at once or not at all; where nobody heard it, the job waits until a worker comes.
Either may be lost, doubled or late without harm: the lane is marked dirty in the same commit, and
each worker's sweep finds dirty lanes that nobody holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.config.redis import RedisSettings, parse_url
from app.directory.answered import answered
from app.directory.pools import make_pool
from app.directory.shards import place
from app.errors import DirectoryUnavailable

QUEUE = "clickhouse-scim:lanes"
JOB = "drain"
CALLS = "clickhouse-scim:calls"  # a channel; a call is TENANT/TARGET

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Queues:
    """Where wake-ups go: to the Redis of `[redis.queue]`, else each to that of its tenant.

    `urls`: by the name that tenants are placed by.
    """

    urls: Mapping[str, str]
    password: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)

    @classmethod
    def of(cls, redis: RedisSettings) -> Queues:
        urls = redis.places if redis.queue is None else (redis.queue.url,)
        account = redis if redis.queue is None else redis.queue
        sentinel = redis.sentinel.secret() if redis.sentinel else None
        return cls({parse_url(url).name: url for url in urls}, account.secret(), sentinel)

    def name(self, tenant: str) -> str:
        """Return where the wake-ups of a tenant go."""
        return place(tenant, list(self.urls))

    def connect(self, name: str, connections: int) -> ArqRedis:
        """Return that Redis; end it with `aclose(close_connection_pool=True)`."""
        pool = make_pool(
            parse_url(self.urls[name]),
            self.password,
            self.sentinel_password,
            max_connections=connections,
            socket_keepalive=True,
        )
        return ArqRedis(pool, default_queue_name=QUEUE)


async def send(redis: ArqRedis, tenant: str, target: str) -> None:
    """Call whoever listens; leave a job if nobody does. Raises DirectoryUnavailable."""
    if not await answered(redis.publish(CALLS, f"{tenant}/{target}")):
        await answered(redis.enqueue_job(JOB, tenant, target))


class Waker:
    """Enqueues wake-ups behind the answer: a request never waits for them, nor fails with them."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._lines = {name: _Line(queues.connect(name, 4)) for name in queues.urls}
        self._of: dict[str, _Line] = {}

    def wake(self, tenant: str, targets: Sequence[str]) -> None:
        """Have a worker look at these lanes soon. Never waits, and holds each lane once."""
        line = self._of.get(tenant)
        if line is None:
            line = self._of[tenant] = self._lines[self._queues.name(tenant)]
        line.add(tenant, targets)

    async def run(self) -> None:
        """Send wake-ups until cancelled, to each Redis by itself. One task owns this: `main`."""
        async with asyncio.TaskGroup() as tasks:
            for name, line in self._lines.items():
                tasks.create_task(line.run(), name=f"wake-ups at {name}")

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()


class _Line:
    """The wake-ups for one Redis."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._lanes: dict[tuple[str, str], None] = {}
        self._some = asyncio.Event()

    def add(self, tenant: str, targets: Sequence[str]) -> None:
        for target in targets:
            self._lanes[tenant, target] = None
            self._some.set()

    async def run(self) -> None:
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
