"""Saying of tokens that they end soon: an identity provider stops silently when its token does."""

from __future__ import annotations

import asyncio
import random

import structlog

from app.directory.link import Link
from app.directory.tokens import read_tokens
from app.errors import DirectoryUnavailable
from app.http.receiver import Receiver

FIRST_S, EVERY_S = 10.0, 3600.0
BEFORE_S = 14 * 86_400
_AT_ONCE = 500  # tenants in one pipeline

log = structlog.get_logger()


async def warn_of_ends(receiver: Receiver) -> None:
    """Say every hour, in one line each, which tokens end soon and have no successor."""
    await asyncio.sleep(FIRST_S)
    while True:
        await _warn(receiver)
        await asyncio.sleep(EVERY_S * random.uniform(0.75, 1.25))  # noqa: S311 - no secret


async def _warn(receiver: Receiver) -> None:
    for link, names in receiver.shards.by_link(receiver.tenants).items():
        try:
            await _warn_of(link, names, receiver.clock.now_ms())
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", redis=link.name, error=str(error))


async def _warn_of(link: Link, names: list[str], now_ms: int) -> None:
    for start in range(0, len(names), _AT_ONCE):
        found = await read_tokens(link, names[start : start + _AT_ONCE])
        for tenant, tokens in found.items():
            for token in tokens:
                left_s = None if token.expires_ms is None else (token.expires_ms - now_ms) / 1000
                if left_s is not None and 0 < left_s < BEFORE_S and not token.replaced_by:
                    log.warning(
                        "token.ending", tenant=tenant, token=token.id, in_days=round(left_s / 86400)
                    )
