"""What `/metrics` answers: the fleet's counters and the state of lanes, tokens and tenants."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.clock import Clock
from app.config.settings import Settings
from app.directory.link import Link
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable
from app.metrics.fleet import Fleet, counters, read_counters, read_living
from app.metrics.reading import Reading
from app.metrics.state import State, families, merged

STATE_S = 5.0  # so long what was read of lanes, tokens and tenants is shown again,
SHARE = 20  # and, where they are many, for so many times as long as reading them took


@dataclass(slots=True)
class _Seen:
    """What was read from one Redis last, and when (monotonic) its state is read again."""

    reading: Reading
    counters: Mapping[str, float] = field(default_factory=dict)
    state: State | None = None
    living: Mapping[str, int] | None = None
    next: float = -math.inf


class Exposition:
    """One receiver's view. Of a Redis that is away it shows the counters as they were, and no
    state: the gauges are those of the tenants on the others.
    """

    def __init__(self, shards: Shards, fleet: Fleet, clock: Clock) -> None:
        self._shards, self._fleet, self._clock = shards, fleet, clock
        self._seen = {link: _Seen(Reading(link)) for link in shards.links.values()}
        self._one_at_a_time = asyncio.Lock()

    async def render(self, settings: Settings) -> bytes:
        """Return the text format of Prometheus."""
        async with self._one_at_a_time:
            with suppress(DirectoryUnavailable):
                await self._fleet.flush()
            await asyncio.gather(*(self._read(*one, settings) for one in self._seen.items()))
        seen = self._seen.values()
        shown = counters(self._fleet.metrics, [one.counters for one in seen])
        states = [one.state for one in seen if one.living is not None and one.state is not None]
        gauges = families(merged(states)) if states else ()
        return _text(
            [*shown, *gauges, *own_gauges({k.name: v.living for k, v in self._seen.items()})]
        )

    async def _read(self, link: Link, seen: _Seen, settings: Settings) -> None:
        try:
            seen.counters = await read_counters(link)
            now_ms, began = self._clock.now_ms(), self._clock.monotonic()
            if began >= seen.next:
                tenants = self._shards.on(link, settings.tenants)
                seen.state = await seen.reading.state(settings, tenants, now_ms)
                ended = self._clock.monotonic()
                seen.next = ended + max(STATE_S, SHARE * (ended - began))
            seen.living = await read_living(link, now_ms)
        except DirectoryUnavailable:
            seen.living = None


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _text(shown: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(list(shown)))
    return generate_latest(registry)


def own_gauges(living: Mapping[str, Mapping[str, int] | None]) -> Iterator[Metric]:
    """Yield whether each Redis answers, and how many processes of each kind are there.

    `living`: those that are noted in each Redis, None for one that does not answer.
    """
    up = GaugeMetricFamily("scim_redis_up", "Whether Redis answers.", labels=["redis"])
    for name, noted in living.items():
        up.add_metric([name], noted is not None)
    yield up
    answered = [noted for noted in living.values() if noted is not None]
    if answered:
        family = GaugeMetricFamily(
            "scim_processes", "Processes that were there during the last seconds.", labels=["kind"]
        )
        for kind in answered[0]:
            family.add_metric([kind], sum(noted[kind] for noted in answered))
        yield family
