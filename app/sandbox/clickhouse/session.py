"""A client's session, whatever the protocol: a logged-in user on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar
from uuid import uuid4

from app.sandbox.clickhouse.processes import Process
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.secrets import hide_secrets
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.user_session import UserSession

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BETWEEN_KILLS_S = 0.05


class Session:
    """All engine calls of a session run on its thread, one after the other.

    `address`: the client's. `interface`: how it came, TCP or HTTP. `user` is there once `log_in`
    has returned.
    """

    user: UserSession

    def __init__(self, services: Services, address: str, interface: str) -> None:
        self._services, self._address, self._interface = services, address, interface
        self._thread = ThreadPoolExecutor(1, "session")
        self._thread_id = 0
        self._logged_in = False

    async def log_in(self, user: str, password: str, database: str) -> None:
        """Let the user in, or raise ServerError: 516, and 81 for a database that is not there."""
        self.user = await self.call(self._open, user, password, database)
        self._logged_in = True

    def _open(self, user: str, password: str, database: str) -> UserSession:
        self._thread_id = threading.get_native_id()
        login = self._services.doorkeeper.admit(user, password, self._address)
        return UserSession(self._services.engine, login, database, self._services.running)

    def during(self, query: Query) -> AbstractAsyncContextManager[None]:
        """What a server does around a query, until its answer is there (see `conduct`)."""
        process = Process(
            query_id=query.query_id or str(uuid4()),
            sql=hide_secrets(query.sql),
            user=self.user.name,
            address=self._address,
            interface=self._interface,
        )
        return self._services.conduct.of(
            query, process, self._thread_id, self.user.database, lambda: self.user.counts
        )

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
                await asyncio.to_thread(self._services.running.kill, self._thread_id)
                await asyncio.wait((call,), timeout=_BETWEEN_KILLS_S)
            if not call.cancelled():
                call.exception()  # that it was killed is no news
            raise

    def close(self) -> None:
        if self._logged_in:
            self._thread.submit(self.user.close)
        self._thread.shutdown(wait=False)
