"""A ledger on the shared ClickHouse, and tenants whose directory tells it everything."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.main import main
from app.clock import Clock
from app.config.ledger import LedgerSettings
from app.config.load import check
from app.config.overrides import Applied
from app.config.settings import Settings
from app.directory.directory import Directory, Origin
from app.directory.facts import Facts
from app.directory.keys import LEDGER, Keys
from app.directory.link import Link, connect
from app.sandbox.toml import render_toml
from workers.access.statements.quoting import quote_literal
from workers.ledger.chain import LedgerEvent
from workers.ledger.progress import LedgerLane, Progress
from workers.ledger.rows import EVENT_COLUMNS, parse_event
from workers.ledger.schema import migrate
from workers.ledger.store import Store
from workers.ledger.writer import Desk, Writer

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

ORIGIN = Origin(
    request_id="req-1", token_id="tok-1", digest="d", address="203.0.113.7", agent="Okta SCIM"
)

Command = Callable[..., Awaitable[tuple[int, Any, str]]]


def settings_of(redis: str, ledger: LedgerSettings, tenant: str) -> Settings:
    raw: dict[str, Any] = {
        "redis": {"url": redis},
        "ledger": {"url": ledger.url, "max_backlog": ledger.max_backlog},
        "targets": {"main": {"hosts": ["127.0.0.1:1"]}},
        "tenants": {tenant: {"targets": ["main"]}},
    }
    return check(Applied(raw, {}, ()), {}, Path())


@dataclass(slots=True)
class Told:
    """One tenant, its directory, and the ledger that hears of it."""

    tenant: str
    link: Link
    settings: Settings
    store: Store
    directory: Directory = field(init=False)
    lane: LedgerLane = field(init=False)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        self.directory = Directory(self.link, self.tenant, ["main"], ledger=True)
        self.lane = LedgerLane(self.link, self.tenant, ["main"])
        self.facts = Facts(self.link, self.settings.ledger)

    async def write(self) -> None:
        """Drain the ledger's lane once, as a worker does."""
        desk = Desk(self.link, self.store, self.settings, Clock(), random.Random(1))
        await Writer(desk, self.tenant).drain()

    async def progress(self) -> Progress:
        return await self.lane.progress()

    async def rewind(self, **fields: str | int | None) -> None:
        """Have the lane's memory be what it was, as after a crash."""
        key = Keys(self.tenant).lane("lane", LEDGER)
        for name, value in fields.items():
            if value is None:
                await self.link.redis.hdel(key, name)  # type: ignore[misc]
            else:
                await self.link.redis.hset(key, name, str(value))  # type: ignore[misc]

    async def events(self) -> list[LedgerEvent]:
        pages = self.store.events(self.tenant, EVENT_COLUMNS)
        return [parse_event(row) async for page in pages for row in page]

    async def rows(self, table: str, what: str = "count()") -> Any:
        """Return one value about the tenant's rows, as they lie there, before merges."""
        where = f"tenant = {quote_literal(self.tenant)}"
        ((value,),) = await self.store.query(f"SELECT {what} FROM {table} WHERE {where}")
        return value

    async def user(self, name: str, **more: Any) -> str:
        document = {"userName": name, "active": True, **more}
        return (await self.directory.create("user", document, ORIGIN)).id

    async def set_user(self, user: str, **changes: Any) -> None:
        stored = await self.directory.get("user", user)
        assert stored is not None
        await self.directory.update("user", stored, {**stored.document, **changes}, ORIGIN)

    async def group(self, name: str, *members: str, keys: tuple[str, ...] = ()) -> str:
        made = await self.directory.create(
            "group", {"displayName": name}, ORIGIN, members=members, role_keys=keys
        )
        return made.id


@pytest.fixture(scope="session")
def ledger(clickhouse: ClickHouseServer) -> LedgerSettings:
    """A ledger with its tables, for all tests of a process."""
    url = f"clickhouse://default@{clickhouse.host}:{clickhouse.port}/ledger"
    settings = LedgerSettings(url=url)
    asyncio.run(migrate(settings))
    return settings


@pytest.fixture
async def told(redis_server: RedisServer, ledger: LedgerSettings) -> AsyncIterator[Told]:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    link, store = connect(redis_server.url), Store(ledger)
    yield Told(tenant, link, settings_of(redis_server.url, ledger, tenant), store)
    await store.close()
    await link.close()


def fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.items()}


@pytest.fixture
def command(told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; return its exit code, its JSON, and what it said on stderr."""
    assert told.settings.ledger is not None
    config = tmp_path / "scim.toml"
    config.write_text(
        render_toml(
            {
                "redis": {"url": told.settings.redis.url},
                "ledger": {"url": told.settings.ledger.url},
                "targets": {"main": {"hosts": ["127.0.0.1:1"]}},
                "tenants": {told.tenant: {"targets": ["main"]}},
            }
        )
    )

    async def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, [*words, "--config", str(config), "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run
