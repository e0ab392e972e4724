"""What it costs to look at one user on a target: SHOW against the query on `system.*`.

    python benchmarks/observing.py [--times 300]

Starts a sandbox. The two ways take turns on one connection, so that both meet the same machine.
Prints medians in ms and their ratio, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from app.clock import Clock
from app.sandbox.running import start
from workers.access.statements import quote_identifier
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target

ROLES = [f"bench_role_{number}" for number in range(8)]
USER, MARKER = "bench@acme.example", "bench_managed"


async def measured(url: str, times: int) -> dict[str, float]:
    parts = urlsplit(url)
    pool = Pool(
        Endpoint(hosts=((parts.hostname or "", parts.port or 9000),), user=parts.username or "")
    )
    target = Target(pool, MARKER, Clock())
    async with pool.session() as session:
        for role in (*ROLES, MARKER):
            await session.query(f"CREATE ROLE {quote_identifier(role)}")
        user = quote_identifier(USER)
        await session.query(f"CREATE USER {user} IDENTIFIED WITH no_password")
        await session.query(f"GRANT {ROLES[0]}, {MARKER} TO {user}")
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(times):
        for fresh, samples in taken.items():
            started = time.perf_counter()
            await target.observe([USER], ROLES, fresh=fresh)
            samples.append((time.perf_counter() - started) * 1000)
    await pool.close()
    system, show = (statistics.median(taken[fresh]) for fresh in (True, False))
    return {
        "system_ms": round(system, 2),
        "show_ms": round(show, 2),
        "ratio": round(show / system, 2),
    }


async def run(times: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-observing-") as folder:
        async with start(Path(folder)) as sandbox:
            return await measured(sandbox.line.clickhouse["main"], times)


def main() -> int:
    parser = argparse.ArgumentParser(description="The cost of looking at one user.")
    parser.add_argument("--times", type=int, default=300)
    figures = asyncio.run(run(parser.parse_args().times))
    print(f"system.*: {figures['system_ms']} ms, SHOW: {figures['show_ms']} ms")
    print(json.dumps({"benchmark": "observing", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
