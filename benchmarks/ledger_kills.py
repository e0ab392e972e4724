"""Kill worker, Redis and ClickHouse with SIGKILL while events happen; count what the ledger has.

    python benchmarks/ledger_kills.py --events 20000 --every 3

Starts a sandbox of its own. While --events changes go in over HTTP, one of its processes is killed
every few seconds. Afterwards each event has to be in the ledger once, each statement once, the
chain has to hold, and a directory that is rebuilt from the ledger has to be the one that was lost.
Exit code 1 if one of that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from app.sandbox.session import log_in
from app.scim.messages import PATCH_OP

_AT_ONCE = 24
_TRIES = 200
_CAUGHT_UP_S = 300.0
_JSON = {"Content-Type": "application/scim+json"}


@dataclass(slots=True)
class Site:
    """A running sandbox. `seqs`: of the events that were acknowledged."""

    line: dict[str, Any]
    folder: Path
    http: aiohttp.ClientSession
    seqs: set[int] = field(default_factory=set)
    again: int = 0

    @property
    def scim(self) -> dict[str, str]:
        found: dict[str, str] = self.line["scim"]["acme"]
        return found

    def pids(self) -> dict[str, list[int]]:
        told = json.loads((self.folder / "pids.json").read_text())
        return {
            "worker": told["worker"],
            "redis": [told["redis"]],
            "clickhouse": [told["clickhouse"]["main"]],
        }

    async def send(self, method: str, path: str, body: Any) -> Any:
        """Send a request until it is answered for good."""
        for attempt in range(_TRIES):
            try:
                async with self.http.request(
                    method, self.scim["base_url"] + path, json=body, headers=_JSON
                ) as reply:
                    if reply.status < 500:
                        told = await reply.json() if reply.status != 204 else None
                        if reply.status < 300:
                            self.seqs.add(int(reply.headers["X-Event-Seq"]))
                        elif reply.status != 409:
                            raise SystemExit(f"{method} {path}: {reply.status} {told}")
                        return told
            except (aiohttp.ClientError, TimeoutError):
                pass
            self.again += 1
            await asyncio.sleep(min(0.05 * 2**attempt, 1.0))
        raise SystemExit(f"{method} {path} was never answered")

    async def rows(self, sql: str) -> list[list[Any]]:
        async with log_in(self.line["clickhouse"]["main"]) as session:
            return [list(row) for row in await session.rows(sql)]


async def live(site: Site, events: int) -> None:
    """Have users made, changed, and put into groups, `events` changes in all."""
    left = iter(range(events))

    async def one_after_the_other() -> None:
        for number in left:
            name = f"u{number}@acme.example"
            made = await site.send("POST", "/Users", {"userName": name})
            if made is None or "id" not in made:
                continue
            change: dict[str, Any]
            if number % 3 == 0 and next(left, None) is not None:
                change = {"op": "replace", "path": "title", "value": f"t{number}"}
                await site.send("PATCH", f"/Users/{made['id']}", _patch(change))
            if number % 10 == 0 and next(left, None) is not None:
                group = {"displayName": f"g{number}", "members": [{"value": made["id"]}]}
                await site.send("POST", "/Groups", group)
            if number % 7 == 0 and next(left, None) is not None:
                change = {"op": "replace", "path": "active", "value": False}
                await site.send("PATCH", f"/Users/{made['id']}", _patch(change))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(one_after_the_other())


def _patch(change: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": [change]}


async def kill(site: Site, every_s: float, rng: random.Random, killed: dict[str, int]) -> None:
    """Kill one of the processes every now and then, until cancelled."""
    while True:
        await asyncio.sleep(every_s * rng.uniform(0.5, 1.5))
        what = rng.choice(["worker", "worker", "redis", "clickhouse"])
        for pid in site.pids()[what]:
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed[what] = killed.get(what, 0) + 1


async def caught_up(site: Site) -> int:
    """Wait until the ledger has everything; return the seq of the last event."""
    redis, took = Redis.from_url(site.line["redis"]), dict[str, float]()
    started = time.monotonic()
    prefix = "scim:{acme}:"
    try:
        while True:
            seq = int(await redis.get(f"{prefix}seq") or 0)
            cursor = int(await redis.hget(f"{prefix}lane:+ledger", "cursor") or 0)
            lane = int(await redis.hget(f"{prefix}lane:main", "cursor") or 0)
            waiting = await redis.xlen(f"{prefix}facts")
            dirty = await redis.hlen(f"{prefix}dirty")
            if seq == cursor and not waiting and "ledger" not in took:
                took["ledger"] = time.monotonic() - started
            if seq == lane and not dirty and "lane" not in took:
                took["lane"] = time.monotonic() - started
            if seq == cursor == lane and not waiting and not dirty:
                print(f"caught up: {', '.join(f'{k} after {s:.1f} s' for k, s in took.items())}")
                return seq
            if time.monotonic() - started > _CAUGHT_UP_S:
                told = f"events {cursor}, lane {lane} of {seq}; {waiting} facts"
                raise SystemExit(f"the ledger did not catch up: {told}")
            await asyncio.sleep(0.2)
    finally:
        await redis.aclose()


async def command(site: Site, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli.main", *words, "--config", site.line["config"]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode().strip()


async def directory(redis: Redis) -> dict[bytes, Any]:
    """Return the documents, the members and the links, as bytes."""
    found: dict[bytes, Any] = {}
    async for key in redis.scan_iter(match="scim:\\{acme\\}:*", count=5000):
        part = key.removeprefix(b"scim:{acme}:")
        if part.startswith((b"user:", b"group:")):
            found[key] = await redis.get(key)
        elif part.startswith((b"members:", b"users", b"groups")):
            kind = await redis.type(key)
            found[key] = (
                await redis.zrange(key, 0, -1, withscores=True)
                if kind == b"zset"
                else await redis.hgetall(key)  # type: ignore[misc]
            )
    return found


async def judge(site: Site, seq: int) -> list[str]:
    """Return what is not as it should be."""
    wrong = []
    ((events, distinct, first, last),) = await site.rows(
        "SELECT count(), uniqExact(seq), min(seq), max(seq) FROM scim.events"
    )
    if not events == distinct == last == seq or first != 1:
        wrong.append(f"{events} rows for {seq} events, {distinct} of them different")
    if not site.seqs <= set(range(1, seq + 1)):
        wrong.append("an event that was acknowledged is missing")
    ((rows, statements, words),) = await site.rows(
        "SELECT count(), uniqExact(id), uniqExact(id, version) FROM scim.statements"
    )
    if rows != words:
        wrong.append(f"{rows} rows for {words} records of {statements} statements")
    results = await site.rows(
        "SELECT result, count() FROM scim.statements FINAL GROUP BY result ORDER BY result"
    )
    code, told = await command(site, "audit", "verify", "acme")
    if code:
        wrong.append(told)
    print(f"  events {events}, statements {statements}: {dict(map(tuple, results))}; {told}")
    return wrong + await _unlogged(site)


async def _unlogged(site: Site) -> list[str]:
    """Compare with the server's own log, as far as it reaches over its deaths."""
    try:
        ((logged,),) = await site.rows(
            "SELECT uniqExact(query_id) FROM system.query_log WHERE user = 'provisioner'"
            " AND type = 'QueryFinish' AND startsWith(query_id, 'scim-')"
            " AND match(query, '^(CREATE|ALTER|GRANT|REVOKE|DROP|KILL)')"
        )
        ((missing,),) = await site.rows(
            "SELECT uniqExact(query_id) FROM system.query_log WHERE user = 'provisioner'"
            " AND type = 'QueryFinish' AND startsWith(query_id, 'scim-')"
            " AND match(query, '^(CREATE|ALTER|GRANT|REVOKE|DROP|KILL)')"
            " AND query_id NOT IN (SELECT id FROM scim.statements)"
        )
    except Exception as error:  # noqa: BLE001 - a server without a log tells nothing
        print(f"  the server's own log: {str(error)[:100]}")
        return []
    print(f"  in the server's own log: {logged} statements, {missing} of them not in the ledger")
    return [f"{missing} statements are not in the ledger"] if missing else []


