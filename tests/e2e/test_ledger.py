"""The ledger after kills in the middle of everything: whole, once, and what the targets show."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from app.directory.keys import LEDGER, Keys
from app.sandbox.running import PROGRAM

if TYPE_CHECKING:
    from tests.e2e.conftest import Company, World

CHANGES = 240  # benchmarks/ledger_kills.py does the same with 20,000
GROUPS = ("Data Analysts", "Data Engineers", "Everyone")


async def command(world: World, *words: str) -> tuple[int, Any]:
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAM, *words, "--json", "--config", world.sandbox.line.config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None


async def until_written(world: World) -> int:
    """Wait until the ledger has everything; return the seq of the last event."""
    redis, keys = world.link.redis, Keys("acme")
    async with asyncio.timeout(60):
        while True:
            seq = int(await redis.get(keys.seq))
            cursor = await redis.hget(keys.lane("lane", LEDGER), "cursor")  # type: ignore[misc]
            if int(cursor or 0) == seq and not await redis.xlen(keys.facts):
                return seq
            await asyncio.sleep(0.05)


async def documents(world: World) -> dict[bytes, bytes | None]:
    redis = world.link.redis
    keys = [key async for key in redis.scan_iter("*") if b"}:user:" in key or b"}:group:" in key]
    return {key: await redis.get(key) for key in sorted(keys)}


async def test_a_ledger_is_whole_after_kills_of_everything_around_it(
    world: World, company: type[Company]
) -> None:
    people = company(world.idp, seed=8, people=40)
    await people.found(GROUPS)
    for part in ("worker", "redis", "clickhouse"):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(people.change(CHANGES // 3))
            half = people.done + CHANGES // 6
            while people.done < half:  # noqa: ASYNC110 - half-way is no event
                await asyncio.sleep(0)
            await world.kill(part)
    assert (await world.idle()).dead_letters == 0
    seq = await until_written(world)

    ((rows, events, last),) = await world.sql(
        "SELECT count(), uniqExact(seq), max(seq) FROM scim.events"
    )
    assert rows == events == last == seq
    ((rows, words),) = await world.sql(
        "SELECT count(), uniqExact(id, version) FROM scim.statements"
    )
    assert rows == words > 0
    code, (chain,) = await command(world, "audit", "verify", "acme")
    assert (code, chain["ok"], chain["last_seq"]) == (0, True, seq)

    # What users hold by the ledger is what they hold on the target.
    code, held = await command(world, "access", "show", "acme", "--at", "2099-01-01")
    by_ledger: dict[str, set[str]] = {}
    for row in held:
        by_ledger.setdefault(row["user"], set()).add(row["role"])
    seen = await world.access()
    assert by_ledger == {name: set(one.roles) for name, one in seen.items() if one.roles}

    before = await documents(world)
    await world.link.redis.flushall()
    code, told = await command(world, "directory", "rebuild", "acme")
    assert (code, told["seq"]) == (0, seq)
    assert await documents(world) == before
    assert (await world.idle()).dead_letters == 0
    assert await world.access() == seen
