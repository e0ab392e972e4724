"""Work of large requests, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FEW = 2000


async def aside(values: int, work: Callable[[], T]) -> T:
    """Return what `work` returns. `values`: about how many it goes through.

    Many are gone through in a thread, so that other requests are answered in between.
    """
    return await asyncio.to_thread(work) if values > FEW else work()
