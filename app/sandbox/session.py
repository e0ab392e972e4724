"""One person's log-in on a target: what the demo, the benchmarks and the tests look through.

Apart from the workers' access to targets on purpose: what is shown or checked is read by a client
of its own, over the native protocol, as a person with a ClickHouse client would see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import asynch
from asynch.errors import ServerException

from app.errors import ClickHouseScimError

Row = tuple[Any, ...]
Result = TypeVar("Result")

TIMEOUT_S = 20.0

_QUIET = logging.NullHandler()  # for what the driver logs: it raises the same


class Refused(ClickHouseScimError):
    """The server said no. `code`: ClickHouse's error code, `reason`: its text, on one line."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


class Unreachable(ClickHouseScimError):
    """No server answered, or not in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server's native protocol, and an account there. `host`: an IPv6 address has no brackets."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    secure: bool


def parse_address(url: str) -> Address:
    """Return what `clickhouse://user:password@host:port/database` says; `clickhouses` is with TLS.

    Raises ValueError, whose text does not show the URL: there may be a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port, secure = parts.hostname, parts.port, parts.scheme == "clickhouses"
    except ValueError:
        host, port, secure = None, None, False
    if host is None or parts.scheme not in {"clickhouse", "clickhouses"}:
        raise ValueError("it should be clickhouse://USER:PASSWORD@HOST:PORT, special signs as %XX")
    return Address(
        host=host,
        port=port or (9440 if secure else 9000),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or "default",
        secure=secure,
    )


class Session:
    """An open connection of one user; used by one task at a time, like a client's window."""

    def __init__(self, connection: asynch.Connection) -> None:
        self._connection = connection

    @property
    def user(self) -> str:
        return self._connection.user

    async def rows(self, sql: str, args: Mapping[str, object] | None = None) -> list[Row]:
        """Return the rows of one statement; raise Refused or Unreachable.

        `args`: values for `%(name)s` in `sql`, as literals. Names of users and roles can't be given
        so: they are written out in the statement.
        """
        cursor = self._connection.cursor()
        with _errors():
            await self._in_time(cursor.execute(sql, args=dict(args) if args else None))
            return [tuple(row) for row in await self._in_time(cursor.fetchall()) or []]

    async def insert(self, sql: str, rows: Sequence[Row]) -> None:
        """Run `INSERT INTO … VALUES` with the rows as data; raise as `rows` does."""
        cursor = self._connection.cursor()
        with _errors():
            await self._in_time(cursor.execute(sql, args=list(rows)))

    async def _in_time(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` gives, within the time limit.

        asynch's own cancellation waits for the peer to close, so a stopped server would hold it up
        for ever: the connection is aborted first.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task], timeout=TIMEOUT_S)
        finally:
            if not task.done():
                self._abort()
                task.cancel()
                await asyncio.wait([task], timeout=TIMEOUT_S)
        if task.cancelled():
            raise Unreachable(f"no answer within {TIMEOUT_S:.0f} s")
        return task.result()

    def _abort(self) -> None:
        writer: Any = getattr(self._connection._connection, "writer", None)  # noqa: SLF001
        if writer is not None:
            writer.writer.transport.abort()


@asynccontextmanager
async def log_in(url: str, user: str | None = None) -> AsyncIterator[Session]:
    """Open a session on the target at `clickhouse://user:password@host:port/database`.

    `user` logs in as somebody else than the URL says, without a password. Raises Refused (516: no
    such user, wrong password, locked, not from here; ClickHouse doesn't tell which) or Unreachable.
    """
    logging.getLogger("asynch").addHandler(_QUIET)
    at = parse_address(url)
    connection = asynch.Connection(
        host=at.host,
        port=at.port,
        user=user if user is not None else at.user,
        password="" if user is not None else at.password,
        database=at.database,
        secure=at.secure,
        connect_timeout=int(TIMEOUT_S),
    )
    session = Session(connection)
    with _errors():
        await session._in_time(connection.connect())  # noqa: SLF001
    try:
        yield session
    finally:
        with contextlib.suppress(Unreachable, asynch.Error, OSError):
            await session._in_time(connection.close())  # noqa: SLF001


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the driver's errors into the two that callers can tell apart."""
    try:
        yield
    except ServerException as error:
        if error.code is None:
            raise Unreachable(str(error)) from error
        raise Refused(error.code, _one_line(str(error.message))) from error
    except (asynch.Error, OSError, EOFError) as error:
        raise Unreachable(f"{type(error).__name__} {error}") from error


def _one_line(message: str) -> str:
    """Return ClickHouse's message without the exception's name, the stack and the version."""
    line = message.partition("Stack trace")[0].strip().splitlines()[0]
    return line.removeprefix("DB::Exception: ").strip()
