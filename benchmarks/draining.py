"""Events that one worker process applies a second, against one job and one statement an event.

    python benchmarks/draining.py [--events 3000] [--rounds 3]

Starts a sandbox. While the lane is paused, mixed traffic is committed to it: people who come, join
and leave groups, change their titles, are deactivated and deleted. Then it is resumed, and the time
counts until all of it is on the target. The baseline, in turns with that, is what a plain design
would do on the same servers: an arq worker that gets a job for each event, which sends its
statement. Its figure has no Redis commit, no look at the target and no ledger in it.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from arq.connections import RedisSettings, create_pool
from arq.worker import Worker, func
from rich import box
from rich.console import Console
from rich.table import Table

from app.directory.directory import Directory, Origin
from app.directory.lanes import LaneStore
from app.directory.link import Link, connect
from app.sandbox.running import start
from app.scim.members import MemberChange
from app.scim.schema import USER
from app.scim.validate import parse_resource
from app.wake import CALLS
from benchmarks.alone import until
from benchmarks.creates import person
from workers.access.statements import quote_identifier
from workers.clickhouse.pool import Endpoint, Pool

TENANT, TARGET = "acme", "main"
GROUPS = 8
PLAIN_EVENTS = 300  # enough, since each takes the same
QUEUE = "benchmark:plain"
ORIGIN = Origin(request_id="draining", token_id="draining", digest="")


async def traffic(directory: Directory, events: int, numbers: Iterator[int]) -> None:
    """Commit so many events. Of ten, four people come, three memberships change, and one person
    each gets another title, is deactivated, and is deleted.
    """
    groups = [
        (await directory.create("group", {"displayName": f"Group {next(numbers)}"}, ORIGIN)).id
        for _ in range(GROUPS)
    ]
    people: list[str] = []
    for number in range(events - GROUPS):
        turn = number % 10
        if turn < 4:
            document = parse_resource(USER, person(next(numbers))).document
            people.append((await directory.create("user", document, ORIGIN)).id)
        elif turn < 7:
            group = await directory.get("group", groups[number % GROUPS])
            if group is not None:
                change = MemberChange(add=(people[-turn + 3],))
                await directory.update("group", group, group.document, ORIGIN, members=change)
        elif turn == 9:
            await directory.delete("user", people.pop(0), ORIGIN)
        else:
            user = await directory.get("user", people[number % len(people)])
            if user is not None:
                document = {**user.document, "title": f"Title {number}", "active": turn == 7}
                await directory.update("user", user, document, ORIGIN)


async def applied_a_second(link: Link, events: int, numbers: Iterator[int]) -> float:
    lane = LaneStore(link, TENANT, TARGET)
    await lane.pause()
    before = (await lane.status()).last_seq
    await traffic(Directory(link, TENANT, [TARGET]), events, numbers)
    last = (await lane.status()).last_seq
    started = time.perf_counter()
    await lane.resume()
    await link.redis.publish(CALLS, str(lane))

    async def is_applied() -> bool:
        return (await lane.status()).applied_seq >= last

    await until(is_applied)
    return (last - before) / (time.perf_counter() - started)


async def plain_a_second(url: str, pool: Pool, numbers: Iterator[int]) -> float:
    """Return what the plain design does: a job for each event, a statement in each job."""

    async def apply(_: dict[Any, Any], user: str, number: int) -> None:
        name = quote_identifier(user)
        async with pool.session() as session:
            if number % 2:
                await session.query(f"GRANT plain_role TO {name}")
            else:
                await session.query(f"CREATE USER {name} IDENTIFIED WITH no_password")

    redis = await create_pool(RedisSettings.from_dsn(url))
    users = [f"plain {next(numbers)}" for _ in range(PLAIN_EVENTS // 2)]
    for number in range(2):  # all are created before the first one is granted something
        for user in users:
            await redis.enqueue_job("apply", user, number, _queue_name=QUEUE)
    worker = Worker(
        functions=[func(cast(Any, apply), name="apply")],
        queue_name=QUEUE,
        redis_pool=redis,
        burst=True,
        poll_delay=0.01,
        keep_result=0,
        handle_signals=False,
    )
    started = time.perf_counter()
    await worker.async_run()
    taken = time.perf_counter() - started
    if worker.jobs_complete != PLAIN_EVENTS:
        raise SystemExit(f"{worker.jobs_failed} jobs failed")
    await worker.close()
    return PLAIN_EVENTS / taken


async def run(events: int, rounds: int) -> dict[str, float]:
    # A tenth of the people are deleted at once: the brake would ask an operator.
    os.environ["CLICKHOUSE_SCIM__GUARD__MAX_SHARE"] = "1"
    numbers = count()
    pairs = []
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-draining-") as folder:
        async with start(Path(folder)) as sandbox:
            link = connect(sandbox.line.redis)
            parts = urlsplit(sandbox.line.clickhouse[TARGET])
            pool = Pool(Endpoint(hosts=((parts.hostname or "", parts.port or 0),), user="default"))
            async with pool.session() as session:
                await session.query("CREATE ROLE plain_role")
            for _ in range(rounds):
                plain = await plain_a_second(sandbox.line.redis, pool, numbers)
                pairs.append((await applied_a_second(link, events, numbers), plain))
            await pool.close()
            await link.close()
    return {
        "applied_per_s": round(statistics.median(ours for ours, _ in pairs)),
        "plain_per_s": round(statistics.median(plain for _, plain in pairs)),
        "ratio": round(statistics.median(ours / plain for ours, plain in pairs), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Events applied by one worker process.")
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures = asyncio.run(run(options.events, options.rounds))
    table = Table(box=box.SIMPLE_HEAD, title="events a second, one lane, one worker process")
    for column in ("", "per second"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("applied", f"{figures['applied_per_s']:g}")
    table.add_row("a job and a statement each (baseline)", f"{figures['plain_per_s']:g}")
    table.add_row("ratio", f"{figures['ratio']:g}")
    Console().print(table)
    print(json.dumps({"benchmark": "draining", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
