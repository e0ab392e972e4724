"""What a fleet needs: receivers, Redis shards, lanes and targets as a discrete-event model.

    python benchmarks/simulate.py [--tenants 10000] [--users 5000000] [--syncing 10]
        [--receivers 4] [--shards 2] [--workers 4] [--targets 100] [--sizes]
    python benchmarks/simulate.py --check

A Monday morning: the tenants with the most users are synced whole, each by a provider that sends
its next request on a connection when the last one is answered; all others change now and then.
Told: the lag from a 2xx to the target, for those who are synced and for the others; how busy each
kind of process is; and which of them is the first that has no more to give.

`--sizes` doubles whatever is busiest until nothing is busier than 70 %, and prints each step.
`--check` measures service times on a sandbox here, foretells another load with them, plays that
load for real, and exits 1 if the two differ by more than 25 %.

The model: a process serves one thing at a time, in order. A receiver spends its time on a write,
then the tenant's shard on the commit. A lane that has something to do waits for a free worker
process; that takes up to 1,000 of its events, spends a time on each batch and on each user of it,
and waits for the target, which has one thing at a time to do as well. Where processes share a
machine (`--check`), what they do also needs one of its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from app.directory.lanes import LaneStore
from app.directory.link import connect
from app.sandbox.running import Sandbox, start
from benchmarks.creates import PATH, person
from benchmarks.load import drive, request

BATCH = 1000  # events that a lane takes at once
BUSY = 0.7
APART = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Service times in ms of CPU. As measured by `--check` on two cores, November 2026."""

    client: float = 0.05
    receiver: float = 0.43
    redis: float = 0.12
    batch: float = 6.0
    user: float = 0.35
    target_batch: float = 8.0
    target_user: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How many processes there are. `cores`: of the one machine that all share, 0 for no limit."""

    receivers: int = 4
    shards: int = 2
    workers: int = 4
    targets: int = 100
    cores: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """`sync`: requests that its provider sends one after the other over so many `connections`.
    `rate`: single changes a second, of a tenant that is not synced.
    """

    sync: int = 0
    connections: int = 8
    rate: float = 0.0


@dataclass(slots=True)
class Station:
    """Processes of one kind that serve what waits for them in order. `busy`: ms of work done."""

    name: str
    servers: int
    free: int = field(init=False)
    busy: float = 0.0
    queue: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.free = self.servers


class Simulation:
    """Runs the model; times are ms. `lags`: from each 2xx to the target, by kind of tenant."""

    def __init__(
        self, costs: Costs, fleet: Fleet, tenants: Sequence[Tenant], *, seed: int = 1
    ) -> None:
        self.costs, self.fleet, self.tenants = costs, fleet, tenants
        self.now = 0.0
        self.lags: dict[str, list[float]] = {"synced": [], "others": []}
        self.synced_at = 0.0
        self._chance = random.Random(seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.client = Station("client", 1_000_000)
        self.receivers = Station("receiver", fleet.receivers)
        self.shards = [Station("redis", 1) for _ in range(fleet.shards)]
        self.workers = Station("worker", fleet.workers)
        self.targets = [Station("target", 1) for _ in range(fleet.targets)]
        self._cores = Station("core", fleet.cores or 1_000_000)
        self._pending: list[list[float]] = [[] for _ in tenants]
        self._draining = [False] * len(tenants)
        self._left = [tenant.sync for tenant in tenants]
        self._unsynced = sum(self._left)

    def run(self) -> None:
        """Play until all that is synced is on its target; single changes come until then.

        With nobody to sync nothing is played.
        """
        for number, tenant in enumerate(self.tenants):
            for _ in range(min(tenant.connections, tenant.sync)):
                self._request(number)
            if tenant.rate:
                self._next_change(number)
        while self._agenda:
            self.now, _, happen = heapq.heappop(self._agenda)
            happen()

    def _after(self, ms: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + ms, next(self._number), happen))

    def _serve(self, station: Station, ms: float, then: Callable[[], None]) -> None:
        """Have a station work for so long, as soon as it and a core are free."""
        station.queue.append((ms, then))
        self._begin(station)

    def _begin(self, station: Station) -> None:
        while station.free and station.queue:
            ms, then = station.queue.popleft()
            station.free -= 1
            station.busy += ms
            if station is self._cores or not self.fleet.cores:
                self._after(ms, partial(self._end, station, then))
            else:
                self._serve(self._cores, ms, partial(self._end, station, then))

    def _end(self, station: Station, then: Callable[[], None]) -> None:
        station.free += 1
        then()
        self._begin(station)

    def _next_change(self, number: int) -> None:
        pause = self._chance.expovariate(self.tenants[number].rate) * 1000
        if self._unsynced:

            def change() -> None:
                self._write(number, lambda: None)
                self._next_change(number)

            self._after(pause, change)

    def _request(self, number: int) -> None:
        if self._left[number] > 0:
            self._left[number] -= 1
            self._write(number, lambda: self._request(number))

    def _write(self, number: int, answered: Callable[[], None]) -> None:
        shard = self.shards[number % len(self.shards)]

        def committed() -> None:
            self._pending[number].append(self.now)
            self._drain(number)
            answered()

        def received() -> None:
            self._serve(shard, self.costs.redis, committed)

        def sent() -> None:
            self._serve(self.receivers, self.costs.receiver, received)

        self._serve(self.client, self.costs.client, sent)

    def _drain(self, number: int) -> None:
        if self._draining[number] or not self._pending[number]:
            return
        self._draining[number] = True
        batch: list[float] = []
        target = self.targets[number % len(self.targets)]
        costs = self.costs

        def applied() -> None:
            kind = "synced" if self.tenants[number].sync else "others"
            self.lags[kind] += [self.now - committed for committed in batch]
            if self.tenants[number].sync:
                self._unsynced -= len(batch)
                self.synced_at = self.now
            self._draining[number] = False
            self._drain(number)

        def planned() -> None:
            size = costs.target_batch + costs.target_user * len(batch)
            self._serve(target, size, applied)

        def taken() -> None:
            # What came while the lane waited for a worker is in the batch as well.
            batch.extend(self._pending[number][:BATCH])
            del self._pending[number][:BATCH]
            self._serve(self.workers, costs.user * len(batch), planned)

        self._serve(self.workers, costs.batch, taken)

    def busy(self) -> dict[str, float]:
        """Return which share of the time each kind of process worked, the busiest one of it."""
        ended = self.synced_at or 1.0
        return {
            "receiver": self.receivers.busy / self.receivers.servers / ended,
            "redis": max(shard.busy for shard in self.shards) / ended,
            "worker": self.workers.busy / self.workers.servers / ended,
            "target": max(target.busy for target in self.targets) / ended,
        }


def monday(tenants: int, users: int, syncing: int) -> list[Tenant]:
    """Return tenants whose sizes fall as 1/rank; the largest are synced, all change now and then.

    A tenant's users change at 0.5 % an hour: joiners, movers and leavers of a Monday.
    """
    weights = [1 / rank for rank in range(1, tenants + 1)]
    share = users / sum(weights)
    sizes = [max(1, round(share * weight)) for weight in weights]
    return [
        Tenant(sync=size) if rank < syncing else Tenant(rate=size * 0.005 / 3600)
        for rank, size in enumerate(sizes)
    ]


def percentiles(lags: list[float]) -> dict[str, float]:
    if not lags:
        return {"p50": 0.0, "p99": 0.0}
    ordered = sorted(lags)
    at = (int(len(ordered) * 0.5), min(int(len(ordered) * 0.99), len(ordered) - 1))
    return {name: round(ordered[i], 1) for name, i in zip(("p50", "p99"), at, strict=True)}


def foretold(costs: Costs, fleet: Fleet, tenants: Sequence[Tenant]) -> dict[str, Any]:
    simulation = Simulation(costs, fleet, tenants)
    simulation.run()
    busy = {name: round(share, 2) for name, share in simulation.busy().items()}
    return {
        **{f.name: getattr(fleet, f.name) for f in fields(fleet) if f.name != "cores"},
        "sync_minutes": round(simulation.synced_at / 60_000, 1),
        "lag_synced_ms": percentiles(simulation.lags["synced"]),
        "lag_others_ms": percentiles(simulation.lags["others"]),
        "busy": busy,
        "breaks_first": max(busy, key=lambda name: busy[name]),
    }


def sizes(costs: Costs, fleet: Fleet, tenants: Sequence[Tenant]) -> Iterator[dict[str, Any]]:
    """Yield what is foretold while whatever is busiest is doubled; a target can't be."""
    while True:
        figures = foretold(costs, fleet, tenants)
        yield figures
        more = {"receiver": "receivers", "redis": "shards", "worker": "workers"}
        busiest = max(more, key=lambda name: figures["busy"][name])
        if figures["busy"][busiest] <= BUSY or getattr(fleet, more[busiest]) >= 64:
            return
        fleet = replace(fleet, **{more[busiest]: 2 * getattr(fleet, more[busiest])})


