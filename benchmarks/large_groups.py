"""What a change of a whole large group costs, and whom it makes wait.

    python benchmarks/large_groups.py [--members 50000]

Starts a Redis (AOF always) and a receiver, and changes one group again and again as identity
providers do that can only PUT. Beside it, each in a process of its own: a client that sends PING to
Redis every millisecond, and, in the receiver, a timer that should fire every 5 ms. Measured for
each change:

- seconds: from the first byte sent to the last one of the answer;
- of bare: the same body, sent to a bare aiohttp handler that parses it and answers the same bytes;
- stall: by how much the receiver's timer was late at most;
- ping: how long a PING took at most (idle: the same for a second in which nothing happens);
- call: the longest command, and the longest write of the append-only file, by Redis's own clock.

Prints a table, then one line of JSON. Exit 1 where a figure misses its target: PUT within 3 s, no
stall over 50 ms, no call over 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from redis import Redis
from rich import box
from rich.console import Console
from rich.table import Table

from app.config.load import load
from app.http.main import build_receiver, make_runner
from app.logs import configure_logs
from benchmarks.alone import TENANT, redis_alone

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
[limits]
max_body_bytes = 67108864
max_members = 1000000
"""
TARGET_S, TARGET_STALL_MS, TARGET_CALL_MS = 3.0, 50.0, 20.0
_TICK_S = 0.005
_HELD = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change. Times in milliseconds but for `seconds`; None where there is nothing to say."""

    change: str
    seconds: float
    of_bare: float | None
    stall_ms: float
    ping_ms: float
    call_ms: float
    file_ms: float


# --- the processes beside this one --------------------------------------------------------------


def ping(url: str, pipe: Connection) -> None:
    """Send PING every millisecond; answer each message with the longest wait since the last one."""
    longest, redis = 0.0, Redis.from_url(url)
    while True:
        started = time.perf_counter()
        redis.ping()
        longest = max(longest, time.perf_counter() - started)
        if pipe.poll(0.001):
            if pipe.recv() is None:
                return
            pipe.send(longest * 1000)
            longest = 0.0


def receive(config: str, port: int, pipe: Connection) -> None:
    """Be the receiver, and a bare handler at port + 1; tell how late a timer was at most."""
    asyncio.run(_receive(Path(config), port, pipe))


async def _receive(config: Path, port: int, pipe: Connection) -> None:
    configure_logs(level=logging.WARNING)
    receiver = build_receiver(load(config, {}), allow_volatile_redis=False)
    receiver.admitted |= set(receiver.shards.links.values())
    bare = web.Application(client_max_size=2**30)
    bare.router.add_put("/", _bare)
    runners = [make_runner(receiver), web.AppRunner(bare, access_log=None)]
    for at, runner in enumerate(runners):
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port + at).start()
    loop, latest, ended = asyncio.get_running_loop(), [0.0], asyncio.Event()

    def asked() -> None:
        if pipe.recv() is None:
            ended.set()
        else:
            pipe.send(latest[0] * 1000)
            latest[0] = 0.0

    async def tick() -> None:
        while True:
            started = loop.time()
            await asyncio.sleep(_TICK_S)
            latest[0] = max(latest[0], loop.time() - started - _TICK_S)

    loop.add_reader(pipe.fileno(), asked)
    ticking = asyncio.create_task(tick())
    pipe.send(0.0)
    await ended.wait()
    ticking.cancel()
    for runner in runners:
        await runner.cleanup()


async def _bare(request: web.Request) -> web.Response:
    body = await request.read()
    msgspec.json.decode(body)
    return web.Response(body=body, content_type="application/scim+json")


class Beside:
    """A process beside this one that measures."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        self._pipe, theirs = _HELD.Pipe()
        self._process = _HELD.Process(target=target, args=(*arguments, theirs), daemon=True)
        self._process.start()

    def ready(self) -> None:
        self._pipe.recv()

    def taken(self) -> float:
        """Return what it measured since it was asked last."""
        self._pipe.send(True)
        return float(self._pipe.recv())

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(10)


# --- the changes --------------------------------------------------------------------------------


