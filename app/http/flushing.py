"""Writing now and then what was noted beside the requests: no request waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

FLUSH_S = 5.0
_LAST_FLUSH_S = 1.0


async def flush_often(flush: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
    """Call `flush` every few seconds until cancelled, and then once more.

    `lost`: called where that last time takes too long. What `flush` raises ends it all.
    """
    try:
        while True:
            await asyncio.sleep(FLUSH_S)
            await flush()
    finally:
        try:
            async with asyncio.timeout(_LAST_FLUSH_S):
                await flush()
        except TimeoutError:
            lost()
