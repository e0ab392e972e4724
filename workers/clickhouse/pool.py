"""Connections to one target: few, kept, each with a deadline, with fail-over to the next host.

The driver's own pool holds a lock over connects, and the driver's own time-outs may never end: a
cancelled read waits for the peer to close. So here every wait runs in a task of its own; when its
time is up the transport is aborted first, which lets the task end at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

from asynch.connection import Connection
from asynch.cursors import Cursor

from app.errors import StatementRefused, TargetUnavailable
from workers.clickhouse.breaker import Breaker
from workers.clickhouse.refusals import BROKEN, mapped, timed_out

FRESH_S = 1.0  # after an answer a connection is taken to be alive for so long

T = TypeVar("T")
Row = tuple[Any, ...]

_QUIET = logging.NullHandler()
_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def new_query_id() -> str:
    """Return an id by which `system.query_log` and the ledger know a statement."""
    return f"scim-{uuid4()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where and as whom to connect. `hosts`: (name, port); the first that answers is kept.

    `query_s`: for one statement, with the reconnect that the driver may do before it.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(default="", repr=False)
    database: str = "default"
    secure: bool = False
    ca_file: Path | None = None
    max_connections: int = 8
    connect_s: float = 5.0
    query_s: float = 60.0


class Session:
    """One connection, in one task's hands. Statements run one after the other."""

    def __init__(self, connection: Connection, host: tuple[str, int], query_s: float) -> None:
        self._connection, self.host, self._query_s = connection, host, query_s
        self.usable = True
        self._answered = 0.0
        driver: Any = connection._connection  # noqa: SLF001 - see `_ping`
        self._ask, driver.ping = driver.ping, self._ping

    async def query(
        self,
        sql: str,
        *,
        log_comment: str = "",
        query_id: str | None = None,
        settings: Mapping[str, Any] = _NO_SETTINGS,
    ) -> Sequence[Row]:
        """Return all rows. Raises TargetUnavailable or StatementRefused.

        After TargetUnavailable the statement may or may not have been carried out, and this
        connection is gone. `log_comment` and `query_id` show in `system.query_log` beside the
        statement.
        """
        cursor = self._cursor({"log_comment": log_comment, **settings}, query_id)

        async def run() -> Sequence[Row]:
            await cursor.execute(sql)
            return await cursor.fetchall()

        return await self._watched(run(), sql)

    async def insert(self, sql: str, rows: Sequence[Row], settings: Mapping[str, Any]) -> None:
        """Insert `rows` as one block; `sql` ends with VALUES. Raises as `query` does."""
        cursor = self._cursor(settings, None)

        async def run() -> None:
            await cursor.execute(sql, list(rows))
            # The driver reads one packet after the data. Where that was the progress, or the
            # profile's events, an error may still follow.
            driver: Any = self._connection._connection  # noqa: SLF001 - see above
            while driver.is_query_executing:
                await driver.receive_packet()

        await self._watched(run(), sql)

    def _cursor(self, settings: Mapping[str, Any], query_id: str | None) -> Cursor:
        cursor = self._connection.cursor()
        cursor.set_settings(dict(settings))  # type: ignore[no-untyped-call]
        cursor.set_query_id(query_id or new_query_id())  # type: ignore[no-untyped-call]
        return cursor

    async def _ping(self) -> bool:
        """Whether the connection lives. The driver asks before each statement, which costs a round
        trip, and opens another if it does not.
        """
        driver: Any = self._connection._connection  # noqa: SLF001 - the driver has no switch
        if time.monotonic() - self._answered < FRESH_S and driver.writer is not None:
            closing = driver.writer.writer.transport.is_closing()
            if not (closing or driver.reader.reader.at_eof()):
                return True
        return bool(await self._ask())

    async def _watched(self, work: Coroutine[Any, Any, T], sql: str) -> T:
        try:
            result = await _within(self._query_s, self._connection, work)
        except TimeoutError:
            self.usable = False
            raise timed_out("a statement", self._query_s, statement=sql) from None
        except BROKEN as error:
            failure = mapped(error, statement=sql)
            self.usable = isinstance(failure, StatementRefused)
            raise failure from error
        except asyncio.CancelledError:
            self.usable = False
            raise
        self._answered = time.monotonic()
        return result

    def abort(self) -> None:
        """Close the socket without a word."""
        self.usable = False
        _abort(self._connection)


