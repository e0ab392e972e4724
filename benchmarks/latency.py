"""How long a change takes from its 2xx to the target, on an idle system.

    python benchmarks/latency.py [--changes 200] [--json-line FILE]

Starts a sandbox with one tenant of 200 people and 12 groups, or uses the one whose line of JSON is
in FILE (its tenant must be empty). Then single changes, one at a time: somebody is created, joins a
group, leaves it, is deactivated, comes back, is deleted, and so on with the next one. Measured:

- seen: until the target shows the effect to its administrator, asked over one open connection with
  pauses of 5 ms. An answer costs the target more than most access statements (second line of the
  table), so asking without pauses would mostly measure the asking. Both are part of the figure;
- acknowledged: the same changes again, without questions to the target, until the lane's
  `applied_seq` reaches the change's `X-Event-Seq`, asked of Redis every millisecond;
- request: the 2xx itself, from the first byte sent;
- statement: bare round trips of such statements on the same target by the administrator, alone;
- reads: how often Redis had to read from a client for each change, whoever it was, less what it
  reads while nothing happens. Commands that come together are one; other load changes nothing.

Prints a table, then one line of JSON.
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
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import aiohttp
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.directory.lanes import LaneStore
from app.directory.link import Link, connect
from app.sandbox.cast import load_cast
from app.sandbox.player import Player
from app.sandbox.running import Line, Sandbox, SandboxFailed, start
from app.sandbox.session import Session, log_in
from app.sandbox.story import load_chain
from app.scim.messages import PATCH_OP
from app.scim.schema import USER_URN

TENANT, TARGET = "acme", "main"
EFFECT_DEADLINE_S = 30.0
IDLE_S = 3.0
ASK_EVERY_S, ASK_TARGET_EVERY_S = 0.001, 0.005

HOLDS = (
    "SELECT count() FROM system.role_grants"
    " WHERE user_name = %(user)s AND granted_role_name = %(role)s"
)
LOCKED = (
    "SELECT (SELECT count() FROM system.role_grants"
    " WHERE user_name = %(user)s AND granted_role_name = %(role)s)"
    " + (SELECT count() FROM system.users WHERE name = %(user)s AND NOT (empty(host_ip)"
    " AND empty(host_names) AND empty(host_names_regexp) AND empty(host_names_like)))"
)
EXISTS = "SELECT count() FROM system.users WHERE name = %(user)s"


@dataclass(frozen=True, slots=True)
class Effect:
    """What the target shows once a change is there: `sql` gives `count`."""

    sql: str
    role: str
    count: int


EFFECTS = {
    "create": Effect(HOLDS, "employee", 1),
    "join a group": Effect(HOLDS, "analyst", 1),
    "leave a group": Effect(HOLDS, "analyst", 0),
    "deactivate": Effect(LOCKED, "employee", 0),
    "reactivate": Effect(HOLDS, "employee", 1),
    "delete": Effect(EXISTS, "", 0),
}

STATEMENTS = (
    "CREATE USER bench_baseline IDENTIFIED WITH no_password",
    "GRANT employee TO bench_baseline",
    "GRANT analyst TO bench_baseline",
    "REVOKE analyst FROM bench_baseline",
    "REVOKE ALL FROM bench_baseline",
    "ALTER USER bench_baseline HOST NONE",
    "DROP USER bench_baseline",
)


class Changer:
    """Sends the changes: person after person through the kinds of `EFFECTS`, in their order."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, group: str) -> None:
        self._http = http
        self._base_url = base_url
        self._group = group
        self._number = 0
        self._id = ""
        self.user_name = ""

    async def change(self, kind: str) -> int:
        """Make one change and return its seq."""
        user = f"/Users/{self._id}"
        match kind:
            case "create":
                self._number += 1
                self.user_name = f"bench-{time.time_ns()}-{self._number}@acme.example"
                body = {"schemas": [USER_URN], "userName": self.user_name, "active": True}
                return await self._send("POST", "/Users", body)
            case "join a group":
                return await self._patch(f"/Groups/{self._group}", "add", "members", self._member)
            case "leave a group":
                path = f'members[value eq "{self._id}"]'
                return await self._patch(f"/Groups/{self._group}", "remove", path, None)
            case "deactivate":
                return await self._patch(user, "replace", "active", False)
            case "reactivate":
                return await self._patch(user, "replace", "active", True)
            case _:
                return await self._send("DELETE", user, None)

    @property
    def _member(self) -> list[dict[str, str]]:
        return [{"value": self._id}]

    async def _patch(self, url: str, op: str, path: str, value: object) -> int:
        operation = {"op": op, "path": path} | ({} if value is None else {"value": value})
        return await self._send("PATCH", url, {"schemas": [PATCH_OP], "Operations": [operation]})

    async def _send(self, method: str, path: str, body: object) -> int:
        data = None if body is None else msgspec.json.encode(body)
        async with self._http.request(method, self._base_url + path, data=data) as response:
            answer = await response.read()
            if response.status >= 300:
                raise SandboxFailed(f"{method} {path}: {response.status} {answer[:200]!r}")
            if method == "POST":
                self._id = msgspec.json.decode(answer)["id"]
            return int(response.headers["X-Event-Seq"])


