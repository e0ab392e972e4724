"""Receiver and worker as they are run, over several Redis and over a Redis Cluster."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession

from app.cli.options import this_program
from app.clock import Clock
from app.config.load import load
from app.directory.shards import connect_all, place
from app.directory.tokens import create
from app.sandbox.ports import choose_ports
from app.sandbox.session import log_in
from tests.app.directory.test_cluster import slot_of, tenant_on
from tests.conftest import ClickHouseServer, RedisServer, start_redis
from tests.fleets import a_cluster, pause, resume

if TYPE_CHECKING:
    from tests.fleets import Cluster

REST = """
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
user = "default"
"""
TENANT = """
[tenants.{name}]
targets = ["main"]
marker_role = "{name}_managed"
user_name = "{{tenant}}__{{userName}}"
"""
DEADLINE_S = 60.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - what it waits for is elsewhere
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A receiver and a worker over some Redis, as an identity provider and an operator see them."""

    config: Path
    root: str
    http: ClientSession
    tokens: Mapping[str, str]
    clickhouse: ClickHouseServer

    async def post(self, tenant: str, name: str) -> tuple[int, str | None]:
        """Return the status, and what the answer says about coming back."""
        async with self.http.post(
            f"{self.root}/scim/{tenant}/v2/Users",
            json={"userName": name},
            headers={"Authorization": f"Bearer {self.tokens[tenant]}"},
        ) as reply:
            return reply.status, reply.headers.get("Retry-After")

    async def ready(self) -> tuple[int, str]:
        async with self.http.get(f"{self.root}/readyz") as reply:
            return reply.status, await reply.text()

    async def metrics(self) -> str:
        async with self.http.get(f"{self.root}/metrics") as reply:
            return await reply.text()

    async def until_on_clickhouse(self, tenant: str, name: str) -> None:
        url = f"clickhouse://default:@127.0.0.1:{self.clickhouse.port}/default"
        question = f"SELECT count() FROM system.users WHERE name = '{tenant}__{name}'"
        async with log_in(url) as session:

            async def is_there() -> bool:
                return [tuple(row) for row in await session.rows(question)] == [(1,)]

            await until(is_there)

    async def command(self, *words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *this_program(*words, "--config", str(self.config)), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()


@asynccontextmanager
async def running(
    folder: Path, redis: str, tenants: Sequence[str], clickhouse: ClickHouseServer
) -> AsyncIterator[Fleet]:
    file = folder / "clickhouse-scim.toml"
    parts = [TENANT.format(name=name) for name in tenants]
    file.write_text("".join([redis, REST.format(clickhouse=clickhouse.port), *parts]))
    shards, now_ms = connect_all(load(file, {}).redis), Clock().now_ms()
    made = {t: (await create(shards.of(t), t, now_ms=now_ms)).token for t in tenants}
    await shards.close()
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    processes = [
        await asyncio.create_subprocess_exec(
            *this_program(name, "--config", str(file), *more), stderr=asyncio.subprocess.DEVNULL
        )
        for name, more in (("receiver", ["--port", str(port)]), ("worker", []))
    ]
    try:
        async with ClientSession() as http:
            fleet = Fleet(file, f"http://127.0.0.1:{port}", http, made, clickhouse)
            await until(lambda: _is_ready(fleet))
            yield fleet
    finally:
        for process in processes:
            process.terminate()
            await process.wait()


async def _is_ready(fleet: Fleet) -> bool:
    try:
        return await fleet.ready() == (200, "ok\n")
    except ClientError:
        return False


def tenant_at(name: str, names: Sequence[str]) -> str:
    """Return a new tenant whose place is the Redis of that name."""
    while True:
        tenant = f"t{uuid.uuid4().hex[:8]}"
        if place(tenant, names) == name:
            return tenant


async def test_of_two_redis_a_dead_or_hanging_one_costs_its_own_tenants_alone(
    tmp_path: Path, clickhouse: ClickHouseServer
) -> None:
    servers = []
    for n in range(2):
        (tmp_path / f"redis{n}").mkdir()
        servers.append(start_redis(tmp_path / f"redis{n}"))
    names = [f"127.0.0.1:{server.port}/0" for server in servers]
    well, ill = tenant_at(names[0], names), tenant_at(names[1], names)
    redis = f'[redis]\nurls = ["{servers[0].url}", "{servers[1].url}"]\n'
    try:
        async with running(tmp_path, redis, [well, ill], clickhouse) as fleet:
            for tenant in (well, ill):
                assert await fleet.post(tenant, "ana") == (201, None)
                await fleet.until_on_clickhouse(tenant, "ana")

            servers[1].stop()
            assert await fleet.post(ill, "bo") == (503, "5")
            assert await fleet.post(well, "bo") == (201, None)
            await fleet.until_on_clickhouse(well, "bo")
            status, said = await fleet.ready()
            assert (status, said.splitlines()[0], names[1] in said) == (200, "ok", True)
            metrics = await fleet.metrics()
            assert f'scim_redis_up{{redis="{names[0]}"}} 1.0' in metrics
            assert f'scim_redis_up{{redis="{names[1]}"}} 0.0' in metrics
            assert f'tenant="{well}"' in metrics
            code, listed = await fleet.command("lane", "list", "--json")
            rows = json.loads(listed)
            assert (code, [row["tenant"] for row in rows]) == (1, [well])
            servers[1].start()
            await _until_served(fleet, ill, "cy")
            await fleet.until_on_clickhouse(ill, "cy")

            pause(servers[1])
            try:
                waits = [asyncio.create_task(fleet.post(ill, f"di{n}")) for n in range(20)]
                for n in range(20):
                    assert await fleet.post(well, f"di{n}") == (201, None)
                await fleet.until_on_clickhouse(well, "di19")
                assert {await one for one in waits} == {(503, "5")}
            finally:
                resume(servers[1])
            await _until_served(fleet, ill, "ed")
            await fleet.until_on_clickhouse(ill, "ed")
    finally:
        for server in servers:
            server.stop()


async def _until_served(fleet: Fleet, tenant: str, name: str) -> None:
    async def is_served() -> bool:
        return (await fleet.post(tenant, name))[0] in {201, 409}

    await until(is_served)


async def test_a_receiver_and_a_worker_serve_tenants_of_all_nodes_of_a_cluster(
    tmp_path: Path, own_redis: RedisServer, clickhouse: ClickHouseServer
) -> None:
    with a_cluster(tmp_path / "cluster") as cluster:
        tenants = [tenant_on(cluster, server) for server in cluster.primaries]
        redis = f'[redis]\nurl = "{cluster.url}"\nqueue = {{ url = "{own_redis.url}" }}\n'
        async with running(tmp_path, redis, tenants, clickhouse) as fleet:
            for tenant in tenants:
                assert await fleet.post(tenant, "ana") == (201, None)
            for tenant in tenants:
                await fleet.until_on_clickhouse(tenant, "ana")
            await _move(cluster, tenants[0])
            assert await fleet.post(tenants[0], "bo") == (201, None)
            await fleet.until_on_clickhouse(tenants[0], "bo")
            own_redis.stop()  # wake-ups are lost: the sweep finds the lane
            assert await fleet.post(tenants[1], "bo") == (201, None)
            await fleet.until_on_clickhouse(tenants[1], "bo")
            own_redis.start()
            code, listed = await fleet.command("lane", "list", "--json")
            rows = {row["tenant"]: row["applied_seq"] for row in json.loads(listed)}
            assert (code, set(rows)) == (0, set(tenants))
            _, told = await fleet.command("doctor", "--json")
            found = {(row["check"], row["subject"]): row["status"] for row in json.loads(told)}
            for server in cluster.primaries:
                assert found["redis durable", f"127.0.0.1:{server.port}"] == "ok"
            assert found["redis queue", f"127.0.0.1:{own_redis.port}/0"] == "ok"
            metrics = await fleet.metrics()
            assert all(f'tenant="{tenant}"' in metrics for tenant in tenants)


async def _move(cluster: Cluster, tenant: str) -> None:
    slot, there = slot_of(tenant), cluster.primaries[1]
    await asyncio.to_thread(cluster.begin_move, slot, there)
    await asyncio.to_thread(cluster.end_move, slot, there)