class Pool:
    """At most `max_connections` sessions of one endpoint, all to the same host while it answers.

    So what one of them wrote the next one reads, though replicas hear of it later. `breaker`: keeps
    callers from an endpoint that was away a moment ago; without one each finds out.
    """

    def __init__(self, endpoint: Endpoint, breaker: Breaker | None = None) -> None:
        self.endpoint = endpoint
        self._breaker = breaker
        self._free = asyncio.Semaphore(endpoint.max_connections)
        self._idle: list[Session] = []
        self._first = 0
        self._closed = False
        driver = logging.getLogger("asynch")
        driver.addHandler(_QUIET)  # where nobody has set up logs it would print
        if driver.level < logging.INFO:  # it logs each statement at DEBUG
            driver.setLevel(logging.INFO)

    def check(self) -> None:
        """Raise TargetUnavailable if it is known to be no use to ask now."""
        if self._breaker is not None:
            self._breaker.check()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend a session; waits while all are lent. Raises TargetUnavailable if no host answers."""
        async with self._free:
            with nullcontext() if self._breaker is None else self._breaker.watching():
                async with self._lent() as session:
                    yield session

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Session]:
        session = self._idle.pop() if self._idle else await self._connect()
        try:
            yield session
        except TargetUnavailable:
            self._leave(session.host)
            raise
        finally:
            if session.usable and not self._closed and session.host == self._host(0):
                self._idle.append(session)
            else:
                session.abort()

    async def close(self) -> None:
        """Drop the idle sessions; one that is lent goes when it comes back."""
        self._closed = True
        self._drop_idle()

    def _leave(self, host: tuple[str, int]) -> None:
        """Begin the next connect with another host; the idle sessions of this one are suspect."""
        if host == self._host(0):
            self._first += 1
            self._drop_idle()

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def _host(self, turn: int) -> tuple[str, int]:
        hosts = self.endpoint.hosts
        return hosts[(self._first + turn) % len(hosts)]

    async def _connect(self) -> Session:
        if self._closed:
            raise TargetUnavailable("the connections to this target are closed")
        failures: list[str] = []
        for turn in range(len(self.endpoint.hosts)):
            host = self._host(turn)
            try:
                session = await self._connect_to(host)
            except TargetUnavailable as error:
                failures.append(f"{host[0]}:{host[1]}: {error}")
                code = error.code
            else:
                if turn:
                    self._first += turn
                    self._drop_idle()
                return session
        raise TargetUnavailable("; ".join(failures), code=code)

    async def _connect_to(self, host: tuple[str, int]) -> Session:
        at = self.endpoint
        connection = Connection(
            host=host[0],
            port=host[1],
            user=at.user,
            password=at.password,
            database=at.database,
            secure=at.secure,
            ca_certs=str(at.ca_file) if at.ca_file else None,
            connect_timeout=at.connect_s,
            send_receive_timeout=at.query_s,
            sync_request_timeout=at.connect_s,
        )
        try:
            await _within(at.connect_s, connection, connection.connect())
        except TimeoutError:
            raise timed_out("a connect", at.connect_s) from None
        except BROKEN as error:
            _abort(connection)
            raise mapped(error, logging_in=True) from error
        return Session(connection, host, at.query_s)


async def _within(seconds: float, connection: Connection, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; after `seconds`, or when cancelled, abort the connection.

    Raises TimeoutError. Doesn't wait for the driver to tidy up: on a dead peer that has no end.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _give_up(task, connection)
        raise
    if not done:
        _give_up(task, connection)
        raise TimeoutError
    return task.result()


def _give_up(task: asyncio.Task[Any], connection: Connection) -> None:
    _abort(connection)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    task.cancel()


def _abort(connection: Connection) -> None:
    driver: Any = connection._connection  # noqa: SLF001 - the driver offers no way to abort
    writer = driver.writer
    if writer is not None:
        writer.writer.transport.abort()
