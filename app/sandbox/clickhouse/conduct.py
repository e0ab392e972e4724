"""What a server does around a query, whatever protocol brought it.

    async with conduct.of(query, process, thread, database, counts):
        …                                # run it and write its answer

Errors pass through it: the caller tells its client about a ServerError afterwards, and ends the
connection, with nothing more sent, for Disconnected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.processes import Process
from app.sandbox.clickhouse.queries import Counts, Query
from app.sandbox.clickhouse.query_log import Ended, QueryLog
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.switches import Break, Disturbance, Fail, Slow, Switches


class Conduct:
    def __init__(self, switches: Switches, running: Running, log: QueryLog) -> None:
        self._switches, self._running, self._log = switches, running, log

    def admits(self) -> bool:
        """Tell whether a connection that has just come is served; if not, close it at once."""
        return not self._switches.refuses()

    @asynccontextmanager
    async def of(
        self,
        query: Query,
        process: Process,
        thread: int,
        database: str,
        counts: Callable[[], Counts],
    ) -> AsyncIterator[None]:
        """Surround one query, whose engine calls run on `thread` (its native id).

        `counts` is asked once it has ended. Raises ServerError 202 where too many run.
        """
        disturbances = self._switches.take(Disturbance, query.sql, process.user)
        started, error = time.monotonic(), None
        try:
            self._running.begin(thread, process)
            try:
                await _disturb(disturbances, "before")
                yield
                await _disturb(disturbances, "after")
            finally:
                self._running.end(thread)
        except ServerError as raised:
            error = raised
            raise
        finally:
            took_s = time.monotonic() - started
            ended = Ended(
                text=process.sql,
                settings=query.settings,
                process=process,
                database=database,
                started=time.time() - took_s,
                took_s=took_s,
                error=error,
                counts=counts(),
            )
            self._log.note(ended)


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
