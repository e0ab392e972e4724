"""Statements ON CLUSTER: run here as the caller, queued for the other nodes, and waited for.

As in ClickHouse (`DDLWorker.cpp`, `DDLOnClusterQueryStatusSource.cpp`) every node runs the queue in
its order, as nobody in particular; a node that was away does so when it comes back. Whoever sent
the statement waits for `distributed_ddl_task_timeout` seconds and is told what came of it on each
host.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.access_statements import parse_access_statement
from app.sandbox.clickhouse.engine import Engine, EngineSession
from app.sandbox.clickhouse.engine_config import ADMIN
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.keeper import Keeper, Outcome, Task
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.statements import Statement, Use
from app.sandbox.clickhouse.tokens import render_name, render_text

log = logging.getLogger(__name__)

_NOT_IMPLEMENTED, _TIMEOUT, _ACCESS_DENIED, _NO_CLUSTER = 48, 159, 497, 701
# A statement that ends with one of these here was refused before any host was asked.
_REFUSED = frozenset({_NOT_IMPLEMENTED, 62, 164, _ACCESS_DENIED})
_POLL_S = 0.01
_RECENT_S = 0.1  # a folder's time of change is no finer than the kernel's clock tick
_UNFINISHED = 3  # of the statuses OK, IN_PROGRESS, QUEUED, UNFINISHED

_SETTINGS = (
    "SELECT getSetting('distributed_ddl_output_mode'), "
    "toFloat64(getSetting('distributed_ddl_task_timeout')), "
    "getSetting('ignore_on_cluster_for_replicated_access_entities_queries')"
)


class OutputMode(StrEnum):
    """What `distributed_ddl_output_mode` may be."""

    THROW = "throw"
    NONE = "none"
    NULL_STATUS = "null_status_on_timeout"
    NEVER_THROW = "never_throw"
    NONE_ONLY_ACTIVE = "none_only_active"
    NULL_STATUS_ONLY_ACTIVE = "null_status_on_timeout_only_active"
    THROW_ONLY_ACTIVE = "throw_only_active"

    @property
    def is_silent(self) -> bool:
        return self in {OutputMode.NONE, OutputMode.NONE_ONLY_ACTIVE}

    @property
    def waits_for_active_only(self) -> bool:
        return self.value.endswith("_only_active")

    @property
    def has_nulls(self) -> bool:
        """Whether status and error of a host that has not finished are NULL."""
        return self is not OutputMode.THROW and not self.is_silent

    @property
    def throws_on_timeout(self) -> bool:
        return self in {
            OutputMode.THROW,
            OutputMode.NONE,
            OutputMode.THROW_ONLY_ACTIVE,
            OutputMode.NONE_ONLY_ACTIVE,
        }


@dataclass(frozen=True, slots=True)
class _Row:
    """`status`: an error's code, 0 for none; None where the host has not finished."""

    host: str
    status: int | None
    error: str
    remaining: int
    active: int


