"""The server's users and what survives of them: secrets beside the engine, a journal behind it.

The engine decides who may do what and holds every entity in memory. Here its access statements are
put in a row, run, and journalled before they are acknowledged; what the engine never shows again,
the secrets, is kept for the log-in.

A record of the journal is one of

    {"sql": …}                         a statement that was acknowledged
    {"sql": …, "failed": true}         one that stopped at an entity, with those before it done
    {"sql": …, "as": [user, database]}  one that only its sender can run again
    {"together": […], "methods": {…}}  from a compaction: statements in any order, users' secrets
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any

from app.sandbox.clickhouse.access_statements import (
    NOT_IMPLEMENTED,
    AccessStatement,
    find_valid_for,
    first_entities,
    named,
    parse_access_statement,
)
from app.sandbox.clickhouse.credentials import Method, hash_password
from app.sandbox.clickhouse.engine import Engine, EngineSession
from app.sandbox.clickhouse.engine_config import ADMIN
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.journal import Journal
from app.sandbox.clickhouse.shared_journal import SharedJournal
from app.sandbox.clickhouse.snapshot import render_snapshot
from app.sandbox.clickhouse.statements import after_execute_as
from app.sandbox.clickhouse.switches import ReadOnly, Stop, Switches
from app.sandbox.clickhouse.tokens import parse_tokens, render_name, render_text

log = logging.getLogger(__name__)

_READ_ONLY_STORAGE = 495
_NEVER = "1970-01-01 00:00:00"
# A statement that ends with one of these has changed nothing: its text, its names or the caller's
# rights were refused before the first entity was touched.
_NOTHING_DONE = frozenset({36, 62, 115, 164, 192, 344, 497, 509, 511})
# GRANTEES are looked up last, when the user is made or changed already: such a statement can end
# with 511 and yet be done. Run again, it does the same.
_ROLE_OR_GRANTEE_UNKNOWN = 511
# These stop at the entity that is in the way; those written before it are done, in that order, so
# that running the statement again on the same state does the same.
_DONE_IN_ORDER = {"CREATE": 493, "DROP": 492}
_COMPACT_AFTER = 1500  # records beyond those that the last compaction left: 0.4 s of replay


class Access:
    """`journal`: this server's own, or the one that it shares with the nodes of its cluster."""

    def __init__(
        self, engine: Engine, journal: Journal | SharedJournal, switches: Switches
    ) -> None:
        self._engine, self._switches, self._journal = engine, switches, journal
        self._lock = threading.Lock()
        self._methods: dict[str, tuple[Method, ...]] = {}
        self._compacted = 0
        self._behind = False  # the last change could not be written down: the next one keeps all
        self._admin = engine.connect()
        # What a client ran with a larger limit of its own must run again, too.
        self._admin.run(f"SET max_query_size = {1 << 30}")
        self.generation = 0  # counts changes, so that what is derived can be remembered

    def restore(self) -> None:
        """Bring back what was acknowledged."""
        self._methods = {ADMIN: (Method("plaintext_password"),)}
        self._admin.run("SET max_threads = 1")  # twice as fast for statements run together
        self._do_again(self._journal.open())
        self._admin.run("SET max_threads = DEFAULT")
        if self._journal.shared and self._journal.records > _COMPACT_AFTER:
            with self._journal.writing() as news:
                self._do_again(news)
                if self._journal.may_be_replaced():
                    self._compact()

    def follow(self) -> None:
        """Do what other nodes did, as far as it is due."""
        with self._lock:
            self._do_again(self._journal.due())

    def _do_again(self, texts: Iterable[str]) -> None:
        for text in texts:
            record = json.loads(text)
            if "sql" in record:
                self._run_again(record["sql"], *record.get("as", (ADMIN, "default")))
            else:
                self._run_together(record["together"])
                self._methods |= {
                    name: tuple(Method(**method) for method in methods)
                    for name, methods in record["methods"].items()
                }
                self.generation += 1

    def execute(self, session: EngineSession, sql: str, caller: str, database: str) -> bytes:
        """Run one access statement as `session`; when this returns or raises, it is on disk."""
        if self._switches.take(ReadOnly, sql, caller):
            raise ServerError(
                _READ_ONLY_STORAGE,
                "DB::Exception: Cannot change access entities because this storage is readonly",
            )
        for stop in self._switches.take(Stop, sql, caller):
            self._execute(session, first_entities(sql, stop.after), caller, database)
            raise ServerError(stop.code, f"DB::Exception: {stop.message}")
        sql = self._dated(session, sql)
        tokens = parse_tokens(sql)
        rest = after_execute_as(tokens)
        if len(rest) > 1 and rest[0].is_word("CREATE") and rest[1].is_word("TOKEN"):
            owner = caller if rest is tokens else named(tokens[2])
            return self._create_token(session, sql, owner, database)
        return self._execute(session, sql, caller, database)

    @staticmethod
    def _dated(session: EngineSession, sql: str) -> str:
        """Return the statement with an end in the place of each VALID FOR: it is counted from now,
        not from when the journal is read.
        """
        for start, end, how_long in reversed(find_valid_for(sql)):
            try:
                ((until,),) = session.rows(f"SELECT toString(now() + ({how_long}))")
            except ServerError:
                return sql  # the engine says what is wrong with it
            sql = f"{sql[:start]}VALID UNTIL {render_text(until)}{sql[end:]}"
        return sql

    def _create_token(self, session: EngineSession, sql: str, owner: str, database: str) -> bytes:
        """Run CREATE TOKEN: the engine makes a password more for its owner, and tells it once."""
        if any(token.is_word("GRANTS") for token in parse_tokens(sql)):
            raise ServerError(
                NOT_IMPLEMENTED, "DB::Exception: the sandbox has no GRANTS of a token"
            )
        with self._lock, self._journal.writing() as news:
            self._do_again(news)
            ((token, until),) = session.rows(sql)
            method = hash_password("sha256_password", token)
            valid = "" if until == _NEVER else f" VALID UNTIL {render_text(until)}"
            added = (
                f"ALTER USER {render_name(owner)} ADD IDENTIFIED WITH sha256_hash "
                f"BY {render_text(method.secret)} SALT {render_text(method.salt)}{valid}"
            )
            statement = parse_access_statement(added, owner, database)
            self._follow(statement, statement.users)
            self._keep({"sql": added})
            told = f"{render_text(token)} AS token, toDateTime64({render_text(until)}, 0)"
            return self._admin.run(f"SELECT {told} AS valid_until")

    def _execute(self, session: EngineSession, sql: str, caller: str, database: str) -> bytes:
        try:
            statement = parse_access_statement(sql, caller, database)
        except ServerError:
            if session.statements_in(sql) == 1:
                raise
            return session.run(sql)  # no statement at all: the engine says why
        if statement.read_only is not None and _may(session, statement.right, caller):
            raise ServerError(
                _READ_ONLY_STORAGE,
                f"DB::Exception: Cannot change {statement.read_only} in users_xml "
                "because this storage is readonly",
            )
        with self._lock, self._journal.writing() as news:
            self._do_again(news)
            try:
                result = session.run(statement.sql)
            except ServerError as error:
                self._keep_what_was_done(statement, error)
                raise
            self._follow(statement, statement.users)
            self._keep(_record(statement, caller, database, shared=self._journal.shared))
            return result

    def methods(self, user: str) -> tuple[Method, ...]:
        return self._methods.get(user, ())

    def close(self) -> None:
        with self._lock:
            self._journal.close()

    def _keep_what_was_done(self, statement: AccessStatement, error: ServerError) -> None:
        late = statement.grantees and error.code == _ROLE_OR_GRANTEE_UNKNOWN
        if not late and (statement.entities == 1 or error.code in _NOTHING_DONE):
            return
        self._follow(statement, self._done(statement))
        if (late or _DONE_IN_ORDER.get(statement.verb) == error.code) and statement.journal:
            self._keep({"sql": statement.journal, "failed": True})
        else:
            self._keep(
                {"together": self._users_now(), "methods": {}} if self._journal.shared else None
            )

    def _users_now(self) -> list[str]:
        """Return what gives every user the default roles, settings and grantees that it has.

        That is what a statement can have left half done in no order that is known.
        """
        users = [sql for (sql,) in self._admin.rows("SHOW ACCESS") if sql.startswith("CREATE USER")]
        every = (sql for together in render_snapshot(users, self._methods) for sql in together)
        return [sql for sql in every if sql.startswith("ALTER USER")]

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
        if statement.new_name is not None and users:
            moved = self._methods.pop(users[0], None)
            if moved is not None:
                self._methods[statement.new_name] = moved

    def _keep(self, record: Mapping[str, Any] | None) -> None:
        """Write down what was done: as `record`, or as the state that there is now."""
        behind, self._behind = self._behind, True
        much = not self._journal.shared and self._journal.records > self._compacted + _COMPACT_AFTER
        if behind or record is None or much:
            self._compact()
        else:
            self._journal.append(json.dumps(record))
        self._behind = False

    def _compact(self) -> None:
        """Write the state in the place of the history that led to it."""
        self._journal.replace(map(json.dumps, self._records()))
        self._compacted = self._journal.records

    def _records(self) -> Iterator[dict[str, Any]]:
        entities = [line for (line,) in self._admin.rows("SHOW ACCESS")]
        for together in render_snapshot(entities, self._methods):
            yield {"together": together, "methods": {}}
        secrets = {
            name: [asdict(method) for method in methods]
            for name, methods in self._methods.items()
            if name != ADMIN
        }
        yield {"together": [], "methods": secrets}

    def _run_again(self, sql: str, caller: str, database: str) -> None:
        """Do again what was once acknowledged, in full or up to where it stopped."""
        statement = parse_access_statement(sql, caller, database)
        users: Sequence[str] = statement.users
        try:
            self._run_as(statement.sql, caller, database)
        except ServerError as error:
            log.info("journal.stopped code=%d", error.code)
            users = self._done(statement)
        self._follow(statement, users)

    def _run_as(self, sql: str, caller: str, database: str) -> None:
        if (caller, database) == (ADMIN, "default"):
            self._admin.run(sql)
            return
        session = self._engine.connect()
        with self._database(database), closing(session):
            session.run(f"USE {render_name(database)}")
            if caller != ADMIN:
                session.run(f"EXECUTE AS {render_name(caller)}")
            session.run(sql)

    @contextmanager
    def _database(self, name: str) -> Iterator[None]:
        """Have a database of that name for a while: names of tables are completed with it.

        The node that a statement was sent to has it; this one may have none.
        """
        there = self._admin.rows(f"EXISTS DATABASE {render_name(name)}") == [[1]]
        if not there:
            self._admin.run(f"CREATE DATABASE {render_name(name)} ENGINE = Memory")
        try:
            yield
        finally:
            if not there:
                self._admin.run(f"DROP DATABASE {render_name(name)}")

    def _run_together(self, statements: Sequence[str]) -> None:
        """Run statements that do not depend on one another: five times as fast as one by one."""
        if not statements:
            return
        try:
            self._admin.run("\nPARALLEL WITH\n".join(statements))
        except ServerError:
            for sql in statements:
                try:
                    self._admin.run(sql)
                except ServerError as error:  # those that were done are refused: they exist
                    log.info("journal.refused code=%d", error.code)


def _record(
    statement: AccessStatement, caller: str, database: str, *, shared: bool
) -> dict[str, Any] | None:
    """Return what to write down of a statement that was done; None where nothing says it all."""
    if statement.journal is not None:
        return {"sql": statement.journal}
    return {"sql": statement.sql, "as": [caller, database]} if shared else None


def _may(session: EngineSession, right: str, caller: str) -> bool:
    """Tell whether the caller has the right: if not, the engine refuses, with 497 as a server."""
    return caller == ADMIN or session.rows(f"CHECK GRANT {right}") == [[1]]


def _altered(held: tuple[Method, ...], statement: AccessStatement) -> tuple[Method, ...]:
    methods = held
    if statement.methods is not None:
        methods = held + statement.methods if statement.adds else statement.methods
    return methods[-1:] if statement.resets else methods
