"""A target of which the file names one server, in a cluster of several that share nothing."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.sandbox.ports import choose_ports
from app.sandbox.session import log_in
from workers.access.statements import provisioner_grants

if TYPE_CHECKING:
    from tests.e2e.conftest import World

    Worlds = Callable[..., AbstractAsyncContextManager[World]]

CONFIG = """
[targets.main]
hosts = ["{host}"]
user = "provisioner"
storage = "on_cluster"
cluster = "main"
[tenants.acme]
targets = ["main"]
authentication = {{ method = "no_password" }}
[[tenants.acme.groups]]
group = "Data"
roles = ["reader"]
[tenants.acme.roles.reader]
"""


@dataclass(slots=True)
class Cluster:
    """Servers that a test starts one by one; each is told the members at its start."""

    folder: Path
    ports: dict[str, int]
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def host(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    async def start(self, name: str, members: str) -> None:
        """Start it, or start it again; make the workers' account if it has none."""
        nodes = [word for member in members for word in ("--node", self.host(member))]
        options = ["--cluster", "main", *nodes, "--keeper", str(self.folder / "keeper")]
        at = ["--port", str(self.ports[name]), "--data-dir", str(self.folder / name)]
        process = self.running[name] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.sandbox.clickhouse", *at, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert b"ready" in await process.stdout.readline()
        await self.sql(name, "CREATE USER IF NOT EXISTS provisioner IDENTIFIED WITH no_password")
        for grant in provisioner_grants("provisioner"):
            await self.sql(name, grant)

    async def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        await process.communicate()

    async def sql(self, name: str, statement: str) -> Any:
        async with log_in(f"clickhouse://default:@{self.host(name)}/default") as administrator:
            return await administrator.rows(statement)

    async def hosts_of(self, name: str, user: str) -> str | None:
        """Return from where the user may log in there, and its roles; None for no such user."""
        if not await self.sql(name, f"SELECT 1 FROM system.users WHERE name = '{user}'"):
            return None
        ((shown,),) = await self.sql(name, f"SHOW CREATE USER {user}")
        granted = await self.sql(name, f"SHOW GRANTS FOR {user}")
        return ("locked" if "HOST NONE" in shown else "open") + f" {granted[0][0]}"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path, choose_ports(["a", "b", "c"], {}, random.Random()))
    yield made
    for name in list(made.running):
        await made.stop(name)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.1)


async def test_servers_that_the_file_does_not_name_get_and_lose_access_like_the_one_that_it_does(
    worlds: Worlds, cluster: Cluster, tmp_path: Path
) -> None:
    """One is down at first, one joins the cluster later; each gets what it missed."""
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG.format(host=cluster.host("a")))
    open_, locked = "open GRANT reader, scim_managed TO ana", "locked GRANT scim_managed TO ana"

    def holds(name: str, wanted: str) -> Callable[[], Awaitable[bool]]:
        async def does() -> bool:
            return await cluster.hosts_of(name, "ana") == wanted

        return does

    async with worlds("--config", str(config)) as world:

        async def lag(nodes: int) -> int | None:
            """Return how many events the target is behind; None while other nodes are known."""
            (row,) = await world.sandbox.command_json("lane", "list")
            is_of = len(row["nodes"]) == nodes
            return row["last_seq"] - row["applied_seq"] if is_of else None

        await cluster.start("a", "ab")
        ana = await world.idp.create_user("ana")
        await world.idp.create_group("Data", [ana])
        await eventually(holds("a", open_))

        async def b_is_missed() -> bool:
            return bool(await lag(2))

        await eventually(b_is_missed)
        await cluster.start("b", "ab")
        await eventually(holds("b", open_))

        await cluster.stop("a")
        await cluster.start("a", "abc")
        await cluster.start("c", "abc")
        await eventually(holds("c", open_))

        await cluster.stop("b")
        await world.idp.set_active(ana, active=False)
        for name in "ac":
            await eventually(holds(name, locked))
        assert await lag(3)
        await cluster.start("b", "abc")
        await eventually(holds("b", locked))

        async def nothing_waits() -> bool:
            return await lag(3) == 0

        await eventually(nothing_waits)
        ran = await world.sandbox.command_json("revoke", "acme", "ana", "--now")
        assert {(row["node"], row["result"]) for row in ran["targets"]} == {
            (cluster.host(name), "out") for name in "abc"
        }
        found = {
            (row["check"], row["subject"]): row["status"]
            for row in await world.sandbox.command_json("doctor")
        }
        assert found["target servers", "main"] == "ok"
        for name in "abc":
            host = cluster.host(name)
            assert found["target storage", f"main@{host} ({host})"] == "ok"
