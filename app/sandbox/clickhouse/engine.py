"""The embedded engine: one per process, one connection of it per client session.

Every call here blocks, and runs outside Python's global lock; a connection belongs to one thread.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.sandbox.clickhouse.engine_config import CUSTOM_SETTINGS, USERS
from app.sandbox.clickhouse.faults import CannotStart, ServerError, parse_engine_error
from app.sandbox.clickhouse.opening import open_access_control
from app.sandbox.clickhouse.queries import Counts
from app.sandbox.clickhouse.tokens import render_name

ADMIN = "default"
_ERROR_NAMES = "SELECT number, errorCodeToName(number) AS name FROM numbers(2000) WHERE name != ''"

# What the embedded engine sets and a server does not.
_AS_A_SERVER = "SET implicit_select = 0, allow_introspection_functions = 0"

_CANARY = (
    "CREATE ROLE `sandbox canary`",
    "CREATE USER `sandbox canary` DEFAULT ROLE `sandbox canary`",
    "DROP USER `sandbox canary`",
    "DROP ROLE `sandbox canary`",
    f"SET {CUSTOM_SETTINGS[0]}sandbox_canary = 1",
)


class Engine:
    """The engine with its access control open; tables live under `directory`."""

    def __init__(self, module: Any, directory: Path) -> None:
        self._module, self._directory = module, directory
        self.version = self.time_zone = ""
        self.opened_in_s = 0.0
        self._first: EngineSession | None = None  # when the last one closes, the engine goes

    @classmethod
    def start(cls, directory: Path, config: str, storage: str) -> Engine:
        """Return the running engine. The process works in `directory` from here on.

        `config`: its config.xml. `storage`: what it calls the place where users and roles are kept.

        Raises CannotStart where it is not a build that is known.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "users.xml").write_text(USERS)
        (directory / "config.xml").write_text(config)
        os.chdir(directory)
        import chdb  # noqa: PLC0415  half a second and 300 MB, and it reads the working directory

        library = Path(chdb.__file__).parent / "_chdb.abi3.so"
        engine = cls(chdb._chdb, directory)  # noqa: SLF001  the classes above it cost a copy
        session = engine.connect()
        began = time.monotonic()
        open_access_control(library, session.run, storage, CUSTOM_SETTINGS)
        engine.opened_in_s = time.monotonic() - began
        tempfile.tempdir = str(directory)  # where the blocks of INSERTs wait
        session.run(_user_directories(storage))
        for statement in _CANARY:
            try:
                session.run(statement)
            except ServerError as error:
                raise CannotStart(f"the opened engine refused {statement}: {error}") from error
        ((engine.version, engine.time_zone),) = session.rows("SELECT version(), timezone()")
        engine._first = session
        return engine

    def connect(self) -> EngineSession:
        return EngineSession(self._module.connect("store"))

    def convert(self, native: bytes, output_format: str, file: int) -> None:
        """Write a result, given as Native blocks, in another format to a descriptor."""
        session = self.connect()
        try:
            with tempfile.TemporaryFile() as source:
                source.write(native)
                source.flush()
                rows = f"file('/proc/self/fd/{source.fileno()}', 'Native')"
                session.export(f"SELECT * FROM {rows}", output_format, file)  # noqa: S608
        finally:
            session.close()

    def error_names(self) -> dict[int, str]:
        """Return ClickHouse's name for each of its error codes."""
        assert self._first is not None  # noqa: S101  `start` has set it
        names = self._first.rows(_ERROR_NAMES)
        return {int(code): name for code, name in names}


def _user_directories(storage: str) -> str:
    """Return what makes `system.user_directories` tell of the storages that a server has.

    The engine has one, in which a server's two are together; only the names tell them apart.
    """
    key = "zookeeper_path" if storage == "replicated" else "path"
    place = "/clickhouse/access/" if storage == "replicated" else "/var/lib/clickhouse/access/"
    return (
        "CREATE OR REPLACE VIEW system.user_directories SQL SECURITY NONE AS "
        "SELECT 'users_xml' AS name, 'users_xml' AS type, "
        """'{"path":"users.xml"}' AS params, toUInt64(1) AS precedence """
        f"UNION ALL SELECT '{storage}', '{storage}', "
        f"""'{{"{key}":"{place}"}}', toUInt64(2)"""
    )


