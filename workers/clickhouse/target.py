"""One tenant's view of one target: observe users and roles, carry statements out."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from app.clock import Clock
from app.errors import StatementRefused
from workers.access.guard import Tally
from workers.access.model import Actual, RoleDefinition, UserState
from workers.access.statements import (
    Statement,
    census_query,
    cut_grant,
    managed_query,
    observe_query,
    parse_ends,
    parse_observation,
    parse_shown,
    shapes_query,
    show_grants_query,
    show_users_query,
    times_query,
    with_shapes,
)
from workers.access.statements.rendering import chunks
from workers.clickhouse.pool import Pool, Row, Session

# Quoted names are three times in a query, quoted roles five times: below 262,144 bytes. As many as
# that, since each query reads all grants of the target (36 ms for 20,000).
NAMES_BYTES, ROLES_BYTES, NAMES_AT_ONCE = 50_000, 18_000, 2000

FEW = 8  # users; more of them are asked of system.* at once
BELIEVED_S = 10.0
UNKNOWN_IDENTIFIER, UNKNOWN_USER = 47, 192


Result = Literal["done", "refused", "unanswered"]


def _untold(_kind: str, _result: Result, _seconds: float) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Roles as they were at `at` (monotonic), of those `asked` for. `rows`: of the shapes."""

    at: float
    asked: frozenset[str]
    shaped: frozenset[RoleDefinition]
    actual: Actual
    rows: Sequence[Row]


