"""Commands that work on the directory in Redis: connect, do it, close, or say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli.lookup import LaneName
from app.directory.link import CONNECT_S, Link, connect
from app.errors import DirectoryUnavailable

if TYPE_CHECKING:
    from app.config.settings import Settings

T = TypeVar("T")


def run_linked(settings: Settings, work: Callable[[Link], Awaitable[T]]) -> T:
    """Return what `work` returns with a connection to Redis.

    Raises ClickException (exit code 1) if Redis does not answer.
    """

    async def connected() -> T:
        link = connect(settings.redis.url, settings.redis.secret())
        try:
            return await work(link)
        finally:
            await link.close()

    try:
        return asyncio.run(connected())
    except DirectoryUnavailable as error:
        advice = f"see that the one at {settings.redis.url} runs"
        raise click.ClickException(f"{error}; {advice}") from error


async def wake(settings: Settings, lanes: Iterable[LaneName]) -> None:
    """Tell workers that these lanes have something to do.

    That nobody hears it is no failure: each worker's sweep finds lanes that are dirty.
    """
    from arq.connections import ArqRedis  # noqa: PLC0415 - slow, and few commands wake
    from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415

    from app.directory.answered import answered  # noqa: PLC0415
    from app.wake import JOB, QUEUE  # noqa: PLC0415

    password = settings.redis.secret()
    pool = BlockingConnectionPool.from_url(
        settings.redis.url,
        max_connections=1,
        socket_connect_timeout=CONNECT_S,
        **({} if password is None else {"password": password}),
    )
    redis = ArqRedis(pool, default_queue_name=QUEUE)
    with suppress(DirectoryUnavailable):
        try:
            for lane in lanes:
                await answered(redis.enqueue_job(JOB, lane.tenant, lane.target))
        finally:
            await redis.aclose(close_connection_pool=True)
