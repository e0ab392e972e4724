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


class Count:
    """How often something came with one set of labels."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Counts(Collector):
    """A counter with labels."""

    def __init__(
        self, registry: CollectorRegistry, name: str, meaning: str, labels: Sequence[str]
    ) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._values: dict[Labels, Count] = {}
        registry.register(self)

    def of(self, *labels: str | int) -> Count:
        """Return what counts these labels; what is added to it is seen here."""
        count = self._values.get(labels)
        if count is None:
            count = self._values[labels] = Count()
        return count

    def add(self, *labels: str | int) -> None:
        self.of(*labels).n += 1

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, count in self._values.items():
            family.add_metric([str(label) for label in labels], count.n)
        yield family


class Seen:
    """The durations of one set of labels: their sum, and how many fell into each bucket."""

    __slots__ = ("_bounds", "buckets", "sum_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self.buckets, self.sum_s = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, seconds: float) -> None:
        self.sum_s += seconds
        self.buckets[bisect_left(self._bounds, seconds)] += 1


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
        self._seen: dict[Labels, Seen] = {}
        if not labels:
            self.of()
        registry.register(self)

    def of(self, *labels: str | int) -> Seen:
        """Return what holds the durations of these labels; what it observes is seen here."""
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = Seen(self._bounds)
        return seen

    def observe(self, seconds: float, *labels: str | int) -> None:
        self.of(*labels).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, seen in self._seen.items():
            buckets = list(zip(bounds, accumulate(seen.buckets), strict=True))
            family.add_metric([str(label) for label in labels], buckets, seen.sum_s)
        yield family