async def rebuild(site: Site) -> list[str]:
    """Lose Redis, rebuild the directory, compare."""
    redis = Redis.from_url(site.line["redis"])
    try:
        before = await directory(redis)
        await redis.flushall()
        started = time.monotonic()
        code, told = await command(site, "directory", "rebuild", "acme")
        print(f"  {told} ({time.monotonic() - started:.1f} s)")
        after = await directory(redis)
    finally:
        await redis.aclose()
    if code or before != after:
        return [f"rebuilt is another directory: {len(before)} keys before, {len(after)} after"]
    return []


async def run(events: int, every_s: float, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="ledger-kills-") as name:
        folder = Path(name)
        options = ["--json", "--workers", "2", "--data-dir", str(folder)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli.main", "sandbox", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            line = json.loads(await process.stdout.readline())
            token = line["scim"]["acme"]["token"]
            timeout = aiohttp.ClientTimeout(total=30)
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
                return await _run(Site(line, folder, http), events, every_s, random.Random(seed))
        finally:
            process.terminate()
            await process.wait()


async def _run(site: Site, events: int, every_s: float, rng: random.Random) -> int:
    killed: dict[str, int] = {}
    started = time.monotonic()
    killer = asyncio.create_task(kill(site, every_s, rng, killed))
    await live(site, events)
    killer.cancel()
    lived_s = time.monotonic() - started
    print(f"{events} changes in {lived_s:.0f} s, sent again {site.again} times; killed: {killed}")
    seq = await caught_up(site)
    wrong = await judge(site, seq)
    wrong += await rebuild(site)
    await site.rows(
        "ALTER TABLE scim.events UPDATE name = 'x' WHERE seq = 7 SETTINGS mutations_sync = 2"
    )
    code, told = await command(site, "audit", "verify", "acme")
    print(f"  after a change by hand: exit code {code}: {told.splitlines()[-1]}")
    if code != 1:
        wrong.append("a change by hand was not found")
    for one in wrong:
        print(f"WRONG: {one}")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    return asyncio.run(run(asked.events, asked.every, asked.seed))


if __name__ == "__main__":
    raise SystemExit(main())
