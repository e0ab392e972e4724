"""What requests cost in a large directory, against the same requests in a small one.

    python benchmarks/growth.py [--users 1000000] [--members 100000] [--times 400]

Starts a Redis (AOF always) and one receiver process. The small directory, 1,000 users, and the
large one are two tenants side by side; the two take turns, request by request, so that both meet
the same machine. Users are loaded as the receiver would commit them, without HTTP. Measured, one
request at a time: a look-up by `userName eq`, a create, a page of 100 by cursor from well into
the list, and a PATCH that adds one member to a group of 10 and to one of `--members`.

Also, of the larger group's PATCH against the smaller one's, the bytes that go to Redis; and what
Redis keeps of a user, all indexes counted, without the event log.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.directory.directory import Directory, Origin
from app.directory.keys import Keys
from app.directory.link import Link, connect
from app.scim.messages import PATCH_OP
from app.scim.schema import GROUP_URN, USER
from app.scim.validate import parse_resource
from benchmarks.alone import Alone, receiver_alone
from benchmarks.creates import person

SMALL, LARGE = "small", "large"
FEW_USERS, FEW_MEMBERS, PAGE = 1000, 10, 100
AT_ONCE = 200
CONFIG = """\
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:1"]
[tenants.small]
targets = ["main"]
user_name = "small__{{userName}}"
marker_role = "small_managed"
[tenants.large]
targets = ["main"]
user_name = "large__{{userName}}"
marker_role = "large_managed"
"""
ORIGIN = Origin(request_id="growth", token_id="growth", digest="growth")


async def load(link: Link, tenant: str, numbers: Iterator[int], users: int) -> list[str]:
    """Create users and return their ids; the event log is cut behind them."""
    directory, ids = Directory(link, tenant, ["main"]), []
    for first in range(0, users, AT_ONCE):
        few = islice(numbers, min(AT_ONCE, users - first))
        documents = [parse_resource(USER, person(number)).document for number in few]
        made = await asyncio.gather(*(directory.create("user", d, ORIGIN) for d in documents))
        ids += [one.id for one in made]
        if first % 20_000 == 0:
            await link.redis.xtrim(Keys(tenant).events, maxlen=0)
            print(f"\r{tenant}: {len(ids):,} users", end="", file=sys.stderr)
    await link.redis.xtrim(Keys(tenant).events, maxlen=0)
    print(file=sys.stderr)
    return ids


class Client:
    """Requests of one tenant, timed."""

    def __init__(self, http: aiohttp.ClientSession, alone: Alone, tenant: str) -> None:
        self._http = http
        self._base = f"http://127.0.0.1:{alone.port}/scim/{tenant}/v2"
        self._headers = {
            "Authorization": f"Bearer {alone.tokens[tenant]}",
            "Content-Type": "application/scim+json",
        }

    async def timed(self, method: str, path: str, body: object = None) -> tuple[float, Any]:
        """Return how long it took, in ms, and the answer's JSON. Raises SystemExit for an error."""
        data = None if body is None else msgspec.json.encode(body)
        started = time.perf_counter()
        async with self._http.request(
            method, self._base + path, data=data, headers=self._headers
        ) as response:
            text = await response.read()
        taken = (time.perf_counter() - started) * 1000
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text[:200]!r}")
        return taken, msgspec.json.decode(text) if text else None

    async def group(self, name: str, members: list[str]) -> str:
        body = {
            "schemas": [GROUP_URN],
            "displayName": name,
            "externalId": name,
            "members": [{"value": member} for member in members],
        }
        _, made = await self.timed("POST", "/Groups", body)
        return str(made["id"])

    async def add_member(self, group: str, member: str) -> float:
        value = [{"value": member}]
        operation = {"op": "add", "path": "members", "value": value}
        body = {"schemas": [PATCH_OP], "Operations": [operation]}
        taken, _ = await self.timed("PATCH", f"/Groups/{group}", body)
        return taken


