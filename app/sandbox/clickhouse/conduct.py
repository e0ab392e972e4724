"""What a server does around a query, whatever protocol brought it.

    with conduct.of(query, process, thread, database, counts) as disturbances:
        for pause_s in act(disturbances, "before"): …    # wait for so long
        …                                                # run it and write its answer
        for pause_s in act(disturbances, "after"): …

Errors pass through it: the caller tells its client about a ServerError afterwards, and ends the
connection, with nothing more sent, for Disconnected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

    @contextmanager
    def of(
        self,
        query: Query,
        process: Process,
        thread: int,
        database: str,
        counts: Callable[[], Counts],
    ) -> Iterator[Sequence[Disturbance]]:
        """Surround one query, whose engine calls run on `thread` (its native id).

        Gives what a test wants to go wrong with it. `counts` is asked once it has ended. Raises
        ServerError 202 where too many run.
        """
        disturbances = self._switches.take(Disturbance, query.sql, process.user)
        started, error = time.monotonic(), None
        try:
            self._running.begin(thread, process)
            try:
                yield disturbances
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


def act(disturbances: Sequence[Disturbance], when: Literal["before", "after"]) -> Iterator[float]:
    """Yield for how many seconds to wait, or raise what is to go wrong."""
    for rule in disturbances:
        if rule.when != when:
            continue
        match rule:
            case Slow():
                yield rule.seconds
            case Fail():
                raise ServerError(rule.code, f"DB::Exception: {rule.message}")
            case Break():
                raise Disconnected
