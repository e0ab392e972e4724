"""Servers that workers find in the clusters of targets: writes concern their lanes, too."""

from __future__ import annotations

import asyncio

import structlog

from app.directory.servers import read_servers
from app.errors import DirectoryUnavailable
from app.http.receiver import Receiver

_FOLLOW_S = 2.0

log = structlog.get_logger()


async def follow_servers(receiver: Receiver) -> None:
    """Take over what workers have found, until cancelled.

    What is written before that reaches a new server all the same: workers see that its lane is
    behind.
    """
    while True:
        try:
            now_ms = receiver.clock.now_ms()
            receiver.join(await read_servers(receiver.shards, receiver.configured, now_ms))
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(_FOLLOW_S)
