"""Commands that work on the directory in Redis: connect, do it, close, or say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli.lookup import LaneName
from app.directory.link import Link
from app.directory.shards import Shards, connect_all
from app.errors import DirectoryUnavailable

if TYPE_CHECKING:
    from app.config.settings import Settings

T = TypeVar("T")


def run_linked(settings: Settings, work: Callable[[Shards], Awaitable[T]]) -> T:
    """Return what `work` returns with connections to every Redis of the directory.

    Raises ClickException (exit code 1) if one that it needs does not answer.
    """

    async def connected() -> T:
        shards = connect_all(settings.redis)
        try:
            return await work(shards)
        finally:
            await shards.close()

    try:
        return asyncio.run(connected())
    except DirectoryUnavailable as error:
        said = str(error).rstrip(".")
        raise click.ClickException(f"{said}; {advice(settings)}") from error


def run_at(settings: Settings, tenant: str, work: Callable[[Link], Awaitable[T]]) -> T:
    """Return what `work` returns with a connection to the Redis where the tenant lies. Raises as
    `run_linked` does.
    """
    return run_linked(settings, lambda shards: work(shards.of(tenant)))


def advice(settings: Settings) -> str:
    """Return what to do where Redis does not answer."""
    return f"see that the one at {' and the one at '.join(settings.redis.places)} runs"


async def wake(settings: Settings, lanes: Iterable[LaneName]) -> None:
    """Tell workers that these lanes have something to do.

    That nobody hears it is no failure: each worker's sweep finds lanes that are dirty.
    """
    from app.wake import Queues, send  # noqa: PLC0415 - arq is slow, and few commands wake

    queues = Queues.of(settings.redis)
    its: dict[str, list[LaneName]] = {}
    for lane in lanes:
        its.setdefault(queues.name(lane.tenant), []).append(lane)
    for name, some in its.items():
        redis = queues.connect(name, 1)
        with suppress(DirectoryUnavailable):
            try:
                for lane in some:
                    await send(redis, lane.tenant, lane.target)
            finally:
                await redis.aclose(close_connection_pool=True)
