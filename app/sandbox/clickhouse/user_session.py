"""A user's session in the engine: who it is, what holds for it, and its statements.

All calls block.

Rights are the engine's to check: the session becomes its user by EXECUTE AS, and cannot go back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.cluster import Cluster, unknown_cluster
from app.sandbox.clickhouse.engine import Engine, EngineInsert, EngineSession
from app.sandbox.clickhouse.engine_config import ADMIN
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.kill import run_kill
from app.sandbox.clickhouse.login import Login
from app.sandbox.clickhouse.processes import show_processes
from app.sandbox.clickhouse.queries import Counts, Query
from app.sandbox.clickhouse.query_log import QueryLog
from app.sandbox.clickhouse.reader import header_block
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.settings import CannotTakeBack, QuerySettings, render_setting
from app.sandbox.clickhouse.statements import (
    Statement,
    Use,
    find_parameters,
    parse_statement,
    split_parallel,
)
from app.sandbox.clickhouse.tokens import render_name, render_text

_T = TypeVar("_T")
_SYNTAX_ERROR, _READONLY = 62, 164
_READS_BY_GET = (
    " For queries over HTTP, method GET implies readonly. You should use method POST for modifying "
    "queries"
)
_FLUSH = re.compile(r"\s*SYSTEM\s+FLUSH\s+LOGS\b", re.IGNORECASE)
_COUNTING = {"max_concurrent_queries_for_user", "max_concurrent_queries_for_all_users"}
_TOO_MANY, _PATIENCE_S, _BETWEEN_TRIES_S = 202, 5, 0.02
_NOT_FOR_INSERT = {"MATERIALIZED", "ALIAS"}


class UserSession:
    def __init__(self, engine: Engine, login: Login, database: str, running: Running) -> None:
        """Raises ServerError 81 where the database does not exist, as a server does at log-in."""
        self._engine, self._login, self._running = engine, login, running
        self._user, self._database = login.user, database or login.database
        self._asked: EngineSession | None = None  # what only asks, and is not the user's
        self._temporary = False  # whether there may be tables of this session alone
        self._open()

    def _open(self, *, in_turn: bool = True) -> None:
        """Begin the session in the engine: its settings, then its user.

        Limits of how many queries run at once come after that, `in_turn`, since as the
        administrator's they would count what the administrator runs elsewhere. A constraint of the
        user's may forbid it.
        """
        self._session = self._engine.connect()
        try:
            if self._database:
                self._session.run(f"USE {render_name(self._database)}")
            settings = dict(self._login.settings)
            read_only = settings.pop("readonly", None)
            counted = {name: settings.pop(name) for name in _COUNTING & settings.keys() if in_turn}
            self._set(settings)
            self._become()
            if counted and not self._sets(counted):
                self._session.close()
                self._open(in_turn=False)
                return
            self._read_only = read_only is not None and not self._sets({"readonly": read_only})
        except BaseException:
            self._session.close()
            raise
        self._settings = QuerySettings(self._session, self._login.settings)

    def _set(self, settings: Mapping[str, str]) -> None:
        for name, value in settings.items():
            self._session.run(f"SET {render_setting(name, value)}")

    def _sets(self, settings: Mapping[str, str]) -> bool:
        """Set what a constraint of the user's may be in the way of; tell whether that worked.

        `readonly` is set last, since it forbids all other changes, and is up to `prepare` if not.
        """
        try:
            self._set(settings)
        except ServerError:
            return False
        return True

    def _become(self) -> None:
        """Be the user from here on, as soon as no query of the administrator's counts."""
        if self._user == ADMIN:
            return
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._session.run(f"EXECUTE AS {render_name(self._user)}")
            except ServerError as error:
                if error.code != _TOO_MANY or time.monotonic() > until:
                    raise
                time.sleep(_BETWEEN_TRIES_S)
            else:
                return

    @property
    def name(self) -> str:
        return self._user

    @property
    def database(self) -> str:
        """The one that names without a database are in."""
        return self._database or "default"

    def set_roles(self, roles: Sequence[str]) -> None:
        """Go on with these roles alone. Raises ServerError 512 for one that was not granted."""
        self._session.run(f"SET ROLE {', '.join(map(render_name, roles))}")

    def close(self) -> None:
        self._session.close()
        if self._asked is not None:
            self._asked.close()

    def prepare(self, query: Query, statement: Statement) -> None:
        """Make the session ready for a query, or raise ServerError where it may not be run."""
        self._login.check()
        try:
            self._settings.apply(query.settings, query.important)
        except CannotTakeBack:
            self._session.close()
            self._open()
            self._settings.apply(query.settings, query.important)
        for name, value in query.parameters.items():
            self._session.run(f"SET {render_name(f'param_{name}')} = {render_text(value)}")
        read_only = self._read_only or query.only_reads
        if read_only and not self._session.only_reads(statement.sql):
            raise ServerError(
                _READONLY,
                f"DB::Exception: {self._user}: Cannot execute query in readonly mode."
                + (_READS_BY_GET if query.only_reads else ""),
            )
        if ";" in statement.sql and self._session.statements_in(statement.sql) > 1:
            raise ServerError(
                _SYNTAX_ERROR,
                "DB::Exception: Syntax error (Multi-statements are not allowed): "
                "failed at the end of the first statement",
            )

    def select(self, sql: str) -> Iterator[bytes]:
        """Yield a SELECT's blocks; where it has no rows, a block that names its columns."""
        empty = True
        for block in self._session.stream(show_processes(sql, self._running.now())):
            empty = False
            yield block
        if empty:
            described = self._ask(lambda session: session.rows(f"DESCRIBE ({sql}\n)"))
            yield header_block((name, kind) for name, kind, *_ in described)

    def run(
        self, statement: Statement, access: Access, log: QueryLog, cluster: Cluster | None
    ) -> bytes:
        """Run anything but a SELECT or an INSERT of the client's blocks; return its result."""
        if statement.use is Use.PARALLEL:
            self._run_all(split_parallel(statement.sql), access, log, cluster)
            return b""
        if statement.use is Use.ACCESS and "{" in statement.sql:
            statement = replace(statement, sql=self._with_parameters(statement.sql))
        sql = statement.sql
        if statement.cluster:
            if cluster is None:
                raise unknown_cluster(statement.cluster)
            return cluster.run(self._session, statement, self._user, self.database)
        match statement.use:
            case Use.ACCESS:
                return access.execute(self._session, sql, self._user, self.database)
            case Use.KILL:
                return run_kill(self._session, sql, self._running)
            case Use.SETTINGS | Use.USE:
                result = self._session.run(sql)
                self._settings.note_set()
                ((self._user, self._database),) = self._session.rows(
                    "SELECT currentUser(), currentDatabase()"
                )
                return result
            case _:
                self._temporary |= "TEMPORARY" in sql.upper()
                sql = show_processes(sql, self._running.now())
                result = self._session.run(sql) or self._header(sql)
                if _FLUSH.match(sql):  # which the engine has nothing to do for, but may refuse
                    log.flush()
                return result

    def _run_all(
        self, parts: Sequence[str], access: Access, log: QueryLog, cluster: Cluster | None
    ) -> None:
        """Run each of them, whatever becomes of the others; raises what the first ended with."""
        errors = []
        for part in parts:
            try:
                self.run(parse_statement(part), access, log, cluster)
            except ServerError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _with_parameters(self, sql: str) -> str:
        """Return an access statement with the values of its `{name:Type}`.

        What is kept of it must be the same for whoever runs it again.
        """
        for at, end, name, is_identifier in reversed(find_parameters(sql)):
            ((value,),) = self._session.rows(f"SELECT {{{name}:String}}")
            text = render_name(value) if is_identifier else render_text(value)
            sql = sql[:at] + text + sql[end:]
        return sql

    def _header(self, sql: str) -> bytes:
        """Return the columns of a statement that shows something and found nothing."""
        if not sql.lstrip()[:4].upper().startswith("SHOW"):
            return b""
        columns = self._ask(lambda session: session.columns(sql))
        return header_block(columns) if columns else b""

    @property
    def counts(self) -> Counts:
        """What the last statement read, wrote and returned."""
        return self._session.counts

    def export(self, statement: Statement, output_format: str, file: int) -> None:
        """Write a SELECT's result in a format to a descriptor, as it comes."""
        sql = show_processes(statement.sql, self._running.now())
        self._session.export(sql, output_format, file)

    def insert(self, statement: Statement) -> EngineInsert:
        """Return where the data of an INSERT goes, in the format that the statement names."""
        return self._session.insert(statement.sql, statement.settings, statement.format)

    def begin_insert(self, statement: Statement) -> tuple[bytes, EngineInsert]:
        """Return the columns that the client is to send, and where its blocks go.

        What the user may not do is refused when they are there.
        """
        try:
            columns = self._ask(lambda session: self._insert_columns(session, statement))
        except ServerError:
            self._session.insert(statement.sql).finish()  # says what is wrong with the INSERT
            raise
        return header_block(columns), self._session.insert(statement.sql, statement.settings)

    def _ask(self, question: Callable[[EngineSession], list[_T]]) -> list[_T]:
        """Ask a session that is not the user's, so that no quota of the user pays for it.

        The user's own knows more: settings, parameters, temporary tables. It is asked where it has
        any, or the other one cannot tell.
        """
        if self._temporary or not self._settings.are_untouched:
            return question(self._session)
        if self._asked is None:
            self._asked = self._engine.connect()
        try:
            self._asked.run(f"USE {render_name(self.database)}")
            return question(self._asked)
        except ServerError:
            return question(self._session)

    @staticmethod
    def _insert_columns(session: EngineSession, statement: Statement) -> list[tuple[str, str]]:
        described = session.rows(f"DESCRIBE TABLE {statement.target}")
        if not statement.columns:
            return [(row[0], row[1]) for row in described if row[2] not in _NOT_FOR_INSERT]
        types = {name: kind for name, kind, *_ in described}
        named = statement.column_names
        if named is not None and all(name in types for name in named):
            return [(name, types[name]) for name in named]
        chosen = session.rows(
            f"DESCRIBE (SELECT {statement.columns[1:-1]} FROM {statement.target})"  # noqa: S608
        )  # the client's own text, run as the client
        return [(name, kind) for name, kind, *_ in chosen]
