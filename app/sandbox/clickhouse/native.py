"""One client of the native protocol: its log-in, then one query after another, until it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import ParamSpec, TypeVar

from app.sandbox.clickhouse.engine import EngineInsert
from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.session import Session
from app.sandbox.clickhouse.statements import Statement, Use, parse_statement
from app.sandbox.clickhouse.user_session import UserSession
from app.sandbox.clickhouse.wire import FromClient, Wire, split_blocks

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NOT_IMPLEMENTED = 48
_BLOCKS_AT_ONCE = 4
_PATIENCE_S = 0.01  # most queries are over before anyone could think of cancelling them


class _Cancelled(Exception):
    """The client no longer wants the rest; the connection goes on."""


class NativeClient:
    def __init__(self, services: Services, wire: Wire, address: str) -> None:
        self._services, self._wire = services, wire
        self._session = Session(services, address, "TCP")

    async def serve(self) -> None:
        """Serve the client until it leaves; its running query is stopped then."""
        try:
            if await self._log_in():
                while True:
                    await self._packet()
        except Disconnected:
            pass
        finally:
            self._session.close()
            await self._wire.close()

    async def _log_in(self) -> bool:
        hello = await self._wire.read_hello()
        try:
            await self._session.log_in(hello.user, hello.password, hello.database)
        except ServerError as error:
            self._wire.exception(error)
            await self._wire.flush()
            return False
        self._wire.hello(self._services.engine.version, self._services.time_zone)
        await self._wire.flush()
        await self._wire.read_addendum()
        return True

    async def _packet(self) -> None:
        match await self._wire.packet_type():
            case FromClient.PING:
                self._wire.pong()
            case FromClient.QUERY:
                await self._query(await self._wire.read_query())
            case FromClient.CANCEL:
                pass  # of a query that has ended meanwhile
            case FromClient.DATA:
                await self._wire.read_data()  # of an INSERT that was refused meanwhile
            case _:
                raise Disconnected
        await self._wire.flush()

    async def _query(self, query: Query) -> None:
        try:
            async with self._session.during(query):
                await self._take_external_tables()
                await self._answer(query, parse_statement(query.sql))
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

    async def _answer(self, query: Query, statement: Statement) -> None:
        user = self._session.user
        match statement.use:
            case Use.SELECT:
                await self._stream(_prepared(user, query, statement))
            case Use.INSERT_DATA:
                await self._insert(query, statement)
            case _:
                # An access statement is short, and done to its end: half of it had to be kept.
                run = self._session.call if statement.use is Use.ACCESS else self._watched
                result = await run(_run, user, query, statement, self._services)
                blocks = await split_blocks(result) if result else []
                for block in blocks:
                    await self._wire.data(block)
                if blocks:
                    self._wire.totals(user.counts, len(blocks))

    async def _stream(self, blocks: Iterator[bytes]) -> None:
        """Send the blocks as the client takes them: the next are made when these are gone."""
        sent = 0
        try:
            while True:
                part = await self._watched(_next_blocks, blocks)
                for block in part:
                    await self._wire.data(block)
                sent += len(part)
                if len(part) < _BLOCKS_AT_ONCE:
                    self._wire.totals(self._session.user.counts, sent)
                    return
                await self._wire.flush()
        except (_Cancelled, Disconnected, ServerError):
            await self._session.call(_close, blocks)
            raise

    async def _insert(self, query: Query, statement: Statement) -> None:
        session = self._session
        columns, insert = await session.call(_begin_insert, session.user, query, statement)
        await self._wire.data(columns)
        await self._wire.flush()
        try:
            while block := await self._data():
                await session.call(insert.write, block)
                await self._wire.taken()
        except BaseException:
            await session.call(insert.cancel)
            raise
        await session.call(insert.finish)
        await self._wire.taken()
        self._wire.inserted(session.user.counts)

    async def _watched(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run it on the session's thread, and stop it if the client cancels or goes away."""
        call = asyncio.ensure_future(self._session.run(function, *args, **kwargs))
        try:
            await asyncio.wait((call,), timeout=_PATIENCE_S)
            if not call.done():
                await self._listen_during(call)
            return await call
        finally:
            if not call.done():
                call.cancel()
                await asyncio.wait((call,))

    async def _listen_during(self, call: asyncio.Future[_T]) -> None:
        """Return when `call` is done or the client says something that can wait.

        Raises _Cancelled or Disconnected.
        """
        word = asyncio.ensure_future(self._wire.peek())
        try:
            await asyncio.wait((call, word), return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return
            if word.result() == FromClient.CANCEL:
                raise _Cancelled
        finally:
            word.cancel()
            await asyncio.wait((word,))  # one reader at a time: it must have let go
            if not word.cancelled():
                word.exception()


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
    return user.run(statement, services.access, services.log, services.cluster)


def _begin_insert(
    user: UserSession, query: Query, statement: Statement
) -> tuple[bytes, EngineInsert]:
    user.prepare(query, statement)
    return user.begin_insert(statement)