class Bench:
    def __init__(
        self,
        http: aiohttp.ClientSession,
        redis: Redis,
        beside: tuple[Beside, Beside],
        *,
        port: int,
        token: str,
    ) -> None:
        """`beside`: those who send PING, and the receiver."""
        self._http, self._redis = http, redis
        self._pings, self._receiver = beside
        self._base = f"http://127.0.0.1:{port}/scim/{TENANT}/v2"
        self._bare = f"http://127.0.0.1:{port + 1}/"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/scim+json",
        }
        self.rows: list[Row] = []

    async def run(self, count: int) -> None:
        first = [f"{n:08x}-0000-4000-8000-000000000001" for n in range(count)]
        second = [f"{n:08x}-0000-4000-8000-000000000002" for n in range(count)]
        self._taken()
        await asyncio.sleep(1)
        ping_ms, stall_ms = self._taken()
        idle = Row(
            change="nothing, for 1 s",
            seconds=1.0,
            of_bare=None,
            stall_ms=stall_ms,
            ping_ms=ping_ms,
            call_ms=0.0,
            file_ms=0.0,
        )
        self.rows.append(idle)
        group = (await self._send("POST", "/Groups", _group([])))["id"]
        path = f"/Groups/{group}"
        for change, method, body in (
            (f"PUT {count:,}, all new", "PUT", _group(first)),
            ("PUT the same again", "PUT", _group(first)),
            ("PUT with one other", "PUT", _group([*first[1:], second[0]])),
            ("PATCH that adds one", "PATCH", _patch("add", [second[1]])),
            (f"PUT {count:,}, all others", "PUT", _group(second)),
            ("GET", "GET", None),
            (f"PATCH that adds {count:,}", "PATCH", _patch("add", first)),
            (f"PATCH that removes {count:,}", "PATCH", _patch("remove", second)),
            ("PUT of nobody", "PUT", _group([])),
            (f"PUT {count:,}, all new", "PUT", _group(first)),
            ("DELETE", "DELETE", None),
        ):
            await self._measure(change, method, path, body)

    async def _measure(self, change: str, method: str, path: str, body: bytes | None) -> None:
        bare_s = None
        if body is not None:
            bare_s = min([await self._bare_put(body) for _ in range(3)])
        await asyncio.sleep(0.3)
        self._redis.latency_reset()
        self._taken()
        started = time.perf_counter()
        await self._send(method, path, body)
        seconds = time.perf_counter() - started
        ping_ms, stall_ms = self._taken()
        latest: Any = self._redis.latency_latest()
        events = {e[0].decode(): e[3] for e in latest}
        self.rows.append(
            Row(
                change=change,
                seconds=seconds,
                of_bare=None if bare_s is None else seconds / bare_s,
                stall_ms=stall_ms,
                ping_ms=ping_ms,
                call_ms=max(events.get("command", 0), events.get("fast-command", 0)),
                file_ms=max([v for name, v in events.items() if name.startswith("aof")], default=0),
            )
        )

    def _taken(self) -> tuple[float, float]:
        return self._pings.taken(), self._receiver.taken()

    async def _bare_put(self, body: bytes) -> float:
        started = time.perf_counter()
        async with self._http.put(self._bare, data=body) as response:
            await response.read()
        return time.perf_counter() - started

    async def _send(self, method: str, path: str, body: bytes | None) -> Any:
        async with self._http.request(
            method, self._base + path, data=body, headers=self._headers
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise SystemExit(f"{method} {path}: {response.status} {answer[:500]!r}")
            return msgspec.json.decode(answer) if answer else None


def _group(members: list[str]) -> bytes:
    return msgspec.json.encode(
        {"displayName": "Everybody", "members": [{"value": m} for m in members]}
    )


def _patch(op: str, members: list[str]) -> bytes:
    operation = {"op": op, "path": "members", "value": [{"value": m} for m in members]}
    return msgspec.json.encode({"Operations": [operation]})


async def run(members: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-groups-") as name:
        async with redis_alone(Path(name), configuration=FILE) as ready:
            redis = Redis.from_url(ready.redis)
            redis.config_set("latency-monitor-threshold", 1)
            receiver = Beside(receive, str(ready.config), ready.port)
            receiver.ready()
            pings = Beside(ping, ready.redis)
            timeout = aiohttp.ClientTimeout(total=120)
            async with aiohttp.ClientSession(timeout=timeout) as http:
                bench = Bench(
                    http,
                    redis,
                    (pings, receiver),
                    port=ready.port,
                    token=ready.tokens[TENANT],
                )
                await bench.run(members)
            for beside in (pings, receiver):
                beside.end()
            return bench.rows


def table(rows: list[Row]) -> Table:
    shown = Table(box=box.SIMPLE)
    shown.add_column("change")
    for heading in ("seconds", "of bare", "stall ms", "ping ms", "call ms", "file ms"):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            row.change,
            f"{row.seconds:.2f}",
            "" if row.of_bare is None else f"{row.of_bare:.1f}",
            *(f"{ms:.1f}" for ms in (row.stall_ms, row.ping_ms, row.call_ms, row.file_ms)),
        )
    return shown


def misses(rows: list[Row]) -> list[str]:
    found = []
    for row in rows[1:]:
        if row.change.startswith("PUT") and row.seconds > TARGET_S:
            found.append(f"{row.change}: {row.seconds:.2f} s")
        if row.stall_ms > TARGET_STALL_MS:
            found.append(f"{row.change}: the receiver stood still for {row.stall_ms:.0f} ms")
        if row.call_ms > TARGET_CALL_MS:
            found.append(f"{row.change}: Redis was busy for {row.call_ms:.0f} ms")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=50_000)
    arguments = parser.parse_args()
    rows = asyncio.run(run(arguments.members))
    Console(width=110).print(table(rows))
    found = misses(rows)
    for miss in found:
        print(f"missed: {miss}", file=sys.stderr)
    print(json.dumps({"members": arguments.members, "rows": [asdict(row) for row in rows]}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
