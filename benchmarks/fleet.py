"""Receivers, Redis shards, lanes and targets as a discrete-event model. See `simulate.py`."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

BATCH_USERS = 500  # that a lane takes at once, `worker.batch_users`


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Service times in ms, as `simulate.py --check` measured them on two cores, November 2026.

    Of a change: `client`, `receiver`, `redis`, and `wait`, in which nobody works and the disk or a
    wake-up is waited for. Of a lane's batch, and of each user in it: what the worker, Redis and the
    target take, and `batch_wait`.
    """

    client: float = 0.05
    receiver: float = 0.43
    redis: float = 0.12
    wait: float = 1.0
    batch: float = 6.0
    batch_redis: float = 1.0
    batch_target: float = 8.0
    batch_wait: float = 5.0
    user: float = 0.35
    user_target: float = 0.5


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
            self._serve(shard, self.costs.redis, lambda: self._after(self.costs.wait, committed))

        def sent() -> None:
            self._serve(self.receivers, self.costs.receiver, received)

        self._serve(self.client, self.costs.client, sent)

    def _drain(self, number: int) -> None:
        if self._draining[number] or not self._pending[number]:
            return
        self._draining[number] = True
        batch: list[float] = []
        shard = self.shards[number % len(self.shards)]
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
            self._serve(target, costs.batch_target + costs.user_target * len(batch), applied)

        def waited() -> None:
            self._serve(self.workers, costs.user * len(batch), planned)

        def taken() -> None:
            # What came while the lane waited for a worker is in the batch as well.
            batch.extend(self._pending[number][:BATCH_USERS])
            del self._pending[number][:BATCH_USERS]
            self._after(costs.batch_wait, waited)

        def looked() -> None:
            self._serve(shard, costs.batch_redis, taken)

        self._serve(self.workers, costs.batch, looked)

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
