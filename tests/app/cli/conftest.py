"""A configuration on a real Redis, and the commands run on it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.main import main
from app.config.rolemap import name_key
from app.directory.directory import Directory, Origin
from app.directory.link import Link, connect
from workers.clickhouse.pool import Endpoint, Pool

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

_ORIGIN = Origin(request_id="req-1", token_id="tok-1", digest="d")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What is on stdout: one line of JSON and nothing else."""
        assert self.out.count("\n") == 1, self.out + self.err
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands on a configuration with `tenant` and `other`, both on `main` and `second`."""

    config: Path
    tenant: str
    other: str
    _capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        """Run `clickhouse-scim ARGUMENTS --config FILE` in this process.

        In a thread of its own, where it can run an event loop although the test is in one.
        """
        self._capsys.readouterr()
        with ThreadPoolExecutor(1) as pool:
            code = pool.submit(main, [*arguments, "--config", str(self.config)]).result()
        printed = self._capsys.readouterr()
        return Ran(code, printed.out, printed.err)


@dataclass(frozen=True, slots=True)
class Site:
    """A tenant on a real target `main`, and commands on it. Its users get the role employee,
    members of the group Analysts also the role analyst, both with the tenant's name before them.
    The other tenant has a target `second`, which answers nobody.
    """

    cli: Cli
    tenant: str
    directory: Directory
    _admin: Pool
    origin: Origin = _ORIGIN

    async def user(self, user_name: str, *, active: bool = True) -> str:
        document = {"userName": user_name, "active": active}
        return (await self.directory.create("user", document, _ORIGIN)).id

    async def group(self, name: str, *members: str) -> str:
        keys = (name_key(name),)
        made = await self.directory.create(
            "group", {"displayName": name}, _ORIGIN, members=members, role_keys=keys
        )
        return made.id

    def name(self, user_name: str) -> str:
        return f"{self.tenant}__{user_name}"

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the target's administrator."""
        async with self._admin.session() as session:
            return [tuple(row) for row in await session.query(statement)]


@pytest.fixture
async def site(
    tmp_path: Path,
    redis_server: RedisServer,
    clickhouse: ClickHouseServer,
    link: Link,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Site]:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    config = tmp_path / "clickhouse-scim.toml"
    config.write_text(f"""
        [redis]
        url = "{redis_server.url}"
        [targets.main]
        hosts = ["{clickhouse.host}:{clickhouse.port}"]
        user = "default"
        [targets.second]
        hosts = ["127.0.0.1:9"]
        [tenants.{tenant}]
        targets = ["main"]
        user_name = "{{tenant}}__{{userName}}"
        marker_role = "{tenant}_managed"
        default_roles = ["{tenant}_employee"]
        authentication = {{ method = "no_password" }}
        [[tenants.{tenant}.groups]]
        group = "Analysts"
        roles = ["{tenant}_analyst"]
        [tenants.{tenant}.roles.{tenant}_employee]
        grants = ["SELECT ON calendar.*"]
        [tenants.{tenant}.roles.{tenant}_analyst]
        grants = ["SELECT ON analytics.*"]
        [tenants.{tenant}-b]
        targets = ["second"]
        user_name = "{{tenant}}__{{userName}}"
        """)
    admin = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
    cli = Cli(config, tenant, f"{tenant}-b", capsys)
    yield Site(cli, tenant, Directory(link, tenant, ["main"]), admin)
    await admin.close()


def write_config(file: Path, redis: RedisServer, tenants: tuple[str, str]) -> None:
    tables = [
        f'[redis]\nurl = "{redis.url}"',
        *(f'[targets.{name}]\nhosts = ["127.0.0.1:9000"]' for name in ("main", "second")),
        *(
            f'[tenants.{name}]\ntargets = ["main", "second"]\nmarker_role = "scim_{name}"\n'
            'user_name = "{tenant}__{userName}"'
            for name in tenants
        ),
    ]
    file.write_text("\n".join(tables))


@pytest.fixture
def cli(tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> Cli:
    name = f"t{uuid.uuid4().hex[:10]}"
    made = Cli(tmp_path / "clickhouse-scim.toml", name, f"{name}-b", capsys)
    write_config(made.config, redis_server, (made.tenant, made.other))
    return made


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    made = connect(redis_server.url)
    yield made
    await made.close()
