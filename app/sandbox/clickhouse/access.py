"""The server's users and what survives of them: secrets beside the engine, a journal behind it.

The engine decides who may do what and holds every entity in memory. Here its access statements are
put in a row, run, and journalled before they are acknowledged; what the engine never shows again,
the secrets, is kept for the log-in.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.sandbox.clickhouse.access_statements import AccessStatement, parse_access_statement
from app.sandbox.clickhouse.credentials import Method
from app.sandbox.clickhouse.engine import ADMIN, Engine, EngineSession
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.journal import Journal
from app.sandbox.clickhouse.snapshot import render_snapshot

log = logging.getLogger(__name__)

# A statement that ends with one of these has changed nothing: its text, its names or the caller's
# rights were refused before the first entity was touched.
_NOTHING_DONE = frozenset({36, 62, 115, 164, 192, 344, 497, 509, 511})
# These stop at the entity that is in the way; those written before it are done, in that order, so
# that running the statement again on the same state does the same.
_DONE_IN_ORDER = {"CREATE": 493, "DROP": 492}
_COMPACT_AFTER = 2000  # records beyond twice what the last compaction left
_BATCH = 100_000  # characters in one text for the engine, which takes 262,144 bytes


class Access:
    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._journal = Journal(directory / "access.journal")
        self._lock = threading.Lock()
        self._methods: dict[str, tuple[Method, ...]] = {}
        self._compacted = 0
        self._admin = engine.connect()
        self.generation = 0  # counts changes, so that what is derived can be remembered

    def restore(self) -> int:
        """Bring back what was acknowledged; return the number of records."""
        records = [json.loads(text) for text in self._journal.open()]
        self._methods = {ADMIN: (Method("plaintext_password"),)}
        waiting: list[str] = []
        size = 0
        for record in records:
            failed = record.get("failed", False)
            if failed or size + len(record["sql"]) > _BATCH:
                self._run_again(waiting)
                waiting, size = [], 0
            if failed:
                self._run_again([record["sql"]])
            else:
                waiting.append(record["sql"])
                size += len(record["sql"])
        self._run_again(waiting)
        return len(records)

    def execute(self, session: EngineSession, sql: str, caller: str, database: str) -> bytes:
        """Run one access statement as `session`; when this returns or raises, it is on disk."""
        try:
            statement = parse_access_statement(sql, caller, database)
        except ServerError:
            if session.statements_in(sql) == 1:
                raise
            return session.run(sql)  # no statement at all: the engine says why
        with self._lock:
            try:
                result = session.run(statement.sql)
            except ServerError as error:
                self._keep_what_was_done(statement, error)
                raise
            self._follow(statement, statement.users)
            self._keep(statement.journal)
            return result

    def methods(self, user: str) -> tuple[Method, ...]:
        return self._methods.get(user, ())

    def close(self) -> None:
        with self._lock:
            self._journal.close()

    def _keep_what_was_done(self, statement: AccessStatement, error: ServerError) -> None:
        if statement.entities == 1 or error.code in _NOTHING_DONE:
            return
        self._follow(statement, self._done(statement))
        if _DONE_IN_ORDER.get(statement.verb) == error.code:
            self._keep(statement.journal, failed=True)
        else:
            self._keep(None)

    def _done(self, statement: AccessStatement) -> tuple[str, ...]:
        """Return the users of a statement that stopped half-way to whom it was done."""
        if not statement.users:
            return ()
        there = {name for (name,) in self._admin.rows("SELECT name FROM system.users")}
        if statement.verb == "CREATE":
            return tuple(u for u in statement.users if u in there and u not in self._methods)
        if statement.verb == "DROP":
            return tuple(u for u in statement.users if u not in there)
        return statement.users

    def _follow(self, statement: AccessStatement, users: Sequence[str]) -> None:
        """Keep the secrets of `users` as the statement leaves them."""
        self.generation += 1
        for user in users:
            held = self._methods.get(user)
            if statement.verb == "DROP":
                self._methods.pop(user, None)
            elif statement.verb == "CREATE":
                if held is None or not statement.if_not_exists:
                    self._methods[user] = statement.methods or (Method("no_password"),)
            elif held is not None:
                self._methods[user] = _altered(held, statement)
        if statement.new_name is not None and statement.users and users:
            moved = self._methods.pop(statement.users[0], None)
            if moved is not None:
                self._methods[statement.new_name] = moved

    def _keep(self, sql: str | None, *, failed: bool = False) -> None:
        if sql is None or self._journal.records > 2 * self._compacted + _COMPACT_AFTER:
            self._compact()
        else:
            self._journal.append(json.dumps({"sql": sql} | ({"failed": True} if failed else {})))

    def _compact(self) -> None:
        """Write the state in the place of the history that led to it."""
        self._journal.replace(self._records())
        self._compacted = self._journal.records

    def _records(self) -> Iterator[str]:
        entities = [line for (line,) in self._admin.rows("SHOW ACCESS")]
        for sql in render_snapshot(entities, self._methods):
            yield json.dumps({"sql": sql})

    def _run_again(self, statements: Sequence[str]) -> None:
        """Run what was once acknowledged, many at a time, and follow the secrets in it.

        Where a batch stops, its statements are run one by one: those that were done already are
        refused or change nothing, so the end is the same.
        """
        if not statements:
            return
        parsed = [parse_access_statement(sql, ADMIN, "default") for sql in statements]
        stopped = False
        try:
            self._admin.run(";\n".join(statement.sql for statement in parsed))
        except ServerError:
            stopped = True
        for statement in parsed:
            users: Sequence[str] = statement.users
            if stopped:
                try:
                    self._admin.run(statement.sql)
                except ServerError as error:
                    log.info("journal.refused code=%d", error.code)
                    users = self._done(statement)
            self._follow(statement, users)


def _altered(held: tuple[Method, ...], statement: AccessStatement) -> tuple[Method, ...]:
    methods = held
    if statement.methods is not None:
        methods = held + statement.methods if statement.adds else statement.methods
    return methods[-1:] if statement.resets else methods
