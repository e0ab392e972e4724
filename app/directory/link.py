"""The one connector to Redis: connections, time-outs, and whether it keeps what it acknowledges."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ResponseError

from app.directory.answered import ANSWER_S, answered
from app.directory.pipelined import PipelinedRedis
from app.directory.scripts import Scripts, Timed, untimed
from app.errors import DirectoryUnavailable, VolatileRedis

T = TypeVar("T")

CONNECT_S = 1.0
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Link:
    """Redis as the directory uses it. Built by `connect`, closed by its owner.

    No retries: a commit whose reply is lost may have happened, and redis-py would send it again
    (seen: one INCR gave 2). The caller decides what a lost answer means.
    """

    redis: PipelinedRedis
    scripts: Scripts

    async def call(self, command: Awaitable[T]) -> T:
        """Await a command, with a deadline. Raises DirectoryUnavailable if there is no answer."""
        return await answered(command)

    async def close(self) -> None:
        await self.redis.aclose()


def connect(
    url: str, password: str | None = None, *, timed: Timed = untimed, wait_replicas: int = 0
) -> Link:
    """Return a link that connects on first use. `url` as in `[redis] url`.

    `timed`: is told each script's name and how long Redis took for it, in seconds.
    `wait_replicas`: how many replicas have to have a commit before it is answered.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=ANSWER_S,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=None,  # see `answered`
        **({"password": password} if password is not None else {}),
    )
    redis = PipelinedRedis(connection_pool=pool)
    redis.auto_close_connection_pool = True
    return Link(redis, Scripts(redis, timed, wait_replicas=wait_replicas))


async def check_durable(link: Link) -> None:
    """Return if Redis keeps an acknowledged change through a crash (promise 1).

    Raises VolatileRedis naming the setting to change, DirectoryUnavailable if it cannot be asked.
    """
    persistence = await link.call(link.redis.info("persistence"))
    if not persistence.get("aof_enabled"):
        raise VolatileRedis(
            "Redis keeps no append-only file and would forget acknowledged changes: set"
            " `appendonly yes` and `appendfsync always`, or start with --allow-volatile-redis"
        )
    memory = await link.call(link.redis.info("memory"))
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise VolatileRedis(
            f"Redis evicts keys (maxmemory-policy {policy}) and would forget acknowledged changes:"
            " set `maxmemory-policy noeviction`, or start with --allow-volatile-redis"
        )
    fsync = await read_setting(link, "appendfsync")
    if fsync not in (None, "always"):
        raise VolatileRedis(
            f"Redis acknowledges before it has written (appendfsync {fsync}): set"
            " `appendfsync always`, or start with --allow-volatile-redis"
        )


async def read_setting(link: Link, name: str) -> str | None:
    """Return a setting of the server; None where a managed Redis keeps CONFIG to itself."""
    try:
        found: dict[str, str] = await link.call(link.redis.config_get(name))
    except DirectoryUnavailable as error:
        if isinstance(error.__cause__, ResponseError):
            return None
        raise
    return found.get(name)