Samples = dict[str, list[float]]


async def measure(
    changer: Changer,
    lane: LaneStore,
    effect: Callable[[str, int], Awaitable[None]],
    changes: int,
) -> tuple[Samples, list[float], int]:
    """Return by kind how long `effect` took after each 2xx, and how long the 2xx took, in ms; and
    how often the lane was asked whether it has acknowledged a change.

    Each change waits until the one before it is acknowledged, then for a few milliseconds that
    keep no step with anybody's polling.
    """
    pause = random.Random(20260401)
    kinds = list(EFFECTS)
    taken: Samples = defaultdict(list)
    requests, asked = [], 0
    for number in range(changes):
        kind = kinds[number % len(kinds)]
        sent = time.perf_counter()
        seq = await changer.change(kind)
        answered = time.perf_counter()
        async with asyncio.timeout(EFFECT_DEADLINE_S):
            await effect(kind, seq)
        taken[kind].append((time.perf_counter() - answered) * 1000)
        requests.append((answered - sent) * 1000)
        async with asyncio.timeout(EFFECT_DEADLINE_S):
            asked += await acknowledged(lane, seq)
        await asyncio.sleep(pause.uniform(0.005, 0.030))
    return taken, requests, asked


async def acknowledged(lane: LaneStore, seq: int) -> int:
    """Wait until the lane has acknowledged `seq`; return how often it was asked."""
    asked = 1
    while (await lane.status()).applied_seq < seq:
        await asyncio.sleep(ASK_EVERY_S)
        asked += 1
    return asked


async def reads(link: Link) -> int:
    """Return how often Redis has read from clients so far."""
    return int((await link.call(link.redis.info("stats")))["total_reads_processed"])


async def statements(administrator: Session, times: int) -> list[float]:
    """Return how long bare access statements take on the target, in ms."""
    taken = []
    for number in range(times):
        started = time.perf_counter()
        await administrator.rows(STATEMENTS[number % len(STATEMENTS)])
        taken.append((time.perf_counter() - started) * 1000)
    await administrator.rows("DROP USER IF EXISTS bench_baseline")
    return taken


async def questions(administrator: Session, times: int) -> list[float]:
    """Return how long one question for an effect takes on the target, in ms."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await administrator.rows(HOLDS, {"user": "nobody", "role": "analyst"})
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 (nearest rank) and max in ms, rounded to 0.1."""
    ordered = sorted(samples)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    figures = {"p50": rank(0.5), "p99": rank(0.99), "max": ordered[-1]}
    return {name: round(value, 1) for name, value in figures.items()}


