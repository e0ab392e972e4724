"""An account with the least rights, and names of a test's own, on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol
from uuid import uuid4

import pytest

from app.clock import Clock
from app.config.privileges import parse_privilege
from workers.access.model import Interval, RoleDefinition, RowFilter, Setting
from workers.access.statements import provisioner_grants, quote_identifier
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target

Run = Callable[[str], Awaitable[list[tuple[object, ...]]]]


class Server(Protocol):
    """What the `clickhouse` fixture gives: where the administrator `default` can log in."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


@pytest.fixture
def tag() -> str:
    """Return a beginning for every name of one test: tests share a server."""
    return f"t{uuid4().hex[:8]}_"


@pytest.fixture
async def admin(clickhouse: Server) -> AsyncIterator[Pool]:
    pool = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
    yield pool
    await pool.close()


@pytest.fixture
def sql(admin: Pool) -> Run:
    """Return what runs a statement as the target's administrator."""

    async def run(statement: str) -> list[tuple[object, ...]]:
        async with admin.session() as session:
            return [tuple(row) for row in await session.query(statement)]

    return run


@pytest.fixture
def definition(tag: str) -> RoleDefinition:
    """Return a role with one of everything."""
    grants = (
        "SELECT ON analytics.*",
        "SELECT(id, country), INSERT ON crm.customers",
        "SELECT(id) ON analytics.orders",
        "SHOW ON logs*.*",
        "SELECT ON crm.tab*",
        "dictGet ON `a``b`.`it's`",
    )
    return RoleDefinition(
        f"{tag}analyst",
        grants=tuple(map(parse_privilege, grants)),
        settings=(
            Setting("max_memory_usage", 10**10, min=1, max="20G"),
            Setting("max_execution_time", 1.5, const=True),
            Setting("readonly", True),
            Setting("log_comment", "a'b\\c"),
            Setting("max_threads", max=8),
        ),
        row_filters=(
            RowFilter("analytics", "orders", "tenant = 'acme' AND (a=1 OR lower(`x y`) LIKE 'a%')"),
            RowFilter("analytics", "items", "1", restrictive=True),
        ),
        quota=(
            Interval(60, (("queries", 10), ("execution_time", 1.5))),
            Interval(3600, (("errors", 4),)),
        ),
    )


@pytest.fixture
async def endpoint(clickhouse: Server, sql: Run, tag: str, definition: RoleDefinition) -> Endpoint:
    """Return the account that workers use: nothing but what `provisioner_grants` says."""
    account = f"{tag}provisioner"
    await sql(f"CREATE USER {quote_identifier(account)} IDENTIFIED WITH no_password")
    for grant in provisioner_grants(account, [definition]):
        await sql(grant)
    return Endpoint(hosts=((clickhouse.host, clickhouse.port),), user=account)


@pytest.fixture
async def target(endpoint: Endpoint, tag: str) -> AsyncIterator[Target]:
    """Return the target as its workers see it; the marker role is not there yet."""
    pool = Pool(endpoint)
    yield Target(pool, f"{tag}managed", Clock())
    await pool.close()