async def measured(users: int, members: int, times: int) -> dict[str, Any]:
    numbers = count(1)
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-growth-") as folder:
        async with (
            receiver_alone(Path(folder), (SMALL, LARGE), CONFIG) as alone,
            aiohttp.ClientSession() as http,
        ):
            link = connect(alone.redis)
            ids = {SMALL: await load(link, SMALL, numbers, FEW_USERS)}
            before = (await link.redis.info("memory"))["used_memory"]
            ids[LARGE] = await load(link, LARGE, numbers, users)
            memory = ((await link.redis.info("memory"))["used_memory"] - before) / users
            clients = {tenant: Client(http, alone, tenant) for tenant in ids}
            reads = {
                tenant: await _reads(client, link, tenant, ids[tenant])
                for tenant, client in clients.items()
            }
            taken = await _requests(clients, reads, numbers, times)
            in_group = await _members(clients[LARGE], link, ids[LARGE], members, times)
            await link.close()
    return {
        "users": users,
        "members": members,
        **{what: _compared(both[SMALL], both[LARGE]) for what, both in taken.items()},
        **in_group,
        "bytes_per_user": round(memory),
    }


async def _reads(client: Client, link: Link, tenant: str, ids: list[str]) -> dict[str, str]:
    """Return the paths of a look-up of somebody in the middle of the list, and of a page there."""
    stored = await Directory(link, tenant, ["main"]).get("user", ids[len(ids) // 2])
    name = stored.document["userName"] if stored else ""
    path = f"/Users?cursor&count={PAGE}"
    for _ in range(min(len(ids) // PAGE // 2, 50)):
        _, page = await client.timed("GET", path)
        path = f"/Users?cursor={page['nextCursor']}&count={PAGE}"
    return {"look-up": "/Users?filter=" + quote(f'userName eq "{name}"'), "cursor page": path}


async def _requests(
    clients: dict[str, Client],
    reads: dict[str, dict[str, str]],
    numbers: Iterator[int],
    times: int,
) -> dict[str, dict[str, list[float]]]:
    kinds = ("look-up", "create", "cursor page")
    taken: dict[str, dict[str, list[float]]] = {what: {SMALL: [], LARGE: []} for what in kinds}
    for _ in range(times):
        for tenant, client in clients.items():
            ms, _ = await client.timed("POST", "/Users", person(next(numbers)))
            taken["create"][tenant].append(ms)
            for what, path in reads[tenant].items():
                ms, _ = await client.timed("GET", path)
                taken[what][tenant].append(ms)
    return taken


async def _members(
    client: Client, link: Link, ids: list[str], members: int, times: int
) -> dict[str, Any]:
    """Add members to both groups in turns; the bytes to Redis are asked of it around each."""
    half = min(members, len(ids) // 2)
    groups = {
        "few": await client.group("few", ids[:FEW_MEMBERS]),
        "many": await client.group("many", ids[:half]),
    }
    taken: dict[str, list[float]] = {name: [] for name in groups}
    sent: dict[str, list[float]] = {name: [] for name in groups}
    for member in ids[half : half + times]:
        for name, group in groups.items():
            before = (await link.redis.info("stats"))["total_net_input_bytes"]
            taken[name].append(await client.add_member(group, member))
            after = (await link.redis.info("stats"))["total_net_input_bytes"]
            sent[name].append(after - before)
    return {
        "member": _compared(taken["few"], taken["many"]),
        "member bytes": _compared(sent["few"], sent["many"]),
    }


def _compared(few: list[float], many: list[float]) -> dict[str, float]:
    small, large = statistics.median(few), statistics.median(many)
    return {"small": round(small, 2), "large": round(large, 2), "ratio": round(large / small, 2)}


def show(figures: dict[str, Any]) -> None:
    users = f"1,000 against {figures['users']:,} users"
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"medians: {users}, a group of 10 against one of {figures['members']:,}",
    )
    for column in ("", "small", "large", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in figures.items():
        if isinstance(value, dict):
            unit = "" if "bytes" in name else " ms"
            table.add_row(
                f"{name}{unit}", f"{value['small']:g}", f"{value['large']:g}", f"{value['ratio']}"
            )
    table.add_row("Redis keeps of a user, bytes", "", f"{figures['bytes_per_user']:,}", "")
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description="The same cost at any size.")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=400)
    options = parser.parse_args()
    figures = asyncio.run(measured(options.users, options.members, options.times))
    show(figures)
    print(json.dumps({"benchmark": "growth", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
