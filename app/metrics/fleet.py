"""The counters of all processes, added up in Redis, so that one scrape sees the whole fleet.

Each process adds what it has counted since the last time. What a process had not added yet when it
was killed is lost (FLUSH_S at most), and what was added without an answer may be added twice:
figures, on which nothing rests. They outlive restarts, so a rate never sees a reset.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Metric

from app.clock import Clock
from app.directory.link import Link
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable
from app.metrics.declared import Metrics

FLUSH_S = 5.0
ALIVE_S = 3 * FLUSH_S
_LAST_FLUSH_S = 1.0
COUNTERS = "{clickhouse-scim}:metrics"  # hash: [sample, {label: value}] as JSON -> figure
PROCESSES = "{clickhouse-scim}:processes"  # zset: KIND:ID by when it was last seen (ms)

Kind = Literal["receiver", "worker"]
Series = tuple[str, tuple[tuple[str, str], ...]]

_decode = msgspec.json.Decoder(tuple[str, dict[str, str]]).decode

log = structlog.get_logger()


class Fleet:
    """The share of one process. `kind`: what it is counted as among the living.

    Of several Redis any will do, since whoever reads adds them up: the one that took the last
    figures takes the next, for as long as it answers.
    """

    def __init__(self, shards: Shards, metrics: Metrics, kind: Kind, clock: Clock) -> None:
        self.metrics, self._clock = metrics, clock
        self._links = deque(shards.links.values())
        self._member = f"{kind}:{uuid.uuid4()}"
        self._added: dict[Series, float] = {}
        self._one_at_a_time = asyncio.Lock()

    async def flush(self) -> None:
        """Add what was counted since the last time. Raises DirectoryUnavailable if no Redis
        answers: then next time.
        """
        async with self._one_at_a_time:
            for left in reversed(range(len(self._links))):
                try:
                    await self._flush(self._links[0])
                except DirectoryUnavailable:
                    self._links.rotate(-1)
                    if not left:
                        raise
                else:
                    return

    async def _flush(self, link: Link) -> None:
        counted = dict(samples(self.metrics.registry))
        pipe = link.redis.pipeline(transaction=False)
        for series, value in counted.items():
            grown = value - self._added.get(series, 0.0)
            if grown:
                pipe.hincrbyfloat(COUNTERS, _encode(series), grown)
            elif series not in self._added:
                pipe.hsetnx(COUNTERS, _encode(series), "0")
        now_ms = self._clock.now_ms()
        pipe.zadd(PROCESSES, {self._member: now_ms})
        pipe.zremrangebyscore(PROCESSES, "-inf", now_ms - round(ALIVE_S * 1000))
        await link.call(pipe.execute())
        self._added = counted

    async def run(self) -> None:
        """Flush every few seconds until cancelled, and then once more."""
        try:
            while True:
                await self._try()
                await asyncio.sleep(FLUSH_S)
        finally:
            try:
                async with asyncio.timeout(_LAST_FLUSH_S):
                    await self._try()
                    link = self._links[0]
                    await link.call(link.redis.zrem(PROCESSES, self._member))
            except (TimeoutError, DirectoryUnavailable):
                log.warning("metrics.lost")

    async def _try(self) -> None:
        try:
            await self.flush()
        except DirectoryUnavailable:
            log.debug("metrics.kept")  # receiver and lanes say more of Redis than we could


async def read_counters(link: Link) -> dict[str, float]:
    """Return the figures that were added there, by series."""
    found = await link.call(link.redis.hgetall(COUNTERS))  # type: ignore[arg-type]
    return {field.decode(): float(value) for field, value in found.items()}


def counters(metrics: Metrics, added: Iterable[Mapping[str, float]]) -> list[Metric]:
    """Return every declared family with the figures of all processes; pure.

    Series of tenants that are shown no longer are left out.
    """
    total: defaultdict[str, float] = defaultdict(float)
    for figures in added:
        for series, value in figures.items():
            total[series] += value
    return _families(metrics, ((*_decode(series), value) for series, value in total.items()))


async def read_living(link: Link, now_ms: int) -> Mapping[str, int]:
    """Return how many processes of each kind were there within ALIVE_S."""
    found = await link.call(
        link.redis.zrangebyscore(PROCESSES, now_ms - round(ALIVE_S * 1000), "+inf")
    )
    kinds = [member.decode().partition(":")[0] for member in found]
    return {kind: kinds.count(kind) for kind in ("receiver", "worker")}


def samples(registry: CollectorRegistry) -> Iterator[tuple[Series, float]]:
    """Yield each series of this process with its value."""
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                yield (sample.name, tuple(sorted(sample.labels.items()))), sample.value


def _families(
    metrics: Metrics, figures: Iterable[tuple[str, Mapping[str, str], float]]
) -> list[Metric]:
    families = {
        family.name: Metric(family.name, family.documentation, family.type)
        for family in metrics.registry.collect()
    }
    owners = {
        name + suffix: family
        for name, family in families.items()
        for suffix in ("_total", "_bucket", "_sum", "_count")
    }
    for name, labels, value in sorted(figures, key=_order):
        family = owners.get(name)
        tenant = labels.get("tenant")
        if family is not None and (tenant is None or metrics.tenant(tenant) == tenant):
            family.add_sample(name, dict(labels), value)
    return list(families.values())


def _order(figure: tuple[str, Mapping[str, str], float]) -> tuple[object, ...]:
    """Buckets of a histogram go up, as Prometheus wants them."""
    name, labels, _ = figure
    others = sorted((key, value) for key, value in labels.items() if key != "le")
    return name, others, float(labels.get("le", "inf"))


def _encode(series: Series) -> str:
    name, labels = series
    return msgspec.json.encode((name, dict(labels))).decode()
