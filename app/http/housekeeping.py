"""What no request does: cleaning up behind receivers that died in the middle of something.

Every receiver looks after every tenant, now and then. Two of them at once do no harm, and nothing
waits for it: what is left behind is seen by nobody.
"""

from __future__ import annotations

import asyncio
import random

import structlog

from app.directory.keys import Keys
from app.directory.staging import LEASE_MS, settle, unsettled
from app.errors import DirectoryUnavailable
from app.http.receiver import Receiver

FIRST_S = LEASE_MS / 1000 + 2  # when what the last receiver left behind may be touched
EVERY_S = 300.0
_AT_ONCE = 500  # tenants in one pipeline

log = structlog.get_logger()


async def keep_house(receiver: Receiver) -> None:
    """Tidy up every few minutes, never in step with other receivers, until cancelled."""
    await asyncio.sleep(FIRST_S)
    while True:
        try:
            await tidy(receiver)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(EVERY_S * random.uniform(0.75, 1.25))  # noqa: S311 - no secret


async def tidy(receiver: Receiver) -> None:
    """Go through all tenants once. Raises DirectoryUnavailable."""
    tenants = list(receiver.tenants)
    for start in range(0, len(tenants), _AT_ONCE):
        for tenant, group in await unsettled(receiver.link, tenants[start : start + _AT_ONCE]):
            await settle(receiver.link, Keys(tenant), group)
