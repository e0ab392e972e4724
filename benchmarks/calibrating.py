"""Service times of a sandbox on this machine, and the real runs that they are measured by."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.directory.lanes import LaneStore
from app.directory.link import connect
from app.sandbox.running import Sandbox
from benchmarks.alone import TENANT
from benchmarks.creates import PATH, person
from benchmarks.fleet import Costs
from benchmarks.load import drive, request
from benchmarks.processes import cpu_ms

SINGLES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What creating `users` took: `answered_s` until all were answered, `applied_s` until they were
    on the target. `cpu_ms`: of each kind of process. `batches`: of the lanes.
    """

    users: int
    answered_s: float
    applied_s: float
    batches: int
    cpu_ms: Mapping[str, float]

    @classmethod
    def total(cls, runs: Iterable[Played]) -> Played:
        """Return several runs as one."""
        some = list(runs)
        return cls(
            users=sum(one.users for one in some),
            answered_s=sum(one.answered_s for one in some),
            applied_s=sum(one.applied_s for one in some),
            batches=sum(one.batches for one in some),
            cpu_ms={name: sum(one.cpu_ms[name] for one in some) for name in some[0].cpu_ms},
        )


async def played(
    sandbox: Sandbox, folder: Path, tenants: Sequence[str], creates: int, connections: int
) -> Played:
    """Create users in each tenant at once."""
    pids = sandbox.line.pids
    of = {
        "receiver": pids["receiver"],
        "redis": [pids["redis"]],
        "worker": pids["worker"],
        "target": list(pids["clickhouse"].values()),
    }
    before = {name: cpu_ms(some) for name, some in of.items()}
    own, batches = time.process_time(), _batches(folder)
    link = connect(sandbox.line.redis)
    started = time.perf_counter()

    async def sync(tenant: str) -> tuple[float, float]:
        endpoint = sandbox.line.scim[tenant]
        port = int(endpoint.base_url.split(":")[2].split("/")[0])
        headers = {
            "Authorization": f"Bearer {endpoint.token}",
            "Content-Type": "application/scim+json",
        }
        lane = LaneStore(link, tenant, "main")
        last = (await lane.status()).last_seq + creates
        path = PATH.replace(TENANT, tenant)
        bodies = (json.dumps(person(number)).encode() for number in range(creates))
        requests = (request("POST", path, headers, body) for body in bodies)
        load = await drive(port, requests, connections=connections, seconds=600)
        if set(load.statuses) != {201}:
            raise SystemExit(f"not every create was a 201: {dict(load.statuses)}")
        answered = time.perf_counter()
        while (await lane.status()).applied_seq < last:  # noqa: ASYNC110 - the lane is in Redis
            await asyncio.sleep(0.002)
        return answered - started, time.perf_counter() - started

    ends = await asyncio.gather(*(sync(tenant) for tenant in tenants))
    await link.close()
    spent = {name: cpu_ms(some) - before[name] for name, some in of.items()}
    spent["client"] = (time.process_time() - own) * 1000
    return Played(
        users=creates * len(tenants),
        answered_s=max(answered for answered, _ in ends),
        applied_s=max(applied for _, applied in ends),
        batches=_batches(folder) - batches,
        cpu_ms=spent,
    )


def _batches(folder: Path) -> int:
    """Return how many batches the workers' logs tell of."""
    logs = (folder / "logs").glob("worker*.log")
    return sum(log.read_text(errors="replace").count('"lane.drained"') for log in logs)


async def calibrated(sandbox: Sandbox, folder: Path, tenant: str, creates: int) -> Costs:
    """Return service times, from single creates and from many at once."""
    await played(sandbox, folder, [tenant], 50, 4)
    single = Played.total([await played(sandbox, folder, [tenant], 1, 1) for _ in range(SINGLES)])
    many = await played(sandbox, folder, [tenant], creates, 8)
    return costs_of(single, many)


def costs_of(single: Played, many: Played) -> Costs:
    """Return service times that explain both runs: so much for a batch, and for a user.

    What single creates take beyond the work of all processes is waiting.
    """
    batch, user = {}, {}
    for name in ("worker", "redis", "target"):
        spread = single.batches * many.users - many.batches * single.users
        one, other = single.cpu_ms[name], many.cpu_ms[name]
        batch[name] = max(0.1, (one * many.users - other * single.users) / spread)
        user[name] = max(0.01, (other - batch[name] * many.batches) / many.users)
    client = many.cpu_ms["client"] / many.users
    receiver = many.cpu_ms["receiver"] / many.users
    request_ms = single.answered_s * 1000 / single.users
    behind_ms = (single.applied_s - single.answered_s) * 1000 / single.users
    work_ms = sum(batch.values()) + user["worker"] + user["target"]
    return Costs(
        client=client,
        receiver=receiver,
        redis=user["redis"],
        wait=max(0.0, request_ms - client - receiver - user["redis"]),
        batch=batch["worker"],
        batch_redis=batch["redis"],
        batch_target=batch["target"],
        batch_wait=max(0.0, behind_ms - work_ms),
        user=user["worker"],
        user_target=user["target"],
    )
