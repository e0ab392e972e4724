"""A receiver with a Redis of its own and no workers, and a bare aiohttp handler beside it."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.child import Child, Program
from app.clock import Clock
from app.directory.link import connect
from app.directory.tokens import create
from app.sandbox.ports import choose_ports
from app.sandbox.redis import answers, find_redis, redis_program
from app.sandbox.running import PROGRAM

TENANT = "acme"
_DEADLINE_S = 30.0
CONFIG = """\
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:1"]
user = "nobody"
storage = "replicated"
[tenants.acme]
targets = ["main"]
[tenants.acme.authentication]
method = "no_authentication"
"""


@dataclass(frozen=True, slots=True)
class Alone:
    """`tokens`: one of each tenant. `pid`, `log`: of the receiver's one process."""

    port: int
    redis: str
    tokens: dict[str, str]
    pid: int
    log: Path


@dataclass(frozen=True, slots=True)
class Bare:
    port: int
    pid: int


@asynccontextmanager
async def programs(*wanted: Program) -> AsyncIterator[list[Child]]:
    """Keep programs running for as long as this is open."""
    children = [Child(one, say=lambda text: print(text, file=sys.stderr)) for one in wanted]
    tasks = [asyncio.create_task(child.run()) for child in children]
    try:
        yield children
    finally:
        for child in reversed(children):
            await child.stop()
        await asyncio.gather(*tasks)


@dataclass(frozen=True, slots=True)
class Ready:
    """What a receiver needs. `port`: a free one for it. `tokens`: one of each tenant."""

    config: Path
    redis: str
    port: int
    tokens: dict[str, str]


@asynccontextmanager
async def redis_alone(
    folder: Path, tenants: Sequence[str] = (TENANT,), configuration: str = CONFIG
) -> AsyncIterator[Ready]:
    """Start Redis (every write on disk before it is acknowledged), with the tenants' tokens in it.

    `configuration`: with `{redis}` in the place of Redis's URL.
    """
    ports = choose_ports(("redis", "receiver"), {}, random.Random())
    redis = redis_program(find_redis(), ports["redis"], folder, folder / "redis.log")
    url = f"redis://127.0.0.1:{ports['redis']}/0"
    config = folder / "clickhouse-scim.toml"
    config.write_text(configuration.format(redis=url))
    async with programs(redis):
        await until(partial(answers, ports["redis"]))
        link, now_ms = connect(url), Clock().now_ms()
        made = {tenant: (await create(link, tenant, now_ms=now_ms)).token for tenant in tenants}
        await link.close()
        yield Ready(config, url, ports["receiver"], made)


@asynccontextmanager
async def receiver_alone(
    folder: Path, tenants: Sequence[str] = (TENANT,), configuration: str = CONFIG
) -> AsyncIterator[Alone]:
    """Start such a Redis, and one receiver process."""
    async with redis_alone(folder, tenants, configuration) as ready:
        where = ["--config", str(ready.config), "--host", "127.0.0.1", "--port", str(ready.port)]
        log = folder / "receiver.log"
        receiver = Program(name="receiver", arguments=[*PROGRAM, "receiver", *where], log=log)
        async with programs(receiver) as (child,):
            await until(partial(is_open, ready.port))
            yield Alone(ready.port, ready.redis, ready.tokens, child.pid or 0, log)


@asynccontextmanager
async def bare_handler(answer_bytes: int) -> AsyncIterator[Bare]:
    """Serve POSTs by a handler that parses the body and answers so many bytes."""
    port = choose_ports(("bare",), {}, random.Random())["bare"]
    arguments: Sequence[str] = [
        sys.executable,
        str(Path(__file__).with_name("bare.py")),
        str(port),
        str(answer_bytes),
    ]
    async with programs(Program(name="bare handler", arguments=arguments)) as (child,):
        await until(partial(is_open, port))
        yield Bare(port, child.pid or 0)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.02)


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
