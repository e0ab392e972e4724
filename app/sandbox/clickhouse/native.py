"""One client of the native protocol: its log-in, then one query after another, until it leaves.

It has a thread, which reads, calls the engine and writes: a query is handed over to nobody on its
way, which would cost more than most of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from app.sandbox.clickhouse.conduct import act
from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.reader import split_blocks
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.session import Session
from app.sandbox.clickhouse.statements import Statement, Use, parse_statement
from app.sandbox.clickhouse.watch import Cancelled, Watch
from app.sandbox.clickhouse.wire import FromClient, Wire

_NOT_IMPLEMENTED = 48
_BLOCKS_AT_ONCE = 4


class NativeClient:
    """Used on one thread alone."""

    def __init__(self, services: Services, watch: Watch, wire: Wire, address: str) -> None:
        self._services, self._watch, self._wire = services, watch, wire
        self._session = Session(services, address, "TCP")

    def serve(self) -> None:
        """Serve the client until it leaves; its running query is stopped then."""
        try:
            if self._log_in():
                while True:
                    self._packet()
        except Disconnected:
            pass
        finally:
            self._session.close()

    def _log_in(self) -> bool:
        hello = self._wire.read_hello()
        try:
            self._session.log_in(hello.user, hello.password, hello.database)
        except ServerError as error:
            self._wire.exception(error)
            self._wire.flush()
            return False
        self._wire.hello(self._services.engine.version, self._services.time_zone)
        self._wire.flush()
        self._wire.read_addendum()
        return True

    def _packet(self) -> None:
        match self._wire.packet_type():
            case FromClient.PING:
                self._wire.pong()
            case FromClient.QUERY:
                self._query(self._wire.read_query())
            case FromClient.CANCEL:
                return  # of a query that has ended meanwhile
            case FromClient.DATA:
                self._wire.read_data()  # of an INSERT that was refused meanwhile
                return
            case _:
                raise Disconnected
        self._wire.flush()

    def _query(self, query: Query) -> None:
        try:
            with self._session.during(query) as disturbances:
                for pause_s in act(disturbances, "before"):
                    time.sleep(pause_s)
                # What can be done before the rest of the query is here is done while it comes.
                statement = parse_statement(query.sql)
                self._session.user.prepare(query, statement)
                self._take_external_tables()
                self._answer(statement)
                for pause_s in act(disturbances, "after"):
                    time.sleep(pause_s)
        except ServerError as error:
            self._wire.exception(error)
            return
        except Cancelled:
            pass
        self._wire.end_of_stream()

    def _take_external_tables(self) -> None:
        """Read the Data packets that follow every query up to the one that is empty."""
        blocks = 0
        while self._data():
            blocks += 1
        if blocks:
            raise ServerError(
                _NOT_IMPLEMENTED, "DB::Exception: the sandbox does not take external tables"
            )

    def _data(self) -> bytes:
        packet = self._wire.varint()
        if packet == FromClient.CANCEL:
            raise Cancelled
        if packet != FromClient.DATA:
            raise Disconnected
        return self._wire.read_data()

    def _answer(self, statement: Statement) -> None:
        user, services = self._session.user, self._services
        match statement.use:
            case Use.SELECT:
                self._stream(user.select(statement.sql))
                return
            case Use.INSERT_DATA:
                self._insert(statement)
                return
            case Use.ACCESS:  # short, and done to its end: half of it had to be kept
                result = user.run(statement, services.access, services.log, services.cluster)
            case _:
                with self._watch.over(self._wire, self._session.thread):
                    result = user.run(statement, services.access, services.log, services.cluster)
        blocks = split_blocks(result) if result else []
        for block in blocks:
            self._wire.data(block)
        if blocks:
            self._wire.totals(user.counts, len(blocks))

    def _stream(self, blocks: Iterator[bytes]) -> None:
        """Send the blocks as the client takes them: the next are made when these are gone."""
        sent = 0
        with _closing(blocks):
            while some := self._send_some(blocks):
                sent += some
                if some < _BLOCKS_AT_ONCE:
                    break
                self._wire.flush()
        self._wire.totals(self._session.user.counts, sent)

    def _send_some(self, blocks: Iterator[bytes]) -> int:
        """Have the next blocks made, as many as are flushed together; return how many came."""
        count = 0
        with self._watch.over(self._wire, self._session.thread):
            for block in islice(blocks, _BLOCKS_AT_ONCE):
                self._wire.data(block)
                count += 1
        return count

    def _insert(self, statement: Statement) -> None:
        user = self._session.user
        columns, insert = user.begin_insert(statement)
        self._wire.data(columns)
        self._wire.flush()
        try:
            while block := self._data():
                insert.write(block)
                self._wire.taken()
        except BaseException:
            insert.cancel()
            raise
        insert.finish()
        self._wire.taken()
        self._wire.inserted(user.counts)


@contextmanager
def _closing(blocks: Iterator[bytes]) -> Iterator[None]:
    """Stop a query whose rest is not wanted."""
    try:
        yield
    finally:
        close = getattr(blocks, "close", None)
        if close is not None:
            close()
