"""The one place where Redis is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import RedisError

from app.errors import DirectoryUnavailable

T = TypeVar("T")

ANSWER_S = 3.0


async def answered(command: Awaitable[T]) -> T:
    """Await a command, `ANSWER_S` at most. Raises DirectoryUnavailable for every kind of failure.

    Also for an error reply: READONLY, OOM, BUSY, LOADING, MISCONF and their like say that Redis
    does not serve now. A command that was sent may have happened.

    The deadline is here and not in redis-py (`socket_timeout`): there, on Python 3.11, it is an
    `asyncio.wait_for` around each send, which now and then swallows the cancellation of its task.
    """
    try:
        async with asyncio.timeout(ANSWER_S):
            return await told(command)
    except TimeoutError as error:
        raise DirectoryUnavailable(f"Redis did not answer within {ANSWER_S:g} s") from error


async def told(command: Awaitable[T]) -> T:
    """As `answered`, for a command of PipelinedRedis, which keeps the deadline by itself."""
    try:
        return await command
    except (RedisError, OSError) as error:
        raise DirectoryUnavailable(f"Redis did not answer: {error}") from error
