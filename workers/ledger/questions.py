"""What an audit asks, as queries over the ledger's tables and views; pure.

Every value goes in as a literal; every query tells how its columns are called.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from workers.access.statements.quoting import quote_literal

Moment = datetime | None


@dataclass(frozen=True, slots=True)
class Question:
    """`columns`: what the rows of `sql` hold, in order."""

    sql: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What narrows a question. `start` is part of the time, `end` is not. `most`: rows."""

    tenant: str | None = None
    start: Moment = None
    end: Moment = None
    user: str | None = None
    request: str | None = None
    token: str | None = None
    target: str | None = None
    result: str | None = None
    most: int = 10_000

    def where(self) -> list[str]:
        """Return the conditions that all tables share."""
        conditions = []
        if self.tenant is not None:
            conditions.append(f"tenant = {quote_literal(self.tenant)}")
        if self.start is not None:
            conditions.append(f"at >= {moment(self.start)}")
        if self.end is not None:
            conditions.append(f"at < {moment(self.end)}")
        return conditions


def moment(at: datetime) -> str:
    """Return a time as a literal, in UTC, whatever the server's zone is."""
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return f"toDateTime64({quote_literal(text)}, 3, 'UTC')"


def _text(at: datetime) -> str:
    return quote_literal(at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3])


def _ask(
    table: str, columns: dict[str, str], conditions: list[str], most: int, by: str
) -> Question:
    chosen = ", ".join(columns.values())
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {chosen} FROM {table}{where} ORDER BY {by} LIMIT {most + 1:d}"  # noqa: S608
    return Question(sql, tuple(columns))


def _ids(user: str, tenant: str | None) -> str:
    """Return a query for the resource ids of a person: by id, userName or ClickHouse name."""
    name = quote_literal(user)
    of = f"tenant = {quote_literal(tenant)} AND " if tenant is not None else ""
    return (
        f"(SELECT groupUniqArray(id) FROM (SELECT resource_id AS id FROM events"  # noqa: S608
        f" WHERE {of}resource_id = {name} UNION ALL SELECT resource_id FROM events"
        f" WHERE {of}lowerUTF8(name) = lowerUTF8({name}) AND type != 'group'"
        f" UNION ALL SELECT resource FROM access WHERE {of}user = {name} AND resource != ''))"
    )


_EVENTS = {
    "tenant": "tenant",
    "seq": "seq",
    "at": "at",
    "op": "op",
    "type": "type",
    "id": "resource_id",
    "name": "name",
    "added": "added",
    "removed": "removed",
    "before": "before",
    "after": "after",
    "request_id": "request_id",
    "token_id": "token_id",
    "ip": "ip",
    "agent": "agent",
    "hash": "hash",
    "erased": "erased",
}


def events(asked: Filter) -> Question:
    conditions = asked.where()
    if asked.user is not None:
        ids = _ids(asked.user, asked.tenant)
        conditions.append(
            f"(has({ids}, resource_id) OR hasAny(added, {ids}) OR hasAny(removed, {ids}))"
        )
    if asked.request is not None:
        conditions.append(f"request_id = {quote_literal(asked.request)}")
    if asked.token is not None:
        conditions.append(f"token_id = {quote_literal(asked.token)}")
    return _ask("events FINAL", _EVENTS, conditions, asked.most, "tenant, seq")


_STATEMENTS = {
    "tenant": "tenant",
    "target": "target",
    "at": "at",
    "query_id": "id",
    "action": "action",
    "users": "users",
    "roles": "roles",
    "statement": "text",
    "seqs": "seqs",
    "request_ids": "requests",
    "epoch": "epoch",
    "result": "result",
    "code": "code",
    "error": "error",
    "duration_ms": "duration_ms",
}


def statements(asked: Filter) -> Question:
    conditions = asked.where()
    if asked.user is not None:
        ids = _ids(asked.user, asked.tenant)
        conditions.append(f"(has(users, {quote_literal(asked.user)}) OR hasAny(resources, {ids}))")
    if asked.request is not None:
        conditions.append(f"has(requests, {quote_literal(asked.request)})")
    if asked.target is not None:
        conditions.append(f"target = {quote_literal(asked.target)}")
    if asked.result is not None:
        conditions.append(f"result = {quote_literal(asked.result)}")
    else:
        conditions.append("result != 'unsent'")
    return _ask("statements FINAL", _STATEMENTS, conditions, asked.most, "tenant, at, id")


