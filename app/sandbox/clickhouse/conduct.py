"""What a server does around a query, whatever protocol brought it.

    async with conduct.of(user, query, thread):
        …                                # run it and write its answer

Errors pass through it: the caller tells its client about a ServerError afterwards, and ends the
connection, with nothing more sent, for Disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.switches import Break, Disturbance, Fail, Slow, Switches


class Conduct:
    def __init__(self, switches: Switches, running: Running) -> None:
        self._switches, self._running = switches, running

    def admits(self) -> bool:
        """Tell whether a connection that has just come is served; if not, close it at once."""
        return not self._switches.refuses()

    @asynccontextmanager
    async def of(self, user: str, query: Query, thread: int) -> AsyncIterator[None]:
        """Surround one query of `user`, whose engine calls run on `thread` (its native id)."""
        disturbances = self._switches.take(Disturbance, query.sql, user)
        self._running.begin(thread, query.query_id)
        try:
            await _disturb(disturbances, "before")
            yield
            await _disturb(disturbances, "after")
        finally:
            self._running.end(thread)


async def _disturb(disturbances: list[Disturbance], when: Literal["before", "after"]) -> None:
    for rule in disturbances:
        if rule.when != when:
            continue
        match rule:
            case Slow():
                await asyncio.sleep(rule.seconds)
            case Fail():
                raise ServerError(rule.code, f"DB::Exception: {rule.message}")
            case Break():
                raise Disconnected