# --- against real runs ------------------------------------------------------------------------


def _cpu_ms(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have taken so far, in ms."""
    total = 0.0
    for pid in pids:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(after_name[11]) + int(after_name[12])) * 10
    return total


async def _played(
    sandbox: Sandbox, tenants: Sequence[str], creates: int, connections: int
) -> dict[str, Any]:
    """Create users in each tenant at once; return seconds, lags in ms and CPU of each process."""
    pids = sandbox.line.pids
    of = {
        "client": [],
        "receiver": pids["receiver"],
        "redis": [pids["redis"]],
        "worker": pids["worker"],
        "target": list(pids["clickhouse"].values()),
    }
    before = {name: _cpu_ms(some) for name, some in of.items()}
    own = time.process_time()
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
        path = PATH.replace("acme", tenant)
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
    spent = {name: _cpu_ms(some) - before[name] for name, some in of.items()}
    spent["client"] = (time.process_time() - own) * 1000
    return {
        "answered_s": max(answered for answered, _ in ends),
        "applied_s": max(applied for _, applied in ends),
        "cpu_ms": spent,
    }


async def checked(creates: int) -> dict[str, Any]:
    """Measure service times with small loads, foretell a larger one, and play it."""
    names = ("acme", "globex")
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-simulate-") as folder:
        async with start(Path(folder), "--tenants", ",".join(names)) as sandbox:
            await _played(sandbox, names, 50, 4)
            singles = 60
            single = [await _played(sandbox, names[:1], 1, 1) for _ in range(singles)]
            many = await _played(sandbox, names[:1], creates // 2, 8)
            costs = _costs(single, many, creates // 2)
            tenants = [Tenant(sync=creates, connections=16) for _ in names]
            fleet = Fleet(receivers=1, shards=1, workers=1, targets=1, cores=2)
            simulation = Simulation(costs, fleet, tenants)
            simulation.run()
            real = await _played(sandbox, names, creates, 16)
    expected = simulation.synced_at / 1000
    apart = abs(expected - real["applied_s"]) / real["applied_s"]
    return {
        "creates": creates * len(names),
        "foretold_s": round(expected, 2),
        "real_s": round(real["applied_s"], 2),
        "apart": round(apart, 3),
        "costs": {f.name: round(getattr(costs, f.name), 3) for f in fields(costs)},
    }


def _costs(single: Sequence[dict[str, Any]], many: dict[str, Any], creates: int) -> Costs:
    """A change alone is a batch of one user; of many at once nearly all of the cost is users'."""

    def alone(name: str) -> float:
        return float(sum(one["cpu_ms"][name] for one in single) / len(single))

    each = {name: ms / creates for name, ms in many["cpu_ms"].items()}
    return Costs(
        client=each["client"],
        receiver=each["receiver"],
        redis=each["redis"],
        user=each["worker"],
        batch=max(alone("worker") - each["worker"], 0.1),
        target_user=each["target"],
        target_batch=max(alone("target") - each["target"], 0.1),
    )


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=title)
    columns = (
        "receivers",
        "shards",
        "workers",
        "sync min",
        "synced p99 s",
        "others p50 ms",
        "others p99 s",
        "busy",
        "breaks first",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        busy = " ".join(f"{name[:2]} {share:.0%}" for name, share in row["busy"].items())
        synced, others = row["lag_synced_ms"], row["lag_others_ms"]
        table.add_row(
            str(row["receivers"]),
            str(row["shards"]),
            str(row["workers"]),
            f"{row['sync_minutes']}",
            f"{synced['p99'] / 1000:.2f}",
            f"{others['p50']:.0f}",
            f"{others['p99'] / 1000:.2f}",
            busy,
            row["breaks_first"],
        )
    Console(width=140).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description="A fleet as a discrete-event model.")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--syncing", type=int, default=10, help="so many of the largest tenants")
    for name in ("receivers", "shards", "workers", "targets"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Fleet(), name))
    parser.add_argument("--sizes", action="store_true", help="add processes until it is enough")
    parser.add_argument("--check", action="store_true", help="against a real run on this machine")
    parser.add_argument("--creates", type=int, default=1500, help="of each tenant, with --check")
    options = parser.parse_args()
    if options.check:
        figures = asyncio.run(checked(options.creates))
        print(
            f"foretold {figures['foretold_s']} s, real {figures['real_s']} s,"
            f" {figures['apart']:.0%} apart"
        )
        print(json.dumps({"benchmark": "simulate --check", **figures}))
        return int(figures["apart"] > APART)
    fleet = Fleet(
        receivers=options.receivers,
        shards=options.shards,
        workers=options.workers,
        targets=options.targets,
    )
    tenants = monday(options.tenants, options.users, options.syncing)
    rows = (
        list(sizes(Costs(), fleet, tenants))
        if options.sizes
        else [foretold(Costs(), fleet, tenants)]
    )
    show(rows, f"{options.tenants:,} tenants, {options.users:,} users, {options.syncing} synced")
    print(json.dumps({"benchmark": "simulate", "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
