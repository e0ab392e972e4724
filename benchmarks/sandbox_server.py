"""What the ClickHouse sandbox server costs: its start, its statements, its memory.

    python benchmarks/sandbox_server.py [--statements 100000]

Prints one line of JSON:

    opening_ms       of the engine's access control, at each start
    restart_s        until 5,000 users and 200 roles are back after SIGKILL, beside an empty start
    query_ms         median of `SELECT 1` through asynch, beside the engine alone
    statement_ms     median of an ALTER USER that is on disk when it is answered, likewise
    memory_mib       of the process at the start and after each tenth of that many statements: it
                     rises until `system.query_log` has the 32 MB that it may have, and no further
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from asynch.connection import Connection

QUERY, STATEMENT = "SELECT 1", "ALTER USER bench HOST ANY"
TIMES = 500
# The engine alone, on a thread of its own: what a server has to add to.
ALONE = f"""
import os, statistics, sys, time
from pathlib import Path
from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.engine_config import render_config
engine = Engine.start(Path(sys.argv[1]), render_config(9000, None), "local_directory")
print(1000 * engine.opened_in_s)
session = engine.connect()
session.run("CREATE USER bench")
for sql in ({QUERY!r}, {STATEMENT!r}):
    samples = []
    for _ in range({TIMES}):
        started = time.perf_counter()
        session.run(sql)
        samples.append((time.perf_counter() - started) * 1000)
    print(statistics.median(samples))
sys.stdout.flush()
os._exit(0)
"""


class Server:
    """A sandbox server on `folder`, which is started and killed as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = 0

    def start(self) -> float:
        """Start it and return after how many seconds it was ready."""
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "app.sandbox.clickhouse"),
                *("--port", "0", "--data-dir", str(self._folder)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"ready on .*:(\d+)", self._process.stdout.readline())
        assert found is not None, "the server did not start"
        self.port = int(found[1])
        return time.perf_counter() - started

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def connect(self) -> Connection:
        return Connection(host="127.0.0.1", port=self.port)


async def median_ms(connection: Connection, sql: str) -> float:
    samples = []
    async with connection.cursor() as cursor:
        for _ in range(TIMES):
            started = time.perf_counter()
            await cursor.execute(sql)
            samples.append((time.perf_counter() - started) * 1000)
    return statistics.median(samples)


async def repeat(connection: Connection, count: int, sql: Callable[[int], str]) -> None:
    async with connection.cursor() as cursor:
        for i in range(count):
            await cursor.execute(sql(i))


def engine_alone(folder: Path) -> tuple[float, float, float]:
    """Return how long it took to open it, and the medians without a server around it, in ms."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder)], stdout=subprocess.PIPE, text=True, check=True
    )
    opening_ms, query_ms, statement_ms = map(float, done.stdout.split())
    return opening_ms, query_ms, statement_ms


async def measure(folder: Path, statements: int) -> dict[str, object]:
    server = Server(folder / "data")
    empty_s = server.start()
    async with server.connect() as connection:
        await repeat(connection, 200, lambda i: f"CREATE ROLE role{i}")
        await repeat(
            connection,
            200,
            lambda i: "CREATE USER " + ", ".join(f"user{25 * i + n}" for n in range(25)),
        )
        await repeat(
            connection,
            200,
            lambda i: f"GRANT role{i} TO " + ", ".join(f"user{25 * i + n}" for n in range(25)),
        )
    server.kill()
    restart_s = server.start()
    async with server.connect() as connection:
        await repeat(connection, 1, lambda _: "CREATE USER bench")
        query_ms = await median_ms(connection, QUERY)
        statement_ms = await median_ms(connection, STATEMENT)
        mixed = (
            QUERY,
            "ALTER USER bench HOST LOCAL",
            "GRANT role1 TO bench",
            "SHOW GRANTS FOR bench",
        )
        memory_mib = [server.memory_mib()]
        for _ in range(10):
            await repeat(connection, statements // 10, lambda i: mixed[i % len(mixed)])
            memory_mib.append(server.memory_mib())
    server.kill()
    opening_ms, query_alone_ms, statement_alone_ms = await asyncio.to_thread(
        engine_alone, folder / "alone"
    )
    return {
        "opening_ms": round(opening_ms),
        "restart_s": {"empty": round(empty_s, 2), "5,000 users, 200 roles": round(restart_s, 2)},
        "query_ms": {"engine": round(query_alone_ms, 2), "server": round(query_ms, 2)},
        "statement_ms": {"engine": round(statement_alone_ms, 2), "server": round(statement_ms, 2)},
        "memory_mib": [round(mib) for mib in memory_mib],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clickhouse-sandbox-bench-") as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.statements))))


if __name__ == "__main__":
    main()