class Target:
    """`marker`: the tenant's marker role, which tells its users and roles from all others.

    Kept for as long as its lane's configuration stays: it remembers the roles for BELIEVED_S.
    """

    def __init__(
        self,
        pool: Pool,
        marker: str,
        clock: Clock,
        told: Callable[[str, Result, float], None] = _untold,
    ) -> None:
        """`pool`: shared by all tenants of the target. `told`: is told the kind of step of each
        statement, what became of it, and after how many seconds.
        """
        self.pool, self.marker, self._clock, self._told = pool, marker, clock, told
        self._seen: _Seen | None = None
        self._is_old = False  # its system tables lack columns, which one query finds out

    def check(self) -> None:
        """Raise TargetUnavailable if it is known to be no use to ask now."""
        self.pool.check()

    async def observe(
        self,
        names: Collection[str],
        roles: Collection[str],
        *,
        definitions: Collection[RoleDefinition] = (),
        fresh: bool = True,
        log_comment: str = "",
    ) -> Actual:
        """Return what exists of these users and roles, the marker role, and users named like roles;
        of roles with `definitions` also their shapes.

        Without `fresh` roles may be as they were a moment ago: their shapes, and if the users are
        few all of them, since SHOW tells then what the users are, in less than half the time.
        Whoever is then refused something has to look again with `fresh`.

        One query for up to 2,000 names, further ones on the same connection: what this worker wrote
        before it sees, since all its connections go to one host.
        """
        wanted, asked = sorted(set(names)), frozenset(roles)
        shaped = frozenset(one for one in definitions if not one.is_open)
        async with self.pool.session() as session:
            if not fresh and (known := self._believed(asked, shaped, wanted)) is not None:
                users = await self._shown(session, wanted, log_comment)
                if users is not None:
                    return replace(known, users=users)
            actual = await self._asked(session, wanted, asked, log_comment)
            rows: Sequence[Row] = ()
            at = self._clock.monotonic()
            if shaped and not self._is_old:
                if (seen := self._recent(shaped)) is not None and not fresh:
                    at, rows = seen.at, seen.rows
                else:
                    sql = shapes_query(shaped, self.marker)
                    rows = await session.query(sql, log_comment=log_comment)
                actual = with_shapes(actual, shaped, ((k, n, d) for k, n, d in rows))
        self._seen = _Seen(at, asked, shaped, actual, rows)
        return actual

    def _recent(self, shaped: frozenset[RoleDefinition]) -> _Seen | None:
        """Return what was seen of the shapes of these roles, if that was a moment ago."""
        seen = self._seen
        if seen is None or self._clock.monotonic() - seen.at > BELIEVED_S:
            return None
        return seen if shaped <= seen.shaped else None

    async def users(self, names: Collection[str]) -> Mapping[str, UserState]:
        """Return what exists of these users; few are shown one by one, since nobody tells of
        several which one is missing.
        """
        async with self.pool.session() as session:
            if len(names) <= FEW:
                shown = [await self._shown(session, [name], "") for name in names]
                users = [one for one in shown if one is not None]
                if len(users) == len(names):
                    return dict(ChainMap(*users))
            return (await self._asked(session, sorted(names), (), "")).users

    def _believed(
        self, asked: frozenset[str], shaped: frozenset[RoleDefinition], names: Sequence[str]
    ) -> Actual | None:
        seen = self._recent(shaped)
        if seen is None or not asked <= seen.asked:
            return None
        return seen.actual if 0 < len(names) <= FEW else None

    async def _shown(
        self, session: Session, names: Sequence[str], log_comment: str
    ) -> dict[str, UserState] | None:
        """Return these users, or None if SHOW does not tell."""
        try:
            created = await session.query(show_users_query(names), log_comment=log_comment)
            granted = await session.query(show_grants_query(names), log_comment=log_comment)
        except StatementRefused as error:
            # Of several users it does not say which others there are.
            return {} if error.code == UNKNOWN_USER and len(names) == 1 else None
        return parse_shown((text for (text,) in created), (t for (t,) in granted), self.marker)

    async def _asked(
        self, session: Session, names: Sequence[str], roles: Collection[str], log_comment: str
    ) -> Actual:
        parts = zip_longest(
            chunks(names, NAMES_BYTES, NAMES_AT_ONCE),
            chunks(sorted({*roles, self.marker}), ROLES_BYTES, NAMES_AT_ONCE),
            fillvalue=(),
        )
        rows: list[tuple[str, str, str]] = []
        for some in parts:
            for kind, name, detail in await self._rows(session, *some, log_comment):
                rows.append((kind, name, detail))
        if self._is_old:
            there = sorted(name for kind, name, _ in rows if kind == "user")
            rows += await self._ends(session, there, log_comment)
        return parse_observation(rows, self.marker)

    async def _rows(
        self, session: Session, names: Sequence[str], roles: Sequence[str], log_comment: str
    ) -> Sequence[Row]:
        if not self._is_old:
            try:
                sql = observe_query(names, roles, self.marker)
                return await session.query(sql, log_comment=log_comment)
            except StatementRefused as error:
                if error.code != UNKNOWN_IDENTIFIER:
                    raise
                self._is_old = True
        sql = observe_query(names, roles, self.marker, is_old=True)
        return await session.query(sql, log_comment=log_comment)

    @staticmethod
    async def _ends(
        session: Session, names: Sequence[str], log_comment: str
    ) -> list[tuple[str, str, str]]:
        """Return when the log-ins of these users end, in rows as `parse_observation` reads them."""
        ends: dict[str, tuple[str, ...]] = {}
        for some in chunks(names, NAMES_BYTES, NAMES_AT_ONCE):
            shown = await session.query(show_users_query(some), log_comment=log_comment)
            ends |= dict(parse_ends(line) for (line,) in shown)
        texts = {text for its in ends.values() for text in its}
        times: dict[str, int] = {}
        if texts:
            told = await session.query(times_query(texts), log_comment=log_comment)
            times = {text: int(seconds) for text, seconds in told}
        return [
            ("ends", name, json.dumps([times[text] for text in its])) for name, its in ends.items()
        ]

    async def privileges_of(self, name: str) -> list[str]:
        """Return what this user holds itself, each as `cut_grant` has it."""
        async with self.pool.session() as session:
            lines = await session.query(show_grants_query([name]))
        return [cut for (line,) in lines if (cut := cut_grant(line)) is not None]

    async def managed(self, after: str, count: int) -> list[str]:
        """Return the names of at most `count` managed users, in order, that come after `after`."""
        async with self.pool.session() as session:
            rows = await session.query(managed_query(self.marker, after, count))
        return [name for (name,) in rows]

    async def census(self) -> Tally:
        """Return how much access there is: managed users who can log in, and roles they hold."""
        async with self.pool.session() as session:
            ((users, grants),) = await session.query(census_query(self.marker))
        return Tally(users, grants)

    async def execute(self, statement: Statement, *, log_comment: str) -> None:
        """Carry one statement out. Raises StatementRefused, of which a part may have been done, or
        TargetUnavailable, after which nobody knows: observe before going on.
        """
        result: Result = "unanswered"
        started = self._clock.monotonic()
        try:
            async with self.pool.session() as session:
                await session.query(
                    statement.sql, log_comment=log_comment, query_id=statement.query_id or None
                )
            result = "done"
        except StatementRefused:
            result = "refused"
            raise
        finally:
            seconds = self._clock.monotonic() - started
            self._told(type(statement.step).__name__, result, seconds)
