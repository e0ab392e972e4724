"""What very many tenants cost, of whom few do anything: against those few alone.

    python benchmarks/tenants.py [--tenants 10000] [--active 100] [--seconds 30] [--rate 20]

Twice the same load, one after the other, each with a Redis, a ClickHouse, a receiver and a worker
of its own: `--active` tenants change `--rate` users a second between them, and /metrics is scraped
every 6 s. First there are no other tenants, then there are `--tenants` in all. The others are as a
fleet leaves them that has been running: their lanes are applied, and looked at for drift every five
minutes, each at a time of its own. Measured: the CPU time of each process; the ratio is many
tenants against few.

Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

from app.child import Program
from app.clock import Clock
from app.config.load import load
from app.directory.keys import Keys
from app.directory.lanes import read_statuses
from app.directory.link import Link, connect
from app.sandbox.ports import choose_ports
from app.sandbox.running import PROGRAM
from app.sandbox.servers import answers, own_url
from benchmarks.alone import Alone, programs, receiver_alone, until
from benchmarks.creates import person
from benchmarks.processes import cpu_ms
from workers.clickhouse.fingerprints import NOBODY
from workers.setup import Setups

SCRAPE_S = 6.0
DRIFT_S = 300
HEAD = """\
[redis]
url = "{{redis}}"
[targets.main]
hosts = ["127.0.0.1:{port}"]
user = "default"
"""
TENANT = """\
[tenants.t{n}]
targets = ["main"]
user_name = "{{{{tenant}}}}__{{{{userName}}}}"
marker_role = "managed_{n}"
default_roles = ["employee"]
"""


async def leave_applied(link: Link, config: Path, others: Sequence[str]) -> None:
    """Write what workers would have left of the lanes of tenants that nobody uses."""
    settings, now_ms = load(config, {}), Clock().now_ms()
    setups, rng = Setups(settings), random.Random(1)
    pipe = link.redis.pipeline(transaction=False)
    for tenant in others:
        setup = setups.of(tenant, "main")
        digest = setup.digest if setup else ""
        lane = {
            "config": digest,
            "cursor": 0,
            "fingerprint": f"{settings.drift.policy}/{digest}/0/{NOBODY}",
            "resynced": now_ms - rng.randrange(DRIFT_S * 1000),
        }
        pipe.hset(Keys(tenant).lane("lane", "main"), mapping=lane)
    await link.call(pipe.execute())


async def measured(tenants: int, active: int, seconds: float, rate: float) -> dict[str, float]:
    """Return ms of CPU by process, and how many changes and scrapes they were for."""
    names = [f"t{n}" for n in range(tenants)]
    port = choose_ports(("clickhouse",), {}, random.Random())["clickhouse"]
    text = HEAD.format(port=port) + "".join(TENANT.format(n=n) for n in range(tenants))
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-tenants-") as name:
        folder = Path(name)
        config = folder / "clickhouse-scim.toml"
        server = ["clickhouse-sandbox", "--port", str(port), "--data-dir", str(folder / "ch")]
        clickhouse, worker = (
            Program(name=of[0], arguments=[*PROGRAM, *of], log=folder / f"{of[0]}.log")
            for of in (server, ["worker", "--config", str(config)])
        )
        async with receiver_alone(folder, names[:active], text) as alone, programs(clickhouse):
            await until(lambda: answers(own_url(port)))
            link = connect(alone.redis)
            await leave_applied(link, config, names[active:])
            async with programs(worker) as (child,):
                await _change(alone, names[:active], active, 1e9)  # each has its first user
                await _applied(link, names[:active])
                await _scrape(alone.port, 1)  # the first one reads everybody
                await asyncio.sleep(5)
                pids = {"worker": child.pid or 0, "receiver": alone.pid}
                before = {name: cpu_ms([pid]) for name, pid in pids.items()}
                scraping = asyncio.create_task(_scrape(alone.port, round(seconds / SCRAPE_S)))
                changes = round(seconds * rate)
                await _change(alone, names[:active], changes, rate)
                await scraping
                await _applied(link, names[:active])
                spent = {name: cpu_ms([pid]) - before[name] for name, pid in pids.items()}
            await link.close()
    return {**spent, "changes": changes}


async def _change(alone: Alone, tenants: Sequence[str], changes: int, rate: float) -> None:
    started, numbers = time.monotonic(), count()
    async with aiohttp.ClientSession() as http:
        for number in range(changes):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            tenant = tenants[number % len(tenants)]
            url = f"http://127.0.0.1:{alone.port}/scim/{tenant}/v2/Users"
            headers = {
                "Authorization": f"Bearer {alone.tokens[tenant]}",
                "Content-Type": "application/scim+json",
            }
            body = json.dumps(person(next(numbers)))
            async with http.post(url, data=body, headers=headers) as response:
                response.raise_for_status()


async def _scrape(port: int, times: int) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(times):
            async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
                await response.read()
            await asyncio.sleep(SCRAPE_S)


async def _applied(link: Link, tenants: Sequence[str]) -> None:
    async def all_of_them() -> bool:
        lanes = await read_statuses(link, [(tenant, "main") for tenant in tenants])
        return all(lane.applied_seq >= lane.last_seq for lane in lanes.values())

    await until(all_of_them)


def main() -> int:
    parser = argparse.ArgumentParser(description="Very many tenants, of whom few do anything.")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20)
    given = parser.parse_args()
    few, many = (
        asyncio.run(measured(tenants, given.active, given.seconds, given.rate))
        for tenants in (given.active, given.tenants)
    )
    title = f"ms of CPU, {given.active} active tenants, {given.seconds:g} s"
    table = Table(box=box.SIMPLE_HEAD, title=title)
    for column in ("", "alone", f"among {given.tenants:,}", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    ratios = {name: round(many[name] / few[name], 2) for name in ("worker", "receiver")}
    for name, ratio in ratios.items():
        table.add_row(name, f"{few[name]:.0f}", f"{many[name]:.0f}", f"{ratio:g}")
    Console().print(table)
    figures = {"tenants": given.tenants, "active": given.active, "few": few, "many": many}
    print(json.dumps({"benchmark": "tenants", **figures, "ratio": ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