class Cluster:
    def __init__(
        self, membership: Membership, keeper: Keeper, engine: Engine, access: Access
    ) -> None:
        self._membership, self._keeper = membership, keeper
        self._engine, self._access = engine, access
        self._admin, self._asking = engine.connect(), threading.Lock()
        self._working = threading.Lock()
        self._done = 0  # the number of the last task that this node has seen to
        self._changed = 0

    def run(
        self, session: EngineSession, statement: Statement, caller: str, database: str
    ) -> bytes:
        """Run a statement that has an ON CLUSTER clause, and return a row for each host.

        Raises ServerError: what `session` may not do, 701 for another cluster, 159 after the time
        that the settings give, else the first host's error.
        """
        if self._expanded(statement.cluster) != self._membership.name:
            raise unknown_cluster(statement.cluster)
        ((mode, timeout_s, ignored),) = session.rows(_SETTINGS)
        access = statement.use is Use.ACCESS
        if access and self._membership.replicated and ignored:
            return self._access.execute(session, statement.sql, caller, database)
        if session.rows("CHECK GRANT CLUSTER ON *.*") != [[1]]:
            raise ServerError(
                _ACCESS_DENIED,
                f"DB::Exception: {caller}: Not enough privileges. To execute this query, "
                "it's necessary to have the grant CLUSTER ON *.*",
            )
        with self._keeper.lock("ddl"), self._working:
            self._work()
            task = self._task(statement, caller, database)
            outcome = self._run_here(session, statement, caller, database)
            number = self._keeper.add(task, {self._membership.host: outcome})
        return self._wait(number, OutputMode(mode), timeout_s)

    def work(self) -> None:
        """Run what the queue holds for this node. For a thread that comes back every few ms."""
        changed = self._keeper.changed()
        recent = time.time_ns() - changed < _RECENT_S * 1e9
        if changed != self._changed or recent:
            self._changed = changed
            with self._working:
                self._work()

    def _work(self) -> None:
        for number, task in self._keeper.tasks(self._done):
            with self._keeper.doing(number):
                self._keeper.finish(number, self._run_task(task))
            self._done = number

    def _run_task(self, task: Task) -> Outcome:
        session = self._engine.connect()
        try:
            session.run(f"USE {render_name(task.database)}")
            if task.access:
                self._access.execute(session, task.sql, ADMIN, task.database)
            else:
                session.run(task.sql)
        except ServerError as error:
            return _outcome(error)
        finally:
            session.close()
        return Outcome()

    def _run_here(
        self, session: EngineSession, statement: Statement, caller: str, database: str
    ) -> Outcome:
        try:
            if statement.use is Use.ACCESS:
                self._access.execute(session, statement.sql, caller, database)
            else:
                session.run(statement.sql)
        except ServerError as error:
            if error.code in _REFUSED:
                raise
            return _outcome(error)
        return Outcome()

    def _task(self, statement: Statement, caller: str, database: str) -> Task:
        sql = statement.sql
        access = statement.use is Use.ACCESS
        if access:
            parsed = parse_access_statement(sql, caller, database)
            if parsed.journal is None and database == "default":
                raise ServerError(
                    _NOT_IMPLEMENTED,
                    "DB::Exception: the sandbox has no CURRENT GRANTS or CURRENT_USER here "
                    "ON CLUSTER",
                )
            sql = parsed.journal or parsed.sql
        return Task(sql=sql, access=access, database=database, hosts=self._membership.hosts)

    def _expanded(self, name: str) -> str:
        if "{" not in name:
            return name
        with self._asking:
            macros = self._admin.rows("SELECT macro, substitution FROM system.macros")
        for macro, value in macros:
            name = name.replace(f"{{{macro}}}", value)
        return name

    def _wait(self, number: int, mode: OutputMode, timeout_s: float) -> bytes:
        """Wait for the hosts. A time-out of 0: for none of them; below: for all, however long."""
        if not timeout_s:
            return b""
        rows: list[_Row] = []
        outcomes: Mapping[str, Outcome] = {}
        started = time.monotonic()
        while True:
            active = self._keeper.busy(number)
            outcomes = self._keeper.outcomes(number)
            rows += self._finished(outcomes, rows, len(active))
            unfinished = [host for host in self._membership.hosts if host not in outcomes]
            if not unfinished:
                break
            waited_s = time.monotonic() - started
            living = self._keeper.living(unfinished)
            only_offline = mode.waits_for_active_only and not living
            if only_offline or (timeout_s > 0 and waited_s > timeout_s):
                if mode.throws_on_timeout and not only_offline:
                    raise self._timed_out(number, unfinished, living, active, waited_s)
                rows += (_Row(h, None, "", len(unfinished), len(active)) for h in unfinished)
                break
            time.sleep(_POLL_S)
        if mode is not OutputMode.NEVER_THROW:
            _raise_first(rows)
        return b"" if mode.is_silent else self._render(rows, mode)

    def _finished(
        self, outcomes: Mapping[str, Outcome], rows: Sequence[_Row], active: int
    ) -> Iterator[_Row]:
        known = {row.host for row in rows}
        left = len(self._membership.hosts) - len(known)
        for host, outcome in outcomes.items():
            if host not in known:
                left -= 1
                yield _Row(host, outcome.code, outcome.message, left, active)

    def _timed_out(
        self,
        number: int,
        unfinished: Sequence[str],
        living: Sequence[str],
        active: Sequence[str],
        waited_s: float,
    ) -> ServerError:
        return ServerError(
            _TIMEOUT,
            f"DB::Exception: Distributed DDL task /clickhouse/task_queue/ddl/query-{number:010d} "
            f"is not finished on {len(unfinished)} of {len(self._membership.hosts)} hosts "
            f"({len(active)} of them are currently executing the task, "
            f"{len(unfinished) - len(living)} are inactive). They are going to execute the query "
            f"in background. Was waiting for {waited_s:.0f} seconds, which is longer than "
            "distributed_ddl_task_timeout",
        )

    def _render(self, rows: Sequence[_Row], mode: OutputMode) -> bytes:
        """Return the rows as the engine writes them."""
        status, error = "Int64", "String"
        if mode.has_nulls:
            status, error = f"Nullable({status})", f"Nullable({error})"
        nothing = (None, None) if mode.has_nulls else (_UNFINISHED, "Unfinished")
        lines = []
        for row in rows:
            host, _, port = row.host.rpartition(":")
            said = nothing if row.status is None else (row.status, row.error)
            lines.append(json.dumps([host, int(port), *said, row.remaining, row.active]))
        structure = (
            f"host String, port UInt16, status {status}, error {error}, "
            "num_hosts_remaining UInt64, num_hosts_active UInt64"
        )
        with self._asking:
            return self._admin.run(
                f"SELECT * FROM format(JSONCompactEachRow, {render_text(structure)}, "  # noqa: S608
                f"{render_text(chr(10).join(lines))})"
            )


def unknown_cluster(name: str) -> ServerError:
    return ServerError(_NO_CLUSTER, f"DB::Exception: Requested cluster '{name}' not found")


def _outcome(error: ServerError) -> Outcome:
    return Outcome(error.code, f"Code: {error.code}. {error.message}")


def _raise_first(rows: Sequence[_Row]) -> None:
    for row in rows:
        if row.status:
            raise ServerError(
                row.status,
                f"DB::Exception: There was an error on [{row.host}]: {row.error}",
            )
