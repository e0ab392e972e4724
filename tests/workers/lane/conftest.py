"""One tenant of a test's own on a real Redis and a real engine, and lanes that are drained by hand.

Names on ClickHouse carry the tenant's name, since all tests of a process share the server.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from app.clock import Clock
from app.config.load import check
from app.config.overrides import Applied
from app.config.rolemap import RoleMap
from app.config.settings import Settings
from app.config.tenant import Password
from app.directory.directory import Directory, Origin
from app.directory.facts import Facts
from app.directory.keys import Keys, Kind
from app.directory.lanes import LaneStatus, LaneStore, Letter
from app.directory.link import Link, connect
from app.directory.shards import alone
from app.errors import StatementRefused, TargetUnavailable
from app.scim.members import MemberChange
from app.scim.validity import VALIDITY
from workers.access.desired import role_definitions
from workers.access.statements import (
    Statement,
    provisioner_grants,
    quote_identifier,
    quote_literal,
)
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target
from workers.lane import Lane
from workers.setup import Setup

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

ORIGIN = Origin(request_id="req-1", token_id="tok-1", digest="d")


class FaultyTarget(Target):
    """The real target, until a statement meets the fault that a test has put in its way.

    `before`: called with the number of statements so far and the next one; what it raises is what
    the lane sees. `sent` keeps what went through.
    """

    def __init__(self, pool: Pool, marker: str, before: Callable[[int, Statement], Any]) -> None:
        super().__init__(pool, marker, Clock())
        self.before, self.sent = before, list[Statement]()

    async def execute(self, statement: Statement, *, log_comment: str) -> None:
        fault = self.before(len(self.sent), statement)
        if asyncio.iscoroutine(fault):
            await fault
        await super().execute(statement, log_comment=log_comment)
        self.sent.append(statement)


@dataclass(slots=True)
class World:
    """A tenant whose groups Analysts and Writers give roles; `held` is what ClickHouse says.

    Lanes work with an account that has the rights of `provisioner_grants` and no others.
    """

    tenant: str
    link: Link
    admin: Pool
    pool: Pool
    settings: Settings
    raw: dict[str, Any]
    directory: Directory = field(init=False)
    store: LaneStore = field(init=False)
    target: Target = field(init=False)
    heights: dict[str, int] = field(default_factory=dict)
    is_new: bool = True

    def __post_init__(self) -> None:
        self.target = Target(self.pool, f"{self.tenant}_managed", Clock())
        self.directory = Directory(self.link, self.tenant, ["main"])
        self.store = LaneStore(self.link, self.tenant, "main")

    @property
    def marker(self) -> str:
        return f"{self.tenant}_managed"

    def role(self, name: str) -> str:
        return f"{self.tenant}_{name}"

    def name(self, user_name: str) -> str:
        return f"{self.tenant}__{user_name}"

    def configure(self, **changes: Any) -> None:
        """Change the tenant's table, as a changed file does; the lane is taken for it at the next
        drain, as `tend` would see to.
        """
        self.is_new = True
        self.raw["tenants"][self.tenant] |= changes
        self.settings = check(Applied(self.raw, {}, ()), {}, Path())

    def lane(self, before: Callable[[int, Statement], Any] | None = None) -> Lane:
        setup = Setup.of(self.settings, self.tenant, "main")
        assert setup is not None
        target = self.target if before is None else FaultyTarget(self.pool, setup.marker, before)
        return Lane(
            setup=setup,
            shards=alone(self.link),
            target=target,
            settings=self.settings.worker,
            clock=Clock(),
            rng=random.Random(1),
            facts=Facts(self.link, self.settings.ledger),
            heights=self.heights,
        )

    @staticmethod
    def unavailable_after(count: int) -> Callable[[int, Statement], None]:
        """Return a fault: the target is gone after `count` statements."""

        def before(sent: int, _: Statement) -> None:
            if sent >= count:
                raise TargetUnavailable("it went away")

        return before

    @staticmethod
    def refusing(part: str, code: int = 497) -> Callable[[int, Statement], None]:
        """Return a fault: statements that hold `part` are refused."""

        def before(_: int, statement: Statement) -> None:
            if part in statement.sql:
                raise StatementRefused("not allowed here", code=code, statement=statement.sql)

        return before

    @staticmethod
    async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float = 20.0) -> None:
        """Wait until an asynchronous condition holds."""
        end = time.monotonic() + deadline_s
        while not await condition():
            assert time.monotonic() < end, "the condition did not come true in time"
            await asyncio.sleep(0.01)

    async def drain(self, state: str = "idle") -> list[Mapping[str, Any]]:
        """Drain until nothing is left; return a log line for each batch."""
        if self.is_new:
            await self.store.ask()
        self.is_new = False
        with capture_logs() as lines:
            while await self.lane().drain():
                pass
        status = await self.status()
        assert (status.state, status.applied_seq) == (state, status.last_seq), lines
        return [line for line in lines if line["event"] == "lane.drained"]

    async def status(self) -> LaneStatus:
        return await self.store.status()

    async def letters(self) -> dict[str, Letter]:
        return await self.store.letters()

    async def user(self, user_name: str, *, active: bool = True) -> str:
        document = {"userName": user_name, "active": active}
        return (await self.directory.create("user", document, ORIGIN)).id

    async def agent(self, name: str, *, until: datetime | None = None) -> str:
        document: dict[str, Any] = {"name": name, "active": True}
        if until is not None:
            document[VALIDITY.id] = {"validUntil": until.isoformat()}
        return (await self.directory.create("agent", document, ORIGIN)).id

    async def set_agent(self, agent: str, **changes: Any) -> None:
        await self._set("agent", agent, changes)

    async def delete_agent(self, agent: str) -> None:
        await self.directory.delete("agent", agent, ORIGIN)

    async def set_user(self, user: str, **changes: Any) -> None:
        await self._set("user", user, changes)

    async def set_password(self, user: str, password: str) -> None:
        authentication = self.settings.tenants[self.tenant].authentication
        assert isinstance(authentication, Password)
        await self._set("user", user, {}, authentication.hasher.hashed(password))

    async def _set(
        self, kind: Kind, i: str, changes: Mapping[str, Any], secret: str | None = None
    ) -> None:
        stored = await self.directory.get(kind, i)
        assert stored is not None
        document = {**stored.document, **changes}
        await self.directory.update(kind, stored, document, ORIGIN, secret=secret)

    async def lets_in(self, user_name: str, password: str) -> bool:
        """Whether somebody can log in so."""
        hosts = self.admin.endpoint.hosts
        pool = Pool(Endpoint(hosts=hosts, user=self.name(user_name), password=password))
        try:
            async with pool.session():
                return True
        except TargetUnavailable as error:
            if error.code != 516:
                raise
            return False
        finally:
            await pool.close()

    async def delete(self, user: str) -> None:
        await self.directory.delete("user", user, ORIGIN)

    async def delete_group(self, group: str) -> None:
        await self.directory.delete("group", group, ORIGIN)

    def _role_keys(self, display_name: str, external_id: str | None = None) -> tuple[str, ...]:
        role_map = RoleMap.of(self.settings.tenants[self.tenant])
        return role_map.keys_for(display_name, external_id)

    async def group(self, display_name: str, *members: str, external_id: str | None = None) -> str:
        document = {"displayName": display_name}
        if external_id is not None:
            document["externalId"] = external_id
        committed = await self.directory.create(
            "group",
            document,
            ORIGIN,
            members=members,
            role_keys=self._role_keys(display_name, external_id),
        )
        return committed.id

    async def lane_is_free(self) -> bool:
        key = f"{Keys(self.tenant).prefix}lease:main"
        return not await self.link.redis.exists(key)

    async def members(self, group: str, **change: tuple[str, ...]) -> None:
        stored = await self.directory.get("group", group)
        assert stored is not None
        await self.directory.update(
            "group", stored, stored.document, ORIGIN, members=MemberChange(**change)
        )

    async def rename_group(self, group: str, name: str) -> None:
        stored = await self.directory.get("group", group)
        assert stored is not None
        document = stored.document | {"displayName": name}
        keys = self._role_keys(name)
        await self.directory.update("group", stored, document, ORIGIN, role_keys=keys)

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the target's administrator."""
        async with self.admin.session() as session:
            return [tuple(row) for row in await session.query(statement)]

    async def held(self) -> dict[str, set[str] | None]:
        """Return, by userName, the roles of each user of the tenant, all without the tenant's name;
        None for somebody who can't log in.
        """
        prefix = quote_literal(f"{self.tenant}__")
        users = await self.sql(
            "SELECT name, empty(host_ip) AND empty(host_names) AND empty(host_names_like)"
            f" AND empty(host_names_regexp) FROM system.users WHERE startsWith(name, {prefix})"
        )
        grants = await self.sql(
            "SELECT user_name, granted_role_name FROM system.role_grants"
            f" WHERE startsWith(coalesce(user_name, ''), {prefix})"
        )
        roles: dict[str, set[str]] = {}
        for user, role in grants:
            roles.setdefault(user, set()).add(role.removeprefix(f"{self.tenant}_"))
        seen: dict[str, set[str] | None] = {}
        for name, locked in users:
            held = roles.get(name, set()) - {"managed"}
            assert not (locked and held), f"{name} is locked and holds {held}"
            seen[name.removeprefix(f"{self.tenant}__")] = None if locked else held
        return seen

    async def entity(self, user_name: str) -> str:
        """Return the id of the user's entity: another one after DROP and CREATE."""
        name = quote_literal(self.name(user_name))
        ((entity,),) = await self.sql(f"SELECT toString(id) FROM system.users WHERE name = {name}")
        return str(entity)

    async def of_lane(self, part: str) -> Any:
        """Return what Redis holds under a key of the lane, as Python has it."""
        key = f"{Keys(self.tenant).prefix}{part}:main"
        found = await self.link.redis.hgetall(key)  # type: ignore[misc]
        return {k.decode(): v.decode() for k, v in found.items()}

    async def suspects(self) -> set[str]:
        """Return who is to be looked at again, when no statement can be on its way any more."""
        key = Keys(self.tenant).lane("suspects", "main")
        return {i.decode() for i in await self.link.redis.zrange(key, 0, -1)}

    async def nothing_is_left(self) -> None:
        """Check that the lane's own notes agree with one another and with the target."""
        assert await self.of_lane("intents") == {}
        names, holders = await self.of_lane("names"), await self.of_lane("holders")
        assert {name: i for i, name in names.items()} == holders
        there = {self.name(user_name) for user_name in await self.held()}
        assert set(holders) == there

    @contextmanager
    def logs(self) -> Iterator[list[Any]]:
        with capture_logs() as lines:
            yield lines


