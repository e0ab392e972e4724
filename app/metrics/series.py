"""Counters and histograms of what happens with every request: a look-up and an addition each.

prometheus_client's own take locks and work out their labels each time, and cost a request more than
its tokens do. These belong to one thread, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str | int, ...]


class Counts(Collector):
    """A counter with labels."""

    def __init__(
        self, registry: CollectorRegistry, name: str, meaning: str, labels: Sequence[str]
    ) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._values: dict[Labels, int] = {}
        registry.register(self)

    def add(self, *labels: str | int) -> None:
        self._values[labels] = self._values.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric([str(label) for label in labels], value)
        yield family


class _Seen:
    """The durations of one set of labels: their sum, and how many fell into each bucket."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self, buckets: int) -> None:
        self.buckets, self.sum_s = [0] * buckets, 0.0


class Durations(Collector):
    """A histogram with labels, in seconds. `bounds`: the buckets' upper ones, growing."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        meaning: str,
        bounds: Sequence[float],
        labels: Sequence[str] = (),
    ) -> None:
        self._name, self._meaning, self._bounds, self._labels = name, meaning, bounds, labels
        self._seen: dict[Labels, _Seen] = {}
        if not labels:
            self._seen[()] = _Seen(len(bounds) + 1)
        registry.register(self)

    def observe(self, seconds: float, *labels: str | int) -> None:
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = _Seen(len(self._bounds) + 1)
        seen.sum_s += seconds
        seen.buckets[bisect_left(self._bounds, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, seen in self._seen.items():
            buckets = list(zip(bounds, accumulate(seen.buckets), strict=True))
            family.add_metric([str(label) for label in labels], buckets, seen.sum_s)
        yield family
