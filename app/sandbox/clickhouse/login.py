"""Log-in as a server does it (`src/Access/AccessControl.cpp`, `IAccessStorage.cpp`).

Wrong password, unknown user, address not allowed, method expired, method that cannot work here:
one error, one text, and about one duration, so that a refusal tells nothing but that it is one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.credentials import first_opened
from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.engine_config import ADMIN
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.hosts import Hosts
from app.sandbox.clickhouse.settings import ask_for
from app.sandbox.clickhouse.tokens import render_name, render_text

AUTHENTICATION_FAILED, USER_EXPIRED = 516, 720
_REFUSAL_S = 0.02  # no refusal is faster
_SLOWEST_HASH_S = 0.25  # and all are as slow as the slowest hash that was met, up to this

_USER = """
SELECT arrayMap(a -> toString(a), auth_type), arrayMap(t -> toUnixTimestamp(t), valid_until),
    host_ip, host_names, host_names_regexp, host_names_like, default_database
FROM system.users WHERE name = """
_NAMES = (
    "SELECT DISTINCT setting_name FROM system.settings_profile_elements "
    "WHERE setting_name IS NOT NULL AND value IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """`expires_at`: Unix time at which the method that was used ends, as known at log-in; 0 never.

    `settings`: what the user's profiles, roles and own settings differ from the engine's.
    """

    user: str
    expires_at: int
    database: str
    settings: Mapping[str, str]

    def check(self) -> None:
        """Raise ServerError 720 once the deadline has passed (Session::checkIfUserIsStillValid)."""
        if self.expires_at and time.time() >= self.expires_at:
            raise ServerError(USER_EXPIRED, "DB::Exception: Authentication method used has expired")


class Doorkeeper:
    """What it asked the engine about a user it remembers until users or roles change."""

    def __init__(self, engine: Engine, access: Access) -> None:
        self._access = access
        self._session = engine.connect()
        self._lock = threading.Lock()
        self._slowest_hash_s = 0.0
        self._generation = -1  # of the users and roles that the next three are about
        self._rows: dict[str, list[list[Any]]] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._names: list[str] | None = None  # of all settings that any profile or user sets

    def admit(self, user: str, password: str, address: str) -> Login:
        """Let the user in, or raise ServerError 516. Blocks: hashing, DNS, the engine."""
        started = time.monotonic()
        user = user or ADMIN
        login = self._try(user, password, address)
        if login is None:
            enough_s = _REFUSAL_S + min(self._slowest_hash_s, _SLOWEST_HASH_S)
            time.sleep(max(0.0, started + enough_s - time.monotonic()))
            raise ServerError(
                AUTHENTICATION_FAILED,
                f"DB::Exception: {user}: Authentication failed: password is incorrect, "
                "or there is no user with such name.",
            )
        return login

    def _try(self, user: str, password: str, address: str) -> Login | None:
        methods = self._access.methods(user)
        rows = self._ask(user)
        started = time.monotonic()
        opened = first_opened(methods, password)
        self._slowest_hash_s = max(self._slowest_hash_s, time.monotonic() - started)
        if not rows or opened is None:
            return None
        kinds, valid_until, ips, names, regexps, likes, database = rows[0]
        if len(kinds) != len(methods):
            return None
        expires_at = int(valid_until[opened])
        if expires_at and time.time() >= expires_at:
            return None
        if not Hosts(ips, names, regexps, likes).contain(address):
            return None
        settings = self._settings_of(user)
        return Login(user=user, expires_at=expires_at, database=database, settings=settings)

    def _ask(self, user: str) -> list[list[Any]]:
        """Return the user's row of system.users. Nothing is remembered of those who have none."""
        with self._lock:
            self._forget_what_is_old()
            if user not in self._rows:
                rows = self._session.rows(_USER + render_text(user))
                if not rows:
                    return []
                self._rows[user] = rows
            return self._rows[user]

    def _settings_of(self, user: str) -> dict[str, str]:
        """Return the settings that the user starts with, where they are not everybody's.

        EXECUTE AS without a statement takes over the user's constraints but not its values; with
        one it takes both, so it is asked. The question reads no table, for no quota to count it.
        """
        if user == ADMIN:
            return {}  # its profile is in users.xml, and has none
        with self._lock:
            self._forget_what_is_old()
            if self._names is None:
                self._names = [name for (name,) in self._session.rows(_NAMES)]
            if user not in self._settings and self._names:
                values = ", ".join(map(ask_for, self._names))
                (ours,) = self._session.rows(f"SELECT {values}")
                (theirs,) = self._session.rows(f"EXECUTE AS {render_name(user)} SELECT {values}")
                self._settings[user] = {
                    name: value
                    for name, value, usual in zip(self._names, theirs, ours, strict=True)
                    if value != usual
                }
            return self._settings.get(user, {})

    def _forget_what_is_old(self) -> None:
        generation = self._access.generation
        if self._generation != generation:
            self._generation = generation
            self._rows.clear()
            self._settings.clear()
            self._names = None