@pytest.fixture
async def world(redis_server: RedisServer, clickhouse: ClickHouseServer) -> AsyncIterator[World]:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    account = f"{tenant}-provisioner"
    raw: dict[str, Any] = {
        "redis": {"url": redis_server.url},
        "targets": {
            "main": {"hosts": [f"{clickhouse.host}:{clickhouse.port}"], "user": account},
        },
        "tenants": {
            tenant: {
                "targets": ["main"],
                "user_name": "{tenant}__{userName}",
                "marker_role": f"{tenant}_managed",
                "default_roles": [f"{tenant}_employee"],
                "authentication": {"method": "no_password"},
                "groups": [
                    {"group": "Analysts", "roles": [f"{tenant}_analyst"]},
                    {"group": "Writers", "roles": [f"{tenant}_analyst", f"{tenant}_writer"]},
                ],
                "roles": {
                    f"{tenant}_employee": {"grants": ["SELECT ON calendar.*"]},
                    f"{tenant}_analyst": {"grants": ["SELECT ON analytics.*"]},
                    f"{tenant}_writer": {"grants": ["INSERT ON analytics.*"]},
                },
            }
        },
        "worker": {"batch_users": 50},
    }
    settings = check(Applied(raw, {}, ()), {}, Path())
    link = connect(redis_server.url)
    hosts = ((clickhouse.host, clickhouse.port),)
    admin, pool = (
        Pool(Endpoint(hosts=hosts, user="default")),
        Pool(Endpoint(hosts=hosts, user=account)),
    )
    world = World(tenant, link, admin, pool, settings, raw)
    await world.sql(f"CREATE USER {quote_identifier(account)} IDENTIFIED WITH no_password")
    roles = role_definitions(settings.tenants[tenant].roles)
    for grant in provisioner_grants(account, roles.values()):
        await world.sql(grant)
    yield world
    await pool.close()
    await admin.close()
    await link.close()
