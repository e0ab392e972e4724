"""All lanes of one worker process: which are under way, and what they work with."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import structlog

from app.clock import Clock
from app.config.nodes import with_servers
from app.config.settings import Settings
from app.config.target import Host
from app.directory.facts import Facts
from app.directory.lanes import LaneCare
from app.directory.link import Link
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable
from app.metrics.declared import Metrics
from workers.batch import Pace
from workers.clickhouse.breaker import Breaker
from workers.clickhouse.fingerprints import Fingerprints
from workers.clickhouse.nodes import Nodes
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target
from workers.lane import Lane
from workers.leaving import Doorman
from workers.look import Look
from workers.setup import Setup, Setups, endpoint_of

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

log = structlog.get_logger()

LANES_AT_ONCE = 64
LANES_OF_A_TARGET = 8  # so that one that hangs leaves room for the lanes of others
LOOKS_AT_ONCE = 4
LIVELY_S = 60.0


class Drainer:
    """Drains lanes in tasks of `tasks`, each lane once at a time, LANES_AT_ONCE in all and
    LANES_OF_A_TARGET to each target; of those that wait each gets its turn for SLICE_S.

    `configured` is the file, `settings` that with the servers that were found in clusters.
    `generation` grows when either is replaced. `heights`: see `Lane`. `closed`: what is not (yet)
    to be worked on; no lane there is drained.
    """

    def __init__(
        self,
        shards: Shards,
        settings: Settings,
        *,
        clock: Clock,
        rng: random.Random,
        tasks: asyncio.TaskGroup,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.shards, self.settings, self.clock, self.rng = shards, settings, clock, rng
        self.configured = settings
        self.metrics = metrics or Metrics(settings.tenants)
        self.tracing = tracing
        self.generation = 1
        self.heights: dict[str, int] = {}
        self.closed: set[Link] = set()
        self._paces: dict[tuple[str, str], Pace] = {}
        self._tasks = tasks
        self._again: dict[tuple[str, str], bool] = {}
        self._draining: set[asyncio.Task[None]] = set()
        self._rests = False
        self._slots = asyncio.Semaphore(LANES_AT_ONCE)
        self._of_target: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(LANES_OF_A_TARGET)
        )
        self._stirred: dict[tuple[str, str], float] = {}
        self._doors: set[tuple[str, str]] = set()
        self._looking: set[tuple[str, str]] = set()
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._setups = Setups(settings)
        self._fingerprints: dict[str, Fingerprints] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._pools: dict[str, Pool] = {}
        self._nodes: dict[str, Nodes] = {}
        self._found: Mapping[str, tuple[Host, ...]] = {}

    def lanes(self) -> Iterator[tuple[str, str]]:
        """Yield every (tenant, target) of the configuration."""
        for tenant, configured in self.settings.tenants.items():
            for target in configured.targets:
                yield tenant, target

    def setup(self, tenant: str, target: str) -> Setup | None:
        """Return what the configuration says about the lane; None if it has no such lane."""
        return self._setups.of(tenant, target)

    def stir(self, tenant: str, target: str) -> None:
        """Note that something happens on the lane, so that it is looked at often for a while."""
        self._stirred[tenant, target] = self.clock.monotonic()

    def lively(self) -> list[tuple[str, str]]:
        """Return the lanes on which something happened during the last LIVELY_S."""
        since = self.clock.monotonic() - LIVELY_S
        self._stirred = {lane: at for lane, at in self._stirred.items() if at >= since}
        return list(self._stirred)

    def lively_tenants(self) -> list[str]:
        """Return the tenants of these lanes."""
        return list(dict.fromkeys(tenant for tenant, _ in self.lively()))

    def wake(self, tenant: str, target: str) -> None:
        """Have the lane drained; if that is under way already, then once more after it."""
        self.stir(tenant, target)
        lane = tenant, target
        if lane in self._again:
            self._again[lane] = True
        elif self._may_drain(tenant) and self.setup(tenant, target) is not None:
            self._again[lane] = False
            name = f"lane {tenant}/{target}"
            task = self._tasks.create_task(self._drain(tenant, target), name=name)
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def rest(self, within_s: float) -> None:
        """Take up nothing more, and let each lane end with the statement that it is at; return when
        all have, or after `within_s`.
        """
        self._rests = True
        if self._draining:
            await asyncio.wait(self._draining, timeout=within_s)

    def _may_drain(self, tenant: str) -> bool:
        return not self._rests and self.shards.of(tenant) not in self.closed

    def look(self, tenant: str, target: str, care: LaneCare) -> None:
        """Have the lane's target looked at for drift, which must not hold up whoever asks."""
        setup, lane = self.setup(tenant, target), (tenant, target)
        if setup is not None and lane not in self._looking:
            self._looking.add(lane)
            self._tasks.create_task(self._look(setup, care), name=f"drift of {tenant}/{target}")

    async def _look(self, setup: Setup, care: LaneCare) -> None:
        try:
            async with self._looks:
                look = Look(
                    setup=setup,
                    shards=self.shards,
                    pool=self._pool(setup.target),
                    fingerprints=self._fingerprints_of(setup),
                    settings=self.settings,
                    clock=self.clock,
                    metrics=self.metrics,
                )
                if await look.take(care):
                    self.wake(setup.tenant, setup.target)
        finally:
            self._looking.discard((setup.tenant, setup.target))

    async def _drain(self, tenant: str, target: str) -> None:
        lane = tenant, target
        try:
            more = True
            while (more or self._again[lane]) and not self._rests:
                self._again[lane] = False
                # In turns: a lane with a backlog waits behind the others.
                async with self._of_target[target], self._slots:
                    more = await self._drain_once(tenant, target)
        finally:
            del self._again[lane]

    async def _drain_once(self, tenant: str, target: str) -> bool:
        setup = self.setup(tenant, target)
        if setup is None or self._rests:
            return False
        lane = Lane(
            setup=setup,
            shards=self.shards,
            target=self._target(setup),
            settings=self.settings.worker,
            clock=self.clock,
            rng=self.rng,
            facts=Facts(self.shards.of(tenant), self.settings.ledger),
            metrics=self.metrics,
            tracing=self.tracing,
            heights=self.heights,
            pace=self._paces.setdefault((tenant, target), Pace()),
            stops=lambda: self._rests,
        )
        more = await lane.drain()
        if lane.has_leavers:
            self.see_out(tenant, target)
        return more

    def see_out(self, tenant: str, target: str) -> None:
        """Have those who left looked after, beside the lane."""
        setup, lane = self.setup(tenant, target), (tenant, target)
        if setup is not None and lane not in self._doors:
            self._doors.add(lane)
            self._tasks.create_task(self._see_out(setup), name=f"leavers of {tenant}/{target}")

    async def _see_out(self, setup: Setup) -> None:
        link = self.shards.of(setup.tenant)
        doorman = Doorman(
            setup=setup,
            link=link,
            nodes=self._nodes_of(setup.target),
            facts=Facts(link, self.settings.ledger),
            clock=self.clock,
            tracing=self.tracing,
        )
        try:
            await doorman.see_out()
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        finally:
            self._doors.discard((setup.tenant, setup.target))

    def _target(self, setup: Setup) -> Target:
        lane = setup.tenant, setup.target
        if lane not in self._targets:
            pool = self._pool(setup.target)
            counted = partial(self._count, setup.target)
            self._targets[lane] = Target(pool, setup.marker, self.clock, counted)
        return self._targets[lane]

    def _count(self, target: str, kind: str, result: str, seconds: float) -> None:
        self.metrics.statements.labels(target, kind, result).inc()
        if self.tracing is not None:
            self.tracing.statement(kind, result, seconds)

    def _fingerprints_of(self, setup: Setup) -> Fingerprints:
        if setup.target not in self._fingerprints:
            pool, markers = self._pool(setup.target), setup.sharing.markers
            self._fingerprints[setup.target] = Fingerprints(pool, markers, self.clock)
        return self._fingerprints[setup.target]

    def _pool(self, target: str) -> Pool:
        if target not in self._pools:
            breaker = Breaker(self.clock, self.rng)
            self._pools[target] = Pool(endpoint_of(self.settings, target), breaker)
        return self._pools[target]

    def _nodes_of(self, target: str) -> Nodes:
        if target not in self._nodes:
            self._nodes[target] = Nodes(endpoint_of(self.settings, target))
        return self._nodes[target]

    async def replace(self, configured: Settings) -> None:
        """Go on with another configuration; lanes under way end with the one they began with."""
        self.configured = configured
        self.settings = settings = with_servers(configured, self._found)
        self.metrics.show(settings.tenants)
        self.metrics.expect(settings.targets)
        self.generation += 1
        self._setups = Setups(settings)
        self._fingerprints.clear()
        self._targets.clear()
        for name, pool in list(self._pools.items()):
            if not self._is_at(name, pool.endpoint):
                await self._pools.pop(name).close()
        for name, nodes in list(self._nodes.items()):
            if not self._is_at(name, nodes.endpoint):
                await self._nodes.pop(name).close()

    def _is_at(self, target: str, endpoint: Endpoint) -> bool:
        known = target in self.settings.targets
        return known and endpoint_of(self.settings, target) == endpoint

    async def join(self, found: Mapping[str, tuple[Host, ...]]) -> None:
        """Go on with these servers, by target, beside those that the file names."""
        if found != self._found:
            self._found = found
            log.info("servers.found", servers={t: [*map(str, its)] for t, its in found.items()})
            await self.replace(self.configured)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        for nodes in self._nodes.values():
            await nodes.close()
