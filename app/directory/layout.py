"""How the data in Redis is laid out, as a number: noted in Redis, looked at by each process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import structlog
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random

from app.directory.link import Link, check_durable
from app.errors import DirectoryUnavailable, LaterLayout

KEY = "clickhouse-scim:layout"
LAYOUT = 1  # the one of `keys.py`

# From each layout to the next one. Several processes may run a step at the same time, and again
# after a crash; while it runs, processes of the version before may still be there.
Step = Callable[[Link], Awaitable[None]]
STEPS: Mapping[int, Step] = MappingProxyType({})
_AGAIN_S = wait_random(0.1, 0.4)

log = structlog.get_logger()


async def read_layout(link: Link) -> int:
    """Return the layout that is noted; of an empty Redis the one that this version would note."""
    noted = await link.call(link.redis.get(KEY))
    return LAYOUT if noted is None else int(noted)


async def admit_layout(
    link: Link, *, layout: int = LAYOUT, steps: Mapping[int, Step] = STEPS
) -> None:
    """Note the layout in a Redis that has none, and bring an older one to this version's.

    Raises LaterLayout if a later version has been here, DirectoryUnavailable.
    """
    noted = await link.call(link.redis.set(KEY, layout, nx=True, get=True))
    found = layout if noted is None else int(noted)
    if found > layout:
        raise LaterLayout(
            f"the data in Redis is of a later version (layout {found}, this one knows {layout}):"
            " start that version, or go back to a backup of before"
        )
    for number in range(found, layout):
        await steps[number](link)
        await link.call(link.redis.set(KEY, number + 1))


def _say_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        log.warning("redis.awaited", error=str(state.outcome.exception()))


@retry(retry=retry_if_exception_type(DirectoryUnavailable), wait=_AGAIN_S, before_sleep=_say_once)
async def until_admitted(link: Link, *, allow_volatile: bool = False) -> None:
    """Wait until Redis answers, then return if it is durable and of a layout that we know.

    Raises VolatileRedis, LaterLayout. Waits for as long as it takes: the supervisor of a process,
    not the process, gives up.
    """
    if not allow_volatile:
        await check_durable(link)
    await admit_layout(link)