async def run(sandbox: Sandbox, changes: int) -> dict[str, object]:
    endpoint = sandbox.line.scim[TENANT]
    cast = load_cast()
    player = Player(endpoint.base_url, endpoint.token, cast)
    report = await player.play(load_chain("okta_first_sync"))
    if report.failures:
        raise SandboxFailed(f"the first sync failed: {report.failures[0]}")
    await sandbox.wait_applied(TENANT, report.last_seq, EFFECT_DEADLINE_S)
    link = connect(sandbox.line.redis)
    lane = LaneStore(link, TENANT, TARGET)
    headers = {
        "Authorization": f"Bearer {endpoint.token}",
        "Content-Type": "application/scim+json",
    }
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            log_in(sandbox.line.clickhouse[TARGET]) as administrator,
        ):
            bare = await statements(administrator, changes)
            question = await questions(administrator, changes)
            changer = Changer(http, endpoint.base_url, str(cast.groups["data-analysts"].id))

            async def seen(kind: str, _: int) -> None:
                effect = EFFECTS[kind]
                wanted = {"user": changer.user_name, "role": effect.role}
                while await administrator.rows(effect.sql, wanted) != [(effect.count,)]:  # noqa: ASYNC110
                    await asyncio.sleep(ASK_TARGET_EVERY_S)  # only the target knows

            async def known(_: str, seq: int) -> None:
                await acknowledged(lane, seq)

            before = await reads(link)
            await asyncio.sleep(IDLE_S)
            began, idle = time.perf_counter(), await reads(link)
            on_target, requests, asked_redis = await measure(changer, lane, seen, changes)
            unasked = (idle - before) / IDLE_S * (time.perf_counter() - began)
            read = (await reads(link) - idle - unasked - asked_redis) / changes
            in_lane, more_requests, _ = await measure(changer, lane, known, changes)
    finally:
        await link.close()
    return {
        "changes": changes,
        "seen_ms": summary(list(chain.from_iterable(on_target.values()))),
        "question_ms": summary(question),
        "acknowledged_ms": summary(list(chain.from_iterable(in_lane.values()))),
        "request_ms": summary(requests + more_requests),
        "reads_a_change": round(read, 1),
        "statement_ms": summary(bare),
        "seen_by_kind_ms": {kind: summary(taken) for kind, taken in on_target.items()},
    }


def show(figures: Mapping[str, object]) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=f"{figures['changes']} single changes, ms")
    for column in ("from 2xx until", "p50", "p99", "max"):
        table.add_column(column, justify="left" if column == "from 2xx until" else "right")
    rows = {
        "seen on the target": figures["seen_ms"],
        "  one question (baseline)": figures["question_ms"],
        "acknowledged by the lane": figures["acknowledged_ms"],
        "the request itself": figures["request_ms"],
        "  one bare statement (baseline)": figures["statement_ms"],
    }
    by_kind = figures["seen_by_kind_ms"]
    if isinstance(by_kind, dict):
        rows |= {f"  seen: {kind}": taken for kind, taken in by_kind.items()}
    for name, taken in rows.items():
        if isinstance(taken, dict):
            table.add_row(name, *(f"{taken[column]:.1f}" for column in ("p50", "p99", "max")))
    Console().print(table)


@asynccontextmanager
async def a_sandbox(line: Line | None) -> AsyncIterator[Sandbox]:
    if line is not None:
        yield Sandbox(line)
        return
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-latency-") as folder:
        async with start(Path(folder)) as sandbox:
            yield sandbox


async def measured(line: Line | None, changes: int) -> dict[str, object]:
    async with a_sandbox(line) as sandbox:
        return await run(sandbox, changes)


def main() -> int:
    parser = argparse.ArgumentParser(description="Latency from 2xx to applied, one at a time.")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--json-line", type=Path, metavar="FILE")
    options = parser.parse_args()
    line = None
    if options.json_line is not None:
        line = msgspec.json.decode(options.json_line.read_bytes(), type=Line)
    figures = asyncio.run(measured(line, options.changes))
    show(figures)
    print(json.dumps({"benchmark": "latency", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
