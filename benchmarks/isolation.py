"""What targets that are dead or hang cost the lanes of others.

    python benchmarks/isolation.py [--users 600] [--rounds 5]

Starts a sandbox with one tenant on a target that works, and six tenants each on a target where
nobody listens and on one that takes connections and never answers. All of these have changes that
wait. Then, in turns: the waiting lanes are paused, or they try; meanwhile everybody of the first
tenant joins and leaves a group, one event each, and its lane goes through them. The two are
compared in one run, so other load on the machine is in both.

Prints the figures as one line of JSON: `alone` and `beside` are how many events a second the lane
got through, `cost` what part of its speed the others cost it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.directory.directory import Directory, Origin
from app.directory.lanes import LaneStore
from app.directory.link import Link, connect
from app.sandbox.running import start
from app.scim.members import MemberChange

TENANT, TARGET = "acme", "main"
AWAY = 6  # tenants of each target that is not to be used
WAITING = 50  # changes of each of them
ORIGIN = Origin(request_id="benchmark", token_id="benchmark", digest="")
DEADLINE_S = 120.0
CONFIG = """\
[guard]
max_share = 1
[targets.main]
[targets.dead]
hosts = ["127.0.0.1:1"]
user = "nobody"
[targets.hangs]
hosts = ["127.0.0.1:{port}"]
user = "nobody"
[tenants.acme]
targets = ["main"]
[tenants.acme.authentication]
method = "no_password"
[[tenants.acme.groups]]
group = "Data Analysts"
roles = ["analyst"]
[tenants.acme.roles.analyst]
grants = ["SELECT ON system.one"]
"""
OTHER = """\
[tenants.{tenant}]
targets = ["{target}"]
user_name = "{{tenant}}__{{userName}}"
marker_role = "{tenant}_managed"
[tenants.{tenant}.authentication]
method = "no_authentication"
"""


def others() -> list[tuple[str, str]]:
    return [(f"{target}{number}", target) for target in ("dead", "hangs") for number in range(AWAY)]


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what comes and say nothing."""
    while await reader.read(65536):
        pass
    writer.close()


async def until_applied(lane: LaneStore) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (status := await lane.status()).applied_seq < status.last_seq:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def events_a_second(link: Link, group: str, people: Sequence[str], *, joins: bool) -> float:
    """Have everybody join or leave, and return how fast the lane goes through that."""
    lane, directory = LaneStore(link, TENANT, TARGET), Directory(link, TENANT, [TARGET])
    await lane.pause()
    for one in people:
        stored = await directory.get("group", group)
        if stored is None:
            raise AssertionError("the group is there")
        change = MemberChange(add=(one,), remove=()) if joins else MemberChange((), (one,))
        await directory.update("group", stored, stored.document, ORIGIN, members=change)
    await lane.resume()
    began = time.perf_counter()
    await until_applied(lane)
    return len(people) / (time.perf_counter() - began)


async def run(link: Link, users: int, rounds: int) -> dict[str, object]:
    directory = Directory(link, TENANT, [TARGET])
    people = [
        (await directory.create("user", {"userName": f"u{number}", "active": True}, ORIGIN)).id
        for number in range(users)
    ]
    team, key = {"displayName": "Data Analysts"}, "name:data analysts"
    group = (await directory.create("group", team, ORIGIN, role_keys=[key])).id
    for tenant, target in others():
        its = Directory(link, tenant, [target])
        for number in range(WAITING):
            await its.create("user", {"userName": f"u{number}", "active": True}, ORIGIN)
    await until_applied(LaneStore(link, TENANT, TARGET))
    waiting = [LaneStore(link, *lane) for lane in others()]
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds):
        tries = number % 4 in {1, 2}
        for lane in waiting:
            await (lane.resume() if tries else lane.pause())
        await asyncio.sleep(1.0)
        speed = await events_a_second(link, group, people, joins=number % 2 == 0)
        speeds[tries].append(speed)
    alone, beside = statistics.median(speeds[False]), statistics.median(speeds[True])
    return {
        "benchmark": "isolation",
        "users": users,
        "rounds": rounds,
        "alone": round(alone),
        "beside": round(beside),
        "cost": round(1 - beside / alone, 3),
    }


async def measured(users: int, rounds: int) -> dict[str, object]:
    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    config = CONFIG.format(port=server.sockets[0].getsockname()[1])
    config += "".join(OTHER.format(tenant=tenant, target=target) for tenant, target in others())
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-isolation-") as folder:
        file = Path(folder) / "isolation.toml"
        file.write_text(config)
        async with start(Path(folder), "--config", str(file)) as sandbox:
            link = connect(sandbox.line.redis)
            try:
                return await run(link, users, rounds)
            finally:
                await link.close()
                server.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="What dead targets cost the lanes of others.")
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measured(options.users, options.rounds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
