"""What has to be true of a Redis before receiver and worker use it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random

from app.directory.layout import admit_layout
from app.directory.link import Link, check_durable
from app.directory.places import admit_place
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable, LaterLayout, Misplaced, VolatileRedis

Refused = (VolatileRedis, LaterLayout, Misplaced)

_FIRST_LOOK_S = 1.0
_REFUSED_S = 5.0
_AGAIN_S = wait_random(0.1, 0.4)

log = structlog.get_logger()


async def admit(shards: Shards, link: Link, *, allow_volatile: bool = False) -> None:
    """Return if Redis is durable, of a layout that we know, and has the tenants that it should.

    Raises VolatileRedis, LaterLayout, Misplaced, DirectoryUnavailable.
    """
    if not allow_volatile:
        await check_durable(link)
    await admit_layout(link)
    await admit_place(shards, link)


def _say_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        log.warning("redis.awaited", error=str(state.outcome.exception()))


@retry(retry=retry_if_exception_type(DirectoryUnavailable), wait=_AGAIN_S, before_sleep=_say_once)
async def until_admitted(shards: Shards, link: Link, *, allow_volatile: bool = False) -> None:
    """Wait until Redis answers, then do as `admit`. Waits for as long as it takes: the supervisor
    of a process, not the process, gives up.
    """
    await admit(shards, link, allow_volatile=allow_volatile)


async def admitted_now(shards: Shards, *, allow_volatile: bool = False) -> set[Link]:
    """Return those that are admitted at the first look; the others did not answer in time.

    Raises what refuses one of them, so that a program ends before it has begun.
    """

    async def look(link: Link) -> Link | None:
        try:
            async with asyncio.timeout(_FIRST_LOOK_S):
                await admit(shards, link, allow_volatile=allow_volatile)
        except (DirectoryUnavailable, TimeoutError):
            return None
        return link

    found = await asyncio.gather(*map(look, shards.links.values()), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return {link for link in found if isinstance(link, Link)}


async def admitted_later(
    shards: Shards, link: Link, others: Collection[Link], *, allow_volatile: bool = False
) -> None:
    """Wait until it is admitted. `others`: those that are, and grow meanwhile: for their sake what
    refuses this one only keeps it closed for as long as that is so. Without any it is raised.
    """
    while True:
        try:
            await until_admitted(shards, link, allow_volatile=allow_volatile)
        except Refused as error:
            if not others:
                raise
            log.error("redis.refused", redis=link.name, error=str(error))  # noqa: TRY400 - no bug
            await asyncio.sleep(_REFUSED_S)
        else:
            return
