"""What `/metrics` answers: the fleet's counters and the state of lanes, tokens and tenants."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.clock import Clock
from app.config.settings import Settings
from app.directory.link import Link
from app.errors import DirectoryUnavailable
from app.metrics.fleet import Fleet, read_counters, read_living
from app.metrics.reading import Reading
from app.metrics.state import families

STATE_S = 5.0  # so long what was read of lanes, tokens and tenants is shown again,
SHARE = 20  # and, where they are many, for so many times as long as reading them took


class Exposition:
    """One receiver's view. Where Redis is away it shows the counters as they were, and no state."""

    def __init__(self, link: Link, fleet: Fleet, clock: Clock) -> None:
        self._link, self._fleet, self._clock = link, fleet, clock
        self._reading = Reading(link)
        self._counters: Sequence[Metric] = ()
        self._state: Sequence[Metric] = ()
        self._next = -math.inf
        self._one_at_a_time = asyncio.Lock()

    async def render(self, settings: Settings) -> bytes:
        """Return the text format of Prometheus."""
        async with self._one_at_a_time:
            try:
                living = await self._read(settings)
            except DirectoryUnavailable:
                return _text([*self._counters, *own_gauges(None)])
            return _text([*self._counters, *self._state, *own_gauges(living)])

    async def _read(self, settings: Settings) -> Mapping[str, int]:
        await self._fleet.flush()
        self._counters = await read_counters(self._link, self._fleet.metrics)
        now_ms = self._clock.now_ms()
        began = self._clock.monotonic()
        if began >= self._next:
            self._state = list(families(await self._reading.state(settings, now_ms)))
            ended = self._clock.monotonic()
            self._next = ended + max(STATE_S, SHARE * (ended - began))
        return await read_living(self._link, now_ms)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _text(shown: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(list(shown)))
    return generate_latest(registry)


def own_gauges(living: Mapping[str, int] | None) -> Iterator[Metric]:
    """Yield whether Redis answers, and how many processes of each kind are there; None: it does
    not.
    """
    yield GaugeMetricFamily("scim_redis_up", "Whether Redis answers.", value=living is not None)
    if living is not None:
        family = GaugeMetricFamily(
            "scim_processes", "Processes that were there during the last seconds.", labels=["kind"]
        )
        for kind, count in living.items():
            family.add_metric([kind], count)
        yield family
