"""One scrape of one receiver sees every process: receivers that share a port, and workers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientSession, TCPConnector
from prometheus_client.parser import text_string_to_metric_families

from app.cli.options import this_program
from app.clock import Clock
from app.directory.link import connect
from app.directory.tokens import create
from app.sandbox.ports import choose_ports

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
user = "default"
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
"""
REQUESTS = 40
DEADLINE_S = 60.0


async def scrape(http: ClientSession, root: str) -> dict[tuple[str, ...], float]:
    async with http.get(f"{root}/metrics") as reply:
        text = await reply.text()
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_one_scrape_has_the_figures_of_all_receivers_and_workers(
    own_redis: RedisServer, clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=own_redis.url, clickhouse=clickhouse.port, tenant=tenant)
    file.write_text(text)
    link = connect(own_redis.url)
    token = await create(link, tenant, now_ms=Clock().now_ms())
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    programs: dict[str, list[str]] = {
        "receiver": ["--port", str(port), "--processes", "2"],
        "worker": ["--processes", "2"],
    }
    processes = [
        await asyncio.create_subprocess_exec(
            *this_program(name, "--config", str(file), *more), stderr=asyncio.subprocess.DEVNULL
        )
        for name, more in programs.items()
    ]
    root = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {token.token}"}
    # Each request on a connection of its own: the kernel gives them to either receiver.
    connector = TCPConnector(force_close=True)
    try:
        async with ClientSession(headers=headers, connector=connector) as http:
            await until_ready(http, root)
            seen: dict[tuple[str, ...], float] = {}

            async def post(n: int) -> None:
                body: dict[str, Any] = {"userName": f"{tenant}-{n}"}
                async with http.post(f"{root}/scim/{tenant}/v2/Users", json=body) as reply:
                    assert reply.status == 201

            await asyncio.gather(*map(post, range(REQUESTS)))
            up = ("scim_redis_up", f"redis=127.0.0.1:{own_redis.port}/0")
            wanted = {
                ("scim_tenant_requests_total", "result=ok", f"tenant={tenant}"): REQUESTS,
                ("scim_events_total", f"tenant={tenant}"): REQUESTS,
                ("scim_commit_seconds_count",): REQUESTS,
                ("scim_processes", "kind=receiver"): 2,
                ("scim_processes", "kind=worker"): 2,
                ("scim_target_lag_seconds", "target=main"): 0.0,
                up: 1,
            }
            created = ("scim_statements_total", "kind=Create", "result=done", "target=main")
            async with asyncio.timeout(DEADLINE_S):
                while created not in seen or {key: seen.get(key) for key in wanted} != wanted:
                    await asyncio.sleep(0.2)
                    seen = await scrape(http, root)
            assert seen["scim_batch_seconds_count", "target=main"] >= 1
            own_redis.stop()
            away = await scrape(http, root)
            assert away[up] == 0
            assert ("scim_target_lag_seconds", "target=main") not in away
    finally:
        for process in processes:
            process.terminate()
            await process.wait()
        await link.close()


async def until_ready(http: ClientSession, root: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(ClientError):
                async with http.get(f"{root}/readyz") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.05)
