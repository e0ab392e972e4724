"""How much memory receiver and worker take under load, and whether it grows.

    python benchmarks/memory.py [--minutes 2] [--rate 40]

Starts a sandbox. Then `--rate` times a second one of a directory of 2,000 people is changed: made,
looked up, put into a group, taken out of it, deactivated, deleted and made again, so that as many
are there in the end as in the beginning. Told is the most that each process took, and by how much a
straight line through the second half of the samples rises in an hour. A short run tells the slope
roughly: what is left of the first minutes counts as growth.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

from app.sandbox.running import Sandbox, start
from app.scim.messages import PATCH_OP
from benchmarks.alone import TENANT
from benchmarks.creates import person
from benchmarks.processes import resident_mb

PEOPLE, GROUPS = 2000, 20
SAMPLE_S = 2.0
AT_ONCE = 16


class Traffic:
    """Changes of a directory that stays as large as it is."""

    def __init__(self, http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
        endpoint = sandbox.line.scim[TENANT]
        self._http, self._base = http, endpoint.base_url
        self._headers = {
            "Authorization": f"Bearer {endpoint.token}",
            "Content-Type": "application/scim+json",
        }
        self._numbers, self._chance = count(), random.Random(1)
        self._people: list[tuple[str, str]] = []
        self._groups: list[str] = []
        self.requests = 0

    async def fill(self) -> None:
        for number in range(GROUPS):
            group = await self._send("POST", "/Groups", {"displayName": f"Group {number}"})
            self._groups.append(group["id"])
        for _ in range(PEOPLE // AT_ONCE):
            await asyncio.gather(*(self._join() for _ in range(AT_ONCE)))

    async def change(self) -> None:
        """Let one person go through a whole life."""
        name, user = self._people.pop(self._chance.randrange(len(self._people)))
        group = f"/Groups/{self._chance.choice(self._groups)}"
        await self._send("GET", "/Users?filter=" + quote(f'userName eq "{name}"'))
        await self._send("PATCH", group, _patch("add", "members", [{"value": user}]))
        await self._send("PATCH", group, _patch("remove", f'members[value eq "{user}"]', None))
        await self._send("PATCH", f"/Users/{user}", _patch("replace", "active", value=False))
        await self._send("DELETE", f"/Users/{user}")
        await self._join()

    async def _join(self) -> None:
        body = person(next(self._numbers))
        user = await self._send("POST", "/Users", body)
        self._people.append((str(body["userName"]), user["id"]))

    async def _send(self, method: str, path: str, body: object = None) -> Any:
        self.requests += 1
        data = None if body is None else json.dumps(body)
        async with self._http.request(
            method, self._base + path, data=data, headers=self._headers
        ) as response:
            text = await response.read()
            if response.status >= 300:
                raise SystemExit(f"{method} {path}: {response.status} {text[:200]!r}")
            return json.loads(text) if text else None


def _patch(op: str, path: str, value: object) -> dict[str, object]:
    operation = {"op": op, "path": path} | ({} if value is None else {"value": value})
    return {"schemas": [PATCH_OP], "Operations": [operation]}


async def run(minutes: float, rate: float) -> dict[str, Any]:
    samples: dict[str, list[tuple[float, float]]] = {"receiver": [], "worker": []}
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-memory-") as folder:
        async with start(Path(folder)) as sandbox, aiohttp.ClientSession() as http:
            traffic = Traffic(http, sandbox)
            await traffic.fill()
            started, lives = time.monotonic(), 0
            slots = asyncio.Semaphore(AT_ONCE)

            async def live() -> None:
                async with slots:
                    await traffic.change()

            async with asyncio.TaskGroup() as tasks:
                while (now := time.monotonic() - started) < minutes * 60:
                    for name, seen in samples.items():
                        if not seen or now - seen[-1][0] >= SAMPLE_S:
                            seen.append((now, resident_mb(sandbox.line.pids[name][0])))
                    while lives * 6 < now * rate and not slots.locked():
                        lives += 1
                        tasks.create_task(live())
                    await asyncio.sleep(0.02)
    return {
        "minutes": minutes,
        "requests": traffic.requests,
        **{name: _told(seen) for name, seen in samples.items()},
    }


def _told(samples: list[tuple[float, float]]) -> dict[str, float]:
    late = samples[len(samples) // 2 :]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope
    return {
        "most_mb": round(max(mb for _, mb in samples), 1),
        "mb_an_hour": round(slope * 3600, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory under load, and whether it grows.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--rate", type=float, default=40, help="requests a second")
    options = parser.parse_args()
    figures = asyncio.run(run(options.minutes, options.rate))
    table = Table(box=box.SIMPLE_HEAD, title=f"{figures['requests']:,} requests")
    for column in ("", "at most, MB", "growth, MB an hour"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("receiver", "worker"):
        figure = figures[name]
        table.add_row(name, f"{figure['most_mb']:g}", f"{figure['mb_an_hour']:g}")
    Console().print(table)
    print(json.dumps({"benchmark": "memory", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