_ACTIONS = {name: name for name in ("tenant", "at", "action", "actor", "subject", "detail")}


def actions(asked: Filter) -> Question:
    return _ask("admin_actions FINAL", _ACTIONS, asked.where(), asked.most, "tenant, at, id")


def person(tenant: str, who: str, asked: Filter) -> Question:
    """Everything about a person: requests, what they changed, statements, what was held."""
    names = ("at", "what", "target", "seq", "action", "subject", "request", "token", "detail")
    view = f"person(tenant = {quote_literal(tenant)}, person = {quote_literal(who)})"
    conditions = Filter(start=asked.start, end=asked.end).where()
    return _ask(view, dict(zip(names, names, strict=True)), conditions, asked.most, "at, seq, what")


def by_token(tenant: str, token: str, asked: Filter) -> Question:
    names = (
        *("at", "seq", "op", "type", "resource_id", "name", "members_added", "members_removed"),
        *("request_id", "ip", "agent"),
    )
    view = f"by_token(tenant = {quote_literal(tenant)}, token = {quote_literal(token)})"
    conditions = Filter(start=asked.start, end=asked.end).where()
    return _ask(view, dict(zip(names, names, strict=True)), conditions, asked.most, "seq")


_HOLDERS = ("target", "user", "resource_id", "role", "since", "is_explained")


def holders(
    tenant: str,
    at: datetime,
    *,
    role: str | None = None,
    user: str | None = None,
    target: str | None = None,
    most: int = 1_000_000,
) -> Question:
    """Who held which role at a time, as the targets were seen then."""
    conditions = [
        f"{column} = {quote_literal(value)}"
        for column, value in (("role", role), ("target", target))
        if value is not None
    ]
    if user is not None:
        ids = _ids(user, tenant)
        named = f"{quote_literal(user)} IN (user, resource_id)"
        conditions.append(f"({named} OR has({ids}, resource_id))")
    view = f"holders_at(tenant = {quote_literal(tenant)}, at = {_text(at)})"
    columns = dict(zip(_HOLDERS, _HOLDERS, strict=True))
    return _ask(view, columns, conditions, most, "target, user, role")


def unexplained(tenant: str, at: datetime, most: int) -> Question:
    """Roles that were held at a time though nothing in the directory gives them."""
    view = f"unexplained_at(tenant = {quote_literal(tenant)}, at = {_text(at)})"
    columns = {name: name for name in _HOLDERS[:-1]}
    return _ask(view, columns, [], most, "target, user, role")


def leavers(tenant: str, start: datetime, end: datetime, most: int) -> Question:
    """How long access outlived each leaver; `seconds` None: it is still there."""
    names = ("resource_id", "name", "target", "user", "left_at", "gone_at", "seconds")
    view = f"leavers(tenant = {quote_literal(tenant)}, from = {_text(start)}, to = {_text(end)})"
    return _ask(view, dict(zip(names, names, strict=True)), [], most, "left_at, target, user")


def percentiles(tenant: str, start: datetime, end: datetime) -> Question:
    """The same in one row: how many leavers, how long it took for most of them."""
    names = ("revocations", "still_there", "p50", "p90", "p99", "longest")
    view = f"leavers(tenant = {quote_literal(tenant)}, from = {_text(start)}, to = {_text(end)})"
    sql = (
        "SELECT countIf(seconds IS NOT NULL), countIf(seconds IS NULL),"  # noqa: S608
        " quantileExactIf(0.5)(assumeNotNull(seconds), seconds IS NOT NULL),"
        " quantileExactIf(0.9)(assumeNotNull(seconds), seconds IS NOT NULL),"
        " quantileExactIf(0.99)(assumeNotNull(seconds), seconds IS NOT NULL),"
        f" max(seconds) FROM {view}"
    )
    return Question(sql, names)
