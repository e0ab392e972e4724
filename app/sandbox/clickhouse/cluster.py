"""Statements ON CLUSTER: run here as the caller, queued for the other nodes, and waited for.

As in ClickHouse (`DDLWorker.cpp`, `DDLOnClusterQueryStatusSource.cpp`) every node runs the queue in
its order, as nobody in particular; a node that was away does so when it comes back. Whoever sent
the statement waits for `distributed_ddl_task_timeout` seconds and is told what came of it on each
host.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.access_statements import parse_access_statement
from app.sandbox.clickhouse.engine import Engine, EngineSession
from app.sandbox.clickhouse.engine_config import ADMIN
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.keeper import Keeper, Outcome, Task
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.on_cluster_answer import (
    HostRow,
    OutputMode,
    raise_first_error,
    render_answer,
    timed_out,
)
from app.sandbox.clickhouse.statements import Statement, Use
from app.sandbox.clickhouse.tokens import render_name

log = logging.getLogger(__name__)

_BAD_ARGUMENTS, _NOT_IMPLEMENTED, _ACCESS_DENIED, _NO_CLUSTER = 36, 48, 497, 701
# A statement that ends with one of these here was refused before any host was asked.
_REFUSED = frozenset({_NOT_IMPLEMENTED, 62, 164, _ACCESS_DENIED})
_POLL_S = 0.01
_RECENT_S = 0.1  # a folder's time of change is no finer than the kernel's clock tick

_SETTINGS = (
    "SELECT getSetting('distributed_ddl_output_mode'), "
    "toFloat64(getSetting('distributed_ddl_task_timeout')), "
    "getSetting('ignore_on_cluster_for_replicated_access_entities_queries')"
)


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
            if parsed.current_grants:
                raise ServerError(
                    _BAD_ARGUMENTS,
                    "DB::Exception: GRANT CURRENT GRANTS can't be executed on cluster.",
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
        rows: list[HostRow] = []
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
                    raise timed_out(
                        number,
                        len(self._membership.hosts),
                        unfinished=len(unfinished),
                        active=len(active),
                        inactive=len(unfinished) - len(living),
                        waited_s=waited_s,
                    )
                rows += (HostRow(h, None, "", len(unfinished), len(active)) for h in unfinished)
                break
            time.sleep(_POLL_S)
        if mode is not OutputMode.NEVER_THROW:
            raise_first_error(rows)
        if mode.is_silent:
            return b""
        with self._asking:
            return self._admin.run(render_answer(rows, mode))

    def _finished(
        self, outcomes: Mapping[str, Outcome], rows: Sequence[HostRow], active: int
    ) -> Iterator[HostRow]:
        known = {row.host for row in rows}
        left = len(self._membership.hosts) - len(known)
        for host, outcome in outcomes.items():
            if host not in known:
                left -= 1
                yield HostRow(host, outcome.code, outcome.message, left, active)


def unknown_cluster(name: str) -> ServerError:
    return ServerError(_NO_CLUSTER, f"DB::Exception: Requested cluster '{name}' not found")


def _outcome(error: ServerError) -> Outcome:
    return Outcome(error.code, f"Code: {error.code}. {error.message}")
