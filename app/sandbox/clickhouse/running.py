"""The queries that run now, by the thread that carries them.

The engine gives each query an id of its own, which no client knows; but it lists the threads that
a query runs on, and a session has one thread. So a query is found by its session's thread, and is
killed by the engine's own KILL QUERY.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.processes import Process

_TOO_MANY = 202
_OF_THREAD = "SELECT query_id FROM system.processes WHERE has(thread_ids, {})"
_BY_THREAD = "SELECT query_id, thread_ids FROM system.processes"


class Running:
    """`limit`: how many queries may run at once (`max_concurrent_queries`); 0: any number.

    The limits of users and profiles are the engine's to keep.
    """

    def __init__(self, engine: Engine, limit: int = 0) -> None:
        self._session = engine.connect()
        self._limit = limit
        self._lock = threading.Lock()
        self._threads: dict[int, Process] = {}  # by native thread id

    def begin(self, thread: int, process: Process) -> None:
        """Note a query that starts, or raise ServerError 202 where there are enough already."""
        if self._limit and len(self._threads) >= self._limit:
            raise ServerError(
                _TOO_MANY,
                "DB::Exception: Too many simultaneous queries. "
                f"Maximum: {self._limit}. Current: {len(self._threads)}",
            )
        self._threads[thread] = process

    def end(self, thread: int) -> None:
        self._threads.pop(thread, None)

    def now(self) -> Mapping[int, Process]:
        return dict(self._threads)

    def kill(self, thread: int) -> None:
        """Cancel what runs on `thread`; it ends with 394. Nothing happens where nothing runs."""
        with self._lock:
            for (query_id,) in self._session.rows(_OF_THREAD.format(thread)):
                self._session.run(f"KILL QUERY WHERE query_id = '{query_id}' ASYNC")

    def ids(self) -> Mapping[str, str]:
        """Return the client's id for each of the engine's, where a client sent the query.

        For a query that is running, which is left out where it is the only one.
        """
        known = self.now()
        if len(known) < 2:
            return {}
        with self._lock:
            rows = self._session.rows(_BY_THREAD)
        return {
            engine_id: known[int(thread)].query_id
            for engine_id, threads in rows
            for thread in threads
            if int(thread) in known
        }
