"""Commands that work on the directory in Redis: connect, do it, close, or say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli.lookup import LaneName
from app.directory.link import Link, connect
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
        said = str(error).rstrip(".")
        raise click.ClickException(f"{said}; {advice}") from error


async def wake(settings: Settings, lanes: Iterable[LaneName]) -> None:
    """Tell workers that these lanes have something to do.

    That nobody hears it is no failure: each worker's sweep finds lanes that are dirty.
    """
    from app.wake import connect_queue, send  # noqa: PLC0415 - arq is slow, and few commands wake

    redis = connect_queue(settings.redis.url, settings.redis.secret(), 1)
    with suppress(DirectoryUnavailable):
        try:
            for lane in lanes:
                await send(redis, lane.tenant, lane.target)
        finally:
            await redis.aclose(close_connection_pool=True)
