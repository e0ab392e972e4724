"""The one connector to a Redis: its connections, and whether it keeps what it acknowledges."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import ResponseError

from app.config.redis import parse_url
from app.directory.answered import ANSWER_S, answered, told
from app.directory.cluster import ClusterRedis
from app.directory.pipelined import PipelinedRedis, Server
from app.directory.pools import make_pool
from app.directory.scripts import Scripts, Timed, untimed
from app.errors import DirectoryUnavailable, VolatileRedis

T = TypeVar("T")

CONNECTIONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Where a tenant's directory lies: one Redis, or a cluster. Built by `connect`, closed by its
    owner.

    `name`: what it is called in messages, and what tenants are placed by (`shards`).

    No retries: a commit whose reply is lost may have happened, and redis-py would send it again
    (seen: one INCR gave 2). The caller decides what a lost answer means.
    """

    name: str
    redis: PipelinedRedis
    scripts: Scripts

    async def call(self, command: Awaitable[T]) -> T:
        """Await a command or a pipeline. Raises DirectoryUnavailable if there is no answer in time.

        The deadline is theirs (`PipelinedRedis`): a timer of each call's own costs as much again.
        """
        return await told(command)

    async def servers(self) -> list[Server]:
        """Return the servers that it consists of, each with the name that it goes by.

        Raises DirectoryUnavailable if none of them answers.
        """
        found = await answered(self.redis.servers())
        return [Server(one.name or self.name, one.redis, one.is_primary) for one in found]

    async def close(self) -> None:
        await self.redis.aclose()


def connect(
    url: str,
    password: str | None = None,
    *,
    sentinel_password: str | None = None,
    timed: Timed = untimed,
    wait_replicas: int = 0,
) -> Link:
    """Return a link that connects on first use. `url` as in `[redis] url`.

    `timed`: is told each script's name and how long Redis took for it, in seconds.
    `wait_replicas`: how many replicas have to have a commit before it is answered.
    """
    at = parse_url(url)
    redis: PipelinedRedis
    if at.kind == "cluster":
        redis = ClusterRedis(at, password, CONNECTIONS)
    else:
        redis = PipelinedRedis(
            connection_pool=make_pool(
                at, password, sentinel_password, max_connections=CONNECTIONS, timeout=ANSWER_S
            )
        )
        redis.auto_close_connection_pool = True
    return Link(at.name, redis, Scripts(redis, timed, wait_replicas=wait_replicas))


async def check_durable(link: Link) -> None:
    """Return if Redis keeps an acknowledged change through a crash (promise 1): every server that
    has a part of the directory, and every replica that may have to take over.

    Raises VolatileRedis naming the setting to change, DirectoryUnavailable if it cannot be asked. A
    replica that is away is none that takes over.
    """
    for server in await link.servers():
        try:
            await _check_durable(server)
        except DirectoryUnavailable:
            if server.is_primary:
                raise


async def _check_durable(server: Server) -> None:
    where = f"Redis at {server.name}"
    persistence = await answered(server.redis.info("persistence"))
    if not persistence.get("aof_enabled"):
        raise VolatileRedis(
            f"{where} keeps no append-only file and would forget acknowledged changes: set"
            " `appendonly yes` and `appendfsync always`, or start with --allow-volatile-redis"
        )
    memory = await answered(server.redis.info("memory"))
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise VolatileRedis(
            f"{where} evicts keys (maxmemory-policy {policy}) and would forget acknowledged changes"
            ": set `maxmemory-policy noeviction`, or start with --allow-volatile-redis"
        )
    fsync = await read_setting(server.redis, "appendfsync")
    if fsync not in (None, "always"):
        raise VolatileRedis(
            f"{where} acknowledges before it has written (appendfsync {fsync}): set"
            " `appendfsync always`, or start with --allow-volatile-redis"
        )


async def read_setting(redis: PipelinedRedis, name: str) -> str | None:
    """Return a setting of the server; None where a managed Redis keeps CONFIG to itself."""
    try:
        found: dict[str, str] = await answered(redis.config_get(name))
    except DirectoryUnavailable as error:
        if isinstance(error.__cause__, ResponseError):
            return None
        raise
    return found.get(name)
