"""`system.query_log`: what clients ran, written some seconds later or at SYSTEM FLUSH LOGS.

As on a server the table is not there before the first flush, and a query has a row for its start
and one for its end, or a single one if it was refused before it started. It is kept in memory, the
last of it: it does not survive the process.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.processes import Process
from app.sandbox.clickhouse.queries import Counts
from app.sandbox.clickhouse.tokens import parse_tokens

FLUSH_INTERVAL_S = 7.5  # a server's
_MANY, _MOST_WAITING = 500, 10_000  # entries that are flushed at once; that are kept until then
_CUT_TO = 100_000  # log_queries_cut_to_length
_KEPT_BYTES = 1 << 25
_INTERFACES = {"TCP": 1, "HTTP": 2}
# Errors that come while a query runs; others come before it has started.
_WHILE_PROCESSING = {158, 159, 160, 201, 241, 307, 394, 395, 396}

_TABLE = f"""
CREATE TABLE IF NOT EXISTS system.query_log (
    type Enum8('QueryStart' = 1, 'QueryFinish' = 2,
        'ExceptionBeforeStart' = 3, 'ExceptionWhileProcessing' = 4),
    event_date Date,
    event_time DateTime,
    event_time_microseconds DateTime64(6),
    query_start_time DateTime,
    query_start_time_microseconds DateTime64(6),
    query_duration_ms UInt64,
    read_rows UInt64,
    read_bytes UInt64,
    written_rows UInt64,
    written_bytes UInt64,
    result_rows UInt64,
    result_bytes UInt64,
    current_database LowCardinality(String),
    query String,
    query_kind LowCardinality(String),
    exception_code Int32,
    exception String,
    is_initial_query UInt8,
    user String,
    query_id String,
    address IPv6,
    initial_user String,
    initial_query_id String,
    initial_address IPv6,
    interface UInt8,
    log_comment String,
    Settings Map(LowCardinality(String), LowCardinality(String))
) ENGINE = Memory SETTINGS max_bytes_to_keep = {_KEPT_BYTES}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A query that has ended. `text`: without secrets. `started`: Unix time, `took_s`: seconds."""

    text: str
    settings: Mapping[str, str]
    process: Process
    database: str
    started: float
    took_s: float
    error: ServerError | None
    counts: Counts


class QueryLog:
    def __init__(self, engine: Engine) -> None:
        self._session = engine.connect()
        self._lock = threading.Lock()
        self._waiting: deque[Ended] = deque(maxlen=_MOST_WAITING)
        self._flushed = time.monotonic()

    def note(self, ended: Ended) -> None:
        """Take a query down; `log_queries = 0` keeps it out."""
        if ended.settings.get("log_queries") not in {"0", "false"}:
            if len(ended.text) > _CUT_TO:
                ended = replace(ended, text=ended.text[:_CUT_TO])
            self._waiting.append(ended)

    def flush_when_due(self) -> None:
        """Write down what there is, every 7.5 s, sooner if it is much."""
        is_late = time.monotonic() - self._flushed >= FLUSH_INTERVAL_S
        if (self._waiting and is_late) or len(self._waiting) >= _MANY:
            self.flush()

    def flush(self) -> None:
        """Write down what has ended so far. Blocks."""
        with self._lock:
            self._flushed = time.monotonic()
            entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._session.run(_TABLE)
            if entries:
                insert = self._session.insert(
                    "INSERT INTO system.query_log", input_format="JSONEachRow"
                )
                for entry in entries:
                    for row in _rows(entry):
                        insert.write(json.dumps(row).encode("utf-8", "surrogatepass"))
                insert.finish()


def _rows(entry: Ended) -> list[dict[str, Any]]:
    error = entry.error
    row = _row(entry)
    if error is not None and error.code not in _WHILE_PROCESSING:
        return [row | {"type": "ExceptionBeforeStart"} | _ended(entry)]
    start = row | {"type": "QueryStart"} | _times("event", entry.started)
    return [
        start,
        row | {"type": "ExceptionWhileProcessing" if error else "QueryFinish"} | _ended(entry),
    ]


def _row(entry: Ended) -> dict[str, Any]:
    process, settings = entry.process, entry.settings
    times: dict[str, Any] = dict(_times("query_start", entry.started))
    return times | {
        "current_database": entry.database,
        "query": entry.text.encode("utf-8", "replace").decode(),
        "query_kind": _kind(entry.text),
        "is_initial_query": 1,
        "user": process.user,
        "query_id": process.query_id,
        "address": process.address,
        "initial_user": process.user,
        "initial_query_id": process.query_id,
        "initial_address": process.address,
        "interface": _INTERFACES[process.interface],
        "log_comment": settings.get("log_comment", ""),
        "Settings": dict(settings),
    }


def _ended(entry: Ended) -> dict[str, Any]:
    counts, error = entry.counts, entry.error
    ended: Mapping[str, Any] = {
        "query_duration_ms": int(entry.took_s * 1000),
        "read_rows": counts.read_rows,
        "read_bytes": counts.read_bytes,
        "written_rows": counts.written_rows,
        "written_bytes": counts.written_bytes,
        "result_rows": counts.result_rows,
        "result_bytes": counts.result_bytes,
        "exception_code": error.code if error else 0,
        "exception": f"Code: {error.code}. {error.message}" if error else "",
    }
    return {**_times("event", entry.started + entry.took_s), **ended}


def _times(name: str, at: float) -> dict[str, str]:
    """Return the columns of a point in time, in UTC, as the engine reads them."""
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    columns = {
        f"{name}_time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{name}_time_microseconds": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    return columns | ({"event_date": moment.strftime("%Y-%m-%d")} if name == "event" else {})


def _kind(sql: str) -> str:
    tokens = parse_tokens(sql, limit=1)
    return tokens[0].value.capitalize() if tokens else ""
