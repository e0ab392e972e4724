"""One client: its log-in, then one query after another, until it leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import ParamSpec, TypeVar

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.conduct import Conduct
from app.sandbox.clickhouse.engine import Engine, EngineInsert
from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.login import Doorkeeper
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.statements import Statement, Use, parse_statement
from app.sandbox.clickhouse.user_session import UserSession
from app.sandbox.clickhouse.wire import FromClient, Query, Wire, split_blocks

_P = ParamSpec("_P")
_T = TypeVar("_T")

_UNEXPECTED_PACKET, _NOT_IMPLEMENTED = 101, 48
_BLOCKS_AT_ONCE = 4
_PATIENCE_S = 0.01  # most queries are over before anyone could think of cancelling them
_BETWEEN_KILLS_S = 0.05


class _Cancelled(Exception):
    """The client no longer wants the rest; the connection goes on."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions share."""

    engine: Engine
    access: Access
    doorkeeper: Doorkeeper
    running: Running
    conduct: Conduct
    time_zone: str


class Session:
    """A session owns a thread, on which all its engine calls run, one after the other."""

    def __init__(self, services: Services, wire: Wire, address: str) -> None:
        self._services, self._wire, self._address = services, wire, address
        self._thread = ThreadPoolExecutor(1, "session")
        self._thread_id = 0
        self._revision = 0

    async def run(self) -> None:
        """Serve the client until it leaves; its running query is stopped then."""
        user = None
        try:
            user = await self._log_in()
            while user is not None:
                await self._packet(user)
        except Disconnected:
            pass
        finally:
            if user is not None:
                self._thread.submit(user.close)
            self._thread.shutdown(wait=False)
            await self._wire.close()

    async def _log_in(self) -> UserSession | None:
        hello = await self._wire.read_hello()
        self._revision = hello.revision
        try:
            user = await self._call(self._open, hello.user, hello.password, hello.database)
        except ServerError as error:
            self._wire.exception(error)
            await self._wire.flush()
            return None
        self._wire.hello(self._services.engine.version, self._services.time_zone)
        await self._wire.flush()
        return user

    def _open(self, user: str, password: str, database: str) -> UserSession:
        self._thread_id = threading.get_native_id()
        login = self._services.doorkeeper.admit(user, password, self._address)
        return UserSession(self._services.engine, login, database)

    async def _packet(self, user: UserSession) -> None:
        match await self._wire.varint():
            case FromClient.PING:
                self._wire.pong()
            case FromClient.QUERY:
                await self._query(user, await self._wire.read_query(self._revision))
            case FromClient.CANCEL:
                pass  # of a query that has ended meanwhile
            case FromClient.DATA:
                await self._wire.read_data()  # of an INSERT that was refused meanwhile
            case _:
                raise Disconnected
        await self._wire.flush()

    async def _query(self, user: UserSession, query: Query) -> None:
        try:
            async with self._services.conduct.of(user.name, query, self._thread_id):
                await self._take_external_tables()
                await self._answer(user, query, parse_statement(query.sql))
        except ServerError as error:
            self._wire.exception(error)
            return
        except _Cancelled:
            pass
        self._wire.end_of_stream()

    async def _take_external_tables(self) -> None:
        """Read the Data packets that follow every query up to the one that is empty."""
        blocks = 0
        while await self._data():
            blocks += 1
        if blocks:
            raise ServerError(
                _NOT_IMPLEMENTED, "DB::Exception: the sandbox does not take external tables"
            )

    async def _data(self) -> bytes:
        packet = await self._wire.varint()
        if packet == FromClient.CANCEL:
            raise _Cancelled
        if packet != FromClient.DATA:
            raise Disconnected
        return await self._wire.read_data()

    async def _answer(self, user: UserSession, query: Query, statement: Statement) -> None:
        match statement.use:
            case Use.SELECT:
                await self._stream(_prepared(user, query, statement))
            case Use.INSERT_DATA:
                await self._insert(user, query, statement)
            case Use.ACCESS:  # short, and done to its end: half of it would have to be kept
                await self._call(_run, user, query, statement, self._services)
            case _:
                result = await self._watched(_run, user, query, statement, self._services)
                for block in await split_blocks(result) if result else ():
                    self._wire.data(block)

    async def _stream(self, blocks: Iterator[bytes]) -> None:
        """Send the blocks as the client takes them: the next are made when these are gone."""
        try:
            while True:
                part = await self._watched(_next_blocks, blocks)
                for block in part:
                    self._wire.data(block)
                if len(part) < _BLOCKS_AT_ONCE:
                    return
                await self._wire.flush()
        except (_Cancelled, Disconnected):
            await self._call(_close, blocks)
            raise

    async def _insert(self, user: UserSession, query: Query, statement: Statement) -> None:
        columns, insert = await self._call(_begin_insert, user, query, statement)
        self._wire.data(columns)
        await self._wire.flush()
        try:
            while block := await self._data():
                await self._call(insert.write, block)
        except BaseException:
            await self._call(insert.cancel)
            raise
        await self._call(insert.finish)

    async def _call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking function on the session's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def _watched(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do so, and kill the query if the client cancels it or goes away meanwhile."""
        call = asyncio.ensure_future(self._call(function, *args, **kwargs))
        done, _ = await asyncio.wait((call,), timeout=_PATIENCE_S)
        if done:
            return call.result()
        word = asyncio.ensure_future(self._wire.peek())
        try:
            await asyncio.wait((call, word), return_when=asyncio.FIRST_COMPLETED)
            gone = word.done() and word.exception() is not None
            if call.done() or not (gone or word.result() == FromClient.CANCEL):
                return await call
        finally:
            word.cancel()
            await asyncio.wait((word,))  # one reader at a time: it must have let go
        while not call.done():
            await asyncio.to_thread(self._services.running.kill, self._thread_id)
            await asyncio.wait((call,), timeout=_BETWEEN_KILLS_S)
        call.exception()  # that it was cancelled is no news
        if gone:
            raise Disconnected
        raise _Cancelled


def _prepared(user: UserSession, query: Query, statement: Statement) -> Iterator[bytes]:
    user.prepare(query, statement)
    yield from user.select(statement.sql)


def _next_blocks(blocks: Iterator[bytes]) -> list[bytes]:
    return list(islice(blocks, _BLOCKS_AT_ONCE))


def _close(blocks: Iterator[bytes]) -> None:
    """Stop a query whose rest is not wanted."""
    close = getattr(blocks, "close", None)
    if close is not None:
        close()


def _run(user: UserSession, query: Query, statement: Statement, services: Services) -> bytes:
    user.prepare(query, statement)
    return user.run(statement, services.access, services.running)


def _begin_insert(
    user: UserSession, query: Query, statement: Statement
) -> tuple[bytes, EngineInsert]:
    user.prepare(query, statement)
    return user.begin_insert(statement)
