"""The queries that run now, by the client's id and by the thread that carries them.

The engine gives each query an id of its own, which no client knows; but it lists the threads that
a query runs on, and a session has one thread. So a query is found by its session's thread, and is
killed by the engine's own KILL QUERY.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from app.sandbox.clickhouse.engine import Engine

_OF_THREAD = "SELECT query_id FROM system.processes WHERE has(thread_ids, {})"
_BY_THREAD = "SELECT query_id, thread_ids FROM system.processes"


class Running:
    def __init__(self, engine: Engine) -> None:
        self._session = engine.connect()
        self._lock = threading.Lock()
        self._threads: dict[int, str] = {}  # native thread id → the client's query id

    def begin(self, thread: int, query_id: str) -> None:
        self._threads[thread] = query_id

    def end(self, thread: int) -> None:
        self._threads.pop(thread, None)

    def kill(self, thread: int) -> None:
        """Cancel what runs on `thread`; it ends with 394. Nothing happens where nothing runs."""
        with self._lock:
            for (query_id,) in self._session.rows(_OF_THREAD.format(thread)):
                self._session.run(f"KILL QUERY WHERE query_id = '{query_id}' ASYNC")

    def ids(self) -> Mapping[str, str]:
        """Return the client's id for each of the engine's, where the client gave one."""
        with self._lock:
            rows = self._session.rows(_BY_THREAD)
        return {
            engine_id: self._threads[int(thread)]
            for engine_id, threads in rows
            for thread in threads
            if self._threads.get(int(thread))
        }
