"""How long a deactivation takes that comes behind 100,000 waiting events.

    python benchmarks/overtaking.py [--events 100000] [--deactivations 100]

Starts a sandbox with one tenant of 2,000 people who are applied. The lane is paused, and meanwhile
the log fills: people are created and changed, a group's members too. Then the lane goes on, and
while it works its way through, one person after the other is deactivated over HTTP, with pauses of
some hundredths of a second. Measured is the time from the 2xx until the target says that the user
holds no role and has no way in, asked every 20 ms.

Prints the figures as one line of JSON; `waiting` is how many events were before the first and
before the last deactivation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import msgspec

from app.directory.directory import Directory, Origin
from app.directory.lanes import LaneStore
from app.directory.link import Link, connect
from app.sandbox.running import Sandbox, start
from app.sandbox.session import Session, log_in
from app.scim.members import MemberChange
from app.scim.messages import PATCH_OP

TENANT, TARGET = "acme", "main"
PEOPLE = 2000
ORIGIN = Origin(request_id="benchmark", token_id="benchmark", digest="")
WAYS_IN = (
    "SELECT (SELECT count() FROM system.role_grants WHERE user_name = %(user)s"
    " AND granted_role_name != 'scim_managed')"
    " + (SELECT count() FROM system.users WHERE name = %(user)s AND notEmpty(host_ip))"
)


async def together(count: int, makes: Iterable[object]) -> None:
    """Await all of these, `count` at once."""
    waiting = iter(makes)

    async def one() -> None:
        for make in waiting:
            await make  # type: ignore[misc]

    await asyncio.gather(*(one() for _ in range(count)))


async def fill(directory: Directory, people: dict[str, str], events: int) -> None:
    """Put `events` into the log: a third newcomers, a third changes, a third memberships."""
    rng = random.Random(7)
    team, key = {"displayName": "Data Analysts"}, "name:data analysts"
    group = (await directory.create("group", team, ORIGIN, role_keys=[key])).id
    ids = list(people.values())

    async def make(number: int) -> None:
        if number % 3 == 0:
            name = f"newcomer{number}@acme.example"
            await directory.create("user", {"userName": name, "active": True}, ORIGIN)
        elif number % 3 == 1:
            stored = await directory.get("user", rng.choice(ids))
            assert stored is not None
            document = stored.document | {"displayName": f"Person {number}"}
            await directory.update("user", stored, document, ORIGIN)
        else:
            stored = await directory.get("group", group)
            assert stored is not None
            change = MemberChange(add=(rng.choice(ids),), remove=(rng.choice(ids),))
            await directory.update("group", stored, stored.document, ORIGIN, members=change)

    async def tried(number: int) -> None:
        try:
            await make(number)
        except Exception as error:
            if type(error).__name__ != "Stale":
                raise

    await together(32, (tried(number) for number in range(events)))


async def closed(administrator: Session, user: str) -> None:
    while await administrator.rows(WAYS_IN, {"user": user}) != [(0,)]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def run(sandbox: Sandbox, link: Link, events: int, deactivations: int) -> dict[str, object]:
    directory = Directory(link, TENANT, [TARGET], ledger=True)
    lane = LaneStore(link, TENANT, TARGET)
    people: dict[str, str] = {}

    async def join(name: str) -> None:
        document = {"userName": name, "active": True}
        people[name] = (await directory.create("user", document, ORIGIN)).id

    names = [f"person{number}@acme.example" for number in range(PEOPLE)]
    await together(32, (join(name) for name in names))
    while (await lane.status()).applied_seq < PEOPLE:  # noqa: ASYNC110 - the lane is in Redis
        await asyncio.sleep(0.05)
    await lane.pause()
    await fill(directory, people, events)
    endpoint = sandbox.line.scim[TENANT]
    headers = {
        "Authorization": f"Bearer {endpoint.token}",
        "Content-Type": "application/scim+json",
    }
    operation = {"op": "replace", "path": "active", "value": False}
    body = msgspec.json.encode({"schemas": [PATCH_OP], "Operations": [operation]})
    taken, waiting, pause = [], [], random.Random(20260401)
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        log_in(sandbox.line.clickhouse[TARGET]) as administrator,
    ):
        await lane.resume()
        began = time.perf_counter()
        for name in random.Random(3).sample(names, deactivations):
            url = f"{endpoint.base_url}/Users/{people[name]}"
            async with http.patch(url, data=body) as response:
                assert response.status < 300, await response.text()
            answered = time.perf_counter()
            status = await lane.status()
            waiting.append(status.last_seq - status.applied_seq)
            async with asyncio.timeout(60):
                await closed(administrator, name)
            taken.append(time.perf_counter() - answered)
            await asyncio.sleep(pause.uniform(0.01, 0.05))
        status = await lane.status()
        applied = (status.applied_seq - PEOPLE) / (time.perf_counter() - began)
    ordered = sorted(taken)
    return {
        "benchmark": "overtaking",
        "events": events,
        "deactivations": deactivations,
        "p50_ms": round(ordered[len(ordered) // 2] * 1000),
        "p99_ms": round(ordered[math.ceil(0.99 * len(ordered)) - 1] * 1000),
        "max_ms": round(ordered[-1] * 1000),
        "waiting": [waiting[0], waiting[-1]],
        "events_a_second": round(applied),
    }


async def measured(events: int, deactivations: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-overtaking-") as folder:
        async with start(Path(folder)) as sandbox:
            link = connect(sandbox.line.redis)
            try:
                return await run(sandbox, link, events, deactivations)
            finally:
                await link.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="A deactivation behind waiting events.")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--deactivations", type=int, default=100)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measured(options.events, options.deactivations))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
