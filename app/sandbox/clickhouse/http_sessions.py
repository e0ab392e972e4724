"""HTTP sessions that outlive a request: settings, temporary tables and roles stay in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.http_request import NamedSession, Request
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.session import Session

_NOT_FOUND, _IS_LOCKED = 372, 373


@dataclass(slots=True)
class _Kept:
    session: Session
    expiry: asyncio.TimerHandle | None = None  # none while a request uses it


class HttpSessions:
    """Named sessions, each of one user: another user's of the same name is another session."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[tuple[str, str], _Kept] = {}

    @asynccontextmanager
    async def of(self, request: Request, address: str) -> AsyncIterator[Session]:
        """Log the request's user in and give it a session: the named one, or one of its own.

        Raises ServerError: 516, 81, and for a named one 372 and 373.
        """
        if request.session is not None:
            async with self._named(request, request.session, address) as session:
                yield session
            return
        session = Session(self._services, address, "HTTP")
        try:
            await session.log_in(request.user, request.password, request.database)
            yield session
        finally:
            session.close()

    @asynccontextmanager
    async def _named(
        self, request: Request, wish: NamedSession, address: str
    ) -> AsyncIterator[Session]:
        # Who cannot log in is told no more than that, not whether there is such a session.
        await asyncio.to_thread(
            self._services.doorkeeper.admit, request.user, request.password, address
        )
        key = (request.user, wish.name)
        kept = self._kept.get(key)
        if kept is None:
            if wish.must_exist:
                raise ServerError(_NOT_FOUND, f"DB::Exception: Session {wish.name} not found")
            kept = self._kept[key] = _Kept(Session(self._services, address, "HTTP"))
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
