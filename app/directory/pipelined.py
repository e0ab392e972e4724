"""A Redis client whose commands share one connection: those of one turn of the loop, one write.

redis-py gives each command a connection and a round trip of its own, and its way there and back
costs a receiver more than all of SCIM does. Here redis-py still opens the connection (TLS,
AUTH, SELECT, Sentinel) and shapes the replies; in between stands a queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.directory.answered import ANSWER_S

_OPENED_S = 0.25  # usually some milliseconds
_LATE = f"not within {ANSWER_S:g} s"


class PipelinedRedis(Redis):
    """As `Redis`; single commands go over one connection, pipelines and pub/sub over the pool.

    Nothing is ever sent twice: when the connection breaks, every command that waits for its reply
    fails with redis.exceptions.ConnectionError, and may have happened. So may one, or a pipeline,
    that fails with TimeoutError, after ANSWER_S. A command that blocks its connection (BLPOP, XREAD
    BLOCK) would hold up all others: none may be sent here.
    """

    @cached_property
    def _wire(self) -> Wire:
        return Wire(self)

    def ask(self, command: tuple[Any, ...]) -> Awaitable[Any]:
        """Send a command; its reply is the one that Redis sends, which redis-py would shape."""
        return self._wire.ask(command)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        options.pop("keys", None)  # for client-side caches only
        reply = await self.ask(args)
        callback = self.response_callbacks.get(args[0])
        return callback(reply, **options) if callback else reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _QuietPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )

    async def servers(self) -> list[Server]:
        """Return every server behind this client."""
        return [Server("", self, is_primary=True)]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._wire.close()
        await super().aclose(close_connection_pool)


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a directory. `name`: `HOST:PORT`, "" where there is but one."""

    name: str
    redis: PipelinedRedis
    is_primary: bool


class _QuietPipeline(Pipeline):
    """A pipeline that is bounded like single commands are, and tells no values."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with _deadline():
            replies: list[Any] = await super().execute(raise_on_error)
            return replies

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        async with _deadline():
            return await super().immediate_execute_command(  # type: ignore[no-untyped-call]
                *args, **options
            )

    def annotate_exception(
        self, exception: Exception, number: int, command: Iterable[object]
    ) -> None:
        """Leave an error as it is: redis-py puts the whole command in, values and all."""


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError as error:
        raise RedisTimeoutError(_LATE) from error


class Wire:
    """The connection, opened at the first command and again after a break."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._stream: _Stream | None = None
        self._opening: asyncio.Task[_Stream] | None = None
        self._is_away, self._began = False, 0.0

    async def ask(self, command: tuple[Any, ...]) -> Any:
        """Send a command and return its reply. Raises RedisError, OSError.

        While a server hangs only who finds that out waits for it: those who come meanwhile are told
        at once, and nothing of theirs is sent.
        """
        stream = self._stream
        if stream is None or stream.broken:
            if self._is_away and self._opening is not None and self._hangs():
                raise RedisConnectionError("the server does not answer")
            stream = await self._opened()
        elif stream.is_silent:
            raise RedisConnectionError("the server does not answer")
        reply = await stream.ask(command)
        if isinstance(reply, Exception):
            if isinstance(reply, ReadOnlyError):
                # A primary that has become a replica: the next command asks again who is primary.
                await stream.close()
            raise reply
        return reply

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            await self._stream.close()
            self._stream = None

    def _hangs(self) -> bool:
        """Whether the connection that is being opened should have been there by now."""
        return asyncio.get_running_loop().time() - self._began > _OPENED_S

    async def _opened(self) -> _Stream:
        """Return the new connection; who comes meanwhile waits for the same one."""
        if self._opening is None:
            self._began = asyncio.get_running_loop().time()
            self._opening = asyncio.create_task(self._open(), name="redis connection")
        return await asyncio.shield(self._opening)

    async def _open(self) -> _Stream:
        try:
            if self._stream is not None:
                await self._stream.close()
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            async with asyncio.timeout(ANSWER_S):
                await connection.connect()
            self._stream = _Stream(connection)
        except BaseException:
            self._is_away = True
            raise
        else:
            self._is_away = False
            return self._stream
        finally:
            self._opening = None


class _Stream(asyncio.Protocol):
    """Commands out and replies back, in order, on a connection that redis-py has opened."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=ClusterParser.parse_error
        )
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._unsent: list[bytes] = []
        writer = connection._writer  # noqa: SLF001 - redis-py has no other way
        if writer is None:
            raise AssertionError("redis-py has just connected")
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self.broken = False
        self.is_silent = False

    def ask(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Send a command. Its reply is the result, even one that is an error."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(_packed(command))
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((reply, self._loop.time()))
        if self._alarm is None:
            self._alarm = self._loop.call_later(ANSWER_S, self._look)
        return reply

    async def close(self) -> None:
        self._break("closed")
        await self._connection.disconnect(nowait=True)

    def _send(self) -> None:
        if not self.broken:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        """Tell those who have waited for ANSWER_S; break what has kept somebody for twice as long.

        Their replies may still come, and keep their places in the queue.
        """
        self._alarm, now = None, self._loop.time()
        if self._waiting and now - self._waiting[0][1] >= 2 * ANSWER_S:
            self._break("nothing comes back")
        next_look = now + ANSWER_S
        for waiting, sent in self._waiting:
            if now - sent < ANSWER_S:
                next_look = sent + ANSWER_S
                break
            self.is_silent = True
            if not waiting.done():
                waiting.set_exception(RedisTimeoutError(_LATE))
        if self._waiting:
            self._alarm = self._loop.call_at(next_look, self._look)

    def data_received(self, data: bytes) -> None:
        self.is_silent = False
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not False:
                waiting, _ = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(reply)
        except (InvalidResponse, IndexError):
            self._break("what came back is not Redis's protocol")

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(str(exc) if exc else "closed by the server")

    def _break(self, why: str) -> None:
        if not self.broken:
            self.broken = True
            self._transport.abort()
            if self._alarm is not None:
                self._alarm.cancel()
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(RedisConnectionError(f"the connection broke: {why}"))


def _packed(command: tuple[Any, ...]) -> bytes:
    """Return a command as Redis reads it. redis-py names some with a blank: `CONFIG GET`."""
    name = command[0]
    if isinstance(name, str) and " " in name:
        command = (*name.split(" "), *command[1:])
    packed: bytes = hiredis.pack_command(command)
    return packed