class EngineSession:
    """One connection of the engine: its user, database, settings and temporary tables.

    `counts`: what the last statement read, wrote and returned.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.counts = Counts()
        self.run(_AS_A_SERVER)

    def run(self, sql: str) -> bytes:
        """Run one statement of any kind; return its result as Native blocks without a gap."""
        return self._query(sql, "Native")

    def rows(self, sql: str) -> list[list[Any]]:
        """Run a small query and return its rows; 64-bit numbers come as text."""
        text = self._query(sql, "JSONCompact")
        data: list[list[Any]] = json.loads(text)["data"] if text else []
        return data

    def columns(self, sql: str) -> list[tuple[str, str]]:
        """Run a query that shows something and return its columns' names and types."""
        text = self._query(sql, "JSONCompact")
        meta = json.loads(text)["meta"] if text else []
        return [(column["name"], column["type"]) for column in meta]

    def stream(self, sql: str) -> Iterator[bytes]:
        """Run one SELECT and yield its result block by block, each a Native block."""
        try:
            result = self._connection.send_query(_raw(sql), "Native")
        except _REFUSED as error:
            raise parse_engine_error(_said(error)) from None
        counts = Counts()
        try:
            while True:
                try:
                    chunk = self._connection.streaming_fetch_result(result)
                except _REFUSED as error:
                    result = None
                    raise parse_engine_error(_said(error)) from None
                if chunk.rows_read() == 0:
                    result = None
                    self.counts = counts
                    return
                counts = counts.plus(_counts(chunk))
                yield chunk.bytes()
        finally:
            if result is not None:  # the reader lost interest: stop the query
                self._connection.streaming_cancel_query(result)

    def export(self, sql: str, output_format: str, file: int) -> None:
        """Run one SELECT and write its result in any of the engine's formats to a descriptor.

        Where `file` is a pipe whose reader is gone, the query goes on until it is killed.
        """
        name = render_name(output_format)
        self.run(f"{sql}\nINTO OUTFILE '/proc/self/fd/{file}' APPEND FORMAT {name}")

    def insert(self, head: str, settings: str = "", input_format: str = "Native") -> EngineInsert:
        """Start an INSERT of data in a format. `head`: up to the list of columns."""
        return EngineInsert(self, head, settings, input_format)

    def statements_in(self, sql: str) -> int:
        """Return how many statements the text holds; 0 where it cannot be parsed."""
        count: int = self._connection.classify_query(_raw(sql))["statement_count"]
        return count

    def only_reads(self, sql: str) -> bool:
        return bool(self._connection.classify_query(_raw(sql))["query_class"].name == "READ_ONLY")

    def close(self) -> None:
        self._connection.close()

    def _query(self, sql: str, output_format: str) -> bytes:
        try:
            result = self._connection.query(_raw(sql), output_format)
        except _REFUSED as error:
            raise parse_engine_error(_said(error)) from None
        data: bytes = result.bytes()
        self.counts = _counts(result)
        return data


def _counts(result: Any) -> Counts:
    return Counts(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=result.bytes_read(),
    )


class EngineInsert:
    """Data that waits in a file without a name until all of it is there.

    The engine's own way to take an INSERT in parts (`send_insert`) reports success where a
    constraint or a table refuses the rows; reading them FROM INFILE, it says what is wrong.
    """

    def __init__(self, session: EngineSession, head: str, settings: str, input_format: str) -> None:
        self._session, self._head, self._settings = session, head, settings
        self._format = render_name(input_format)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open across calls; `cancel` closes it

    def write(self, block: bytes) -> None:
        self._file.write(block)

    def finish(self) -> None:
        """Insert what was written, or raise ServerError."""
        try:
            self._file.flush()
            self._session.run(
                f"{self._head} FROM INFILE '/proc/self/fd/{self._file.fileno()}' "
                f"COMPRESSION 'none' {self._settings} FORMAT {self._format}"
            )
        finally:
            self._file.close()

    def cancel(self) -> None:
        self._file.close()


_REFUSED = (RuntimeError, UnicodeDecodeError)  # the latter for a message with bytes of the query


def _said(error: RuntimeError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "surrogateescape")
    return str(error)


def _raw(sql: str) -> bytes:
    """Return the text as the client sent it: a statement may hold any bytes, not UTF-8 alone."""
    return sql.encode("utf-8", "surrogateescape")
