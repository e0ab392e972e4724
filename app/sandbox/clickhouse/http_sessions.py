"""Sessions of HTTP clients, each on a thread of its own beside the event loop.

Named ones outlive a request: settings, temporary tables and roles stay in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from app.sandbox.clickhouse.conduct import act
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.http_request import NamedSession, Request
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.session import Session
from app.sandbox.clickhouse.user_session import UserSession

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NOT_FOUND, _IS_LOCKED = 372, 373
_BETWEEN_KILLS_S = 0.05


class HttpSession:
    """A session whose engine calls run on its thread, one after the other."""

    def __init__(self, services: Services, address: str) -> None:
        self._running = services.running
        self._session = Session(services, address, "HTTP")
        self._thread = ThreadPoolExecutor(1, "session")

    async def log_in(self, user: str, password: str, database: str) -> None:
        """Let the user in, or raise ServerError: 516, and 81 for a database that is not there."""
        await self.call(self._session.log_in, user, password, database)

    @property
    def user(self) -> UserSession:
        return self._session.user

    @asynccontextmanager
    async def during(self, query: Query) -> AsyncIterator[None]:
        """What a server does around a query, until its answer is there."""
        with self._session.during(query) as disturbances:
            for pause_s in act(disturbances, "before"):
                await asyncio.sleep(pause_s)
            yield
            for pause_s in act(disturbances, "after"):
                await asyncio.sleep(pause_s)

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking function on the session's thread, to its end whatever happens here."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do so; if this is cancelled, kill the engine's query and wait until it has stopped."""
        call = asyncio.ensure_future(self.call(function, *args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            while not call.done():
                await asyncio.to_thread(self._running.kill, self._session.thread)
                await asyncio.wait((call,), timeout=_BETWEEN_KILLS_S)
            if not call.cancelled():
                call.exception()  # that it was killed is no news
            raise

    def close(self) -> None:
        self._thread.submit(self._session.close)
        self._thread.shutdown(wait=False)


@dataclass(slots=True)
class _Kept:
    session: HttpSession
    expiry: asyncio.TimerHandle | None = None  # none while a request uses it


class HttpSessions:
    """Named sessions, each of one user: another user's of the same name is another session."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[tuple[str, str], _Kept] = {}

    @asynccontextmanager
    async def of(self, request: Request, address: str) -> AsyncIterator[HttpSession]:
        """Log the request's user in and give it a session: the named one, or one of its own.

        Raises ServerError: 516, 81, and for a named one 372 and 373.
        """
        if request.session is not None:
            async with self._named(request, request.session, address) as session:
                yield session
            return
        session = HttpSession(self._services, address)
        try:
            await session.log_in(request.user, request.password, request.database)
            yield session
        finally:
            session.close()

    @asynccontextmanager
    async def _named(
        self, request: Request, wish: NamedSession, address: str
    ) -> AsyncIterator[HttpSession]:
        # Who cannot log in is told no more than that, not whether there is such a session.
        await asyncio.to_thread(
            self._services.doorkeeper.admit, request.user, request.password, address
        )
        key = (request.user, wish.name)
        kept = self._kept.get(key)
        if kept is None:
            if wish.must_exist:
                raise ServerError(_NOT_FOUND, f"DB::Exception: Session {wish.name} not found")
            kept = self._kept[key] = _Kept(HttpSession(self._services, address))
            try:
                await kept.session.log_in(request.user, request.password, request.database)
            except BaseException:
                self._end(key, kept)
                raise
        elif kept.expiry is None:
            raise ServerError(
                _IS_LOCKED, f"DB::Exception: Session {wish.name} is locked by a concurrent client"
            )
        else:
            kept.expiry.cancel()
            kept.expiry = None
        try:
            yield kept.session
        finally:
            if wish.closes:
                self._end(key, kept)
            else:
                loop = asyncio.get_running_loop()
                kept.expiry = loop.call_later(wish.timeout_s, self._end, key, kept)

    def _end(self, key: tuple[str, str], kept: _Kept) -> None:
        self._kept.pop(key, None)
        kept.session.close()

    def close(self) -> None:
        for key, kept in list(self._kept.items()):
            if kept.expiry is not None:
                kept.expiry.cancel()
            self._end(key, kept)
