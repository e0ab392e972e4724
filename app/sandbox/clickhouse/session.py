"""A client's session, whatever the protocol: a logged-in user, and each of its queries."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from uuid import uuid4

from app.sandbox.clickhouse.processes import Process
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.secrets import hide_secrets
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.switches import Disturbance
from app.sandbox.clickhouse.user_session import UserSession


class Session:
    """It belongs to the thread that logs in: its engine calls, and its end, happen there.

    `address`: the client's. `interface`: how it came, TCP or HTTP. `user` is there once `log_in`
    has returned. `thread`: its native id.
    """

    user: UserSession

    def __init__(self, services: Services, address: str, interface: str) -> None:
        self._services, self._address, self._interface = services, address, interface
        self.thread = 0

    def log_in(self, user: str, password: str, database: str) -> None:
        """Let the user in, or raise ServerError: 516, and 81 for a database that is not there."""
        login = self._services.doorkeeper.admit(user, password, self._address)
        self.user = UserSession(self._services.engine, login, database, self._services.running)
        self.thread = threading.get_native_id()

    def during(self, query: Query) -> AbstractContextManager[Sequence[Disturbance]]:
        """What a server does around a query, until its answer is there (see `conduct`)."""
        process = Process(
            query_id=query.query_id or str(uuid4()),
            sql=hide_secrets(query.sql),
            user=self.user.name,
            address=self._address,
            interface=self._interface,
        )
        return self._services.conduct.of(
            query, process, self.thread, self.user.database, lambda: self.user.counts
        )

    def close(self) -> None:
        if self.thread:
            self.user.close()
