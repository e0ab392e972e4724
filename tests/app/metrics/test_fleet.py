"""The figures of several processes, in one place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from prometheus_client import Metric

from app.clock import Clock
from app.directory.link import Link, connect
from app.directory.shards import alone
from app.errors import DirectoryUnavailable
from app.metrics.declared import MOST_TENANTS, Metrics
from app.metrics.fleet import ALIVE_S, Fleet, counters, read_counters, read_living

if TYPE_CHECKING:
    from tests.conftest import RedisServer


@pytest.fixture
async def link(own_redis: RedisServer) -> AsyncIterator[Link]:
    made = connect(own_redis.url)
    yield made
    await made.close()


def values(families: list[Metric]) -> dict[tuple[str, str], float]:
    """Return every sample by its name and the values of its labels."""
    return {
        (sample.name, "/".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def process(link: Link, *tenants: str) -> tuple[Metrics, Fleet]:
    metrics = Metrics(tenants)
    return metrics, Fleet(alone(link), metrics, "receiver", Clock())


async def test_what_each_process_counts_is_added_up_and_counted_once(link: Link) -> None:
    metrics, fleet = process(link, "acme")
    other, other_fleet = process(link, "acme")
    metrics.events.add("acme")
    metrics.commit_seconds.observe(0.002)
    other.events.add("acme")
    other.events.add("acme")
    other.commit_seconds.observe(0.2)
    for _ in range(3):
        await fleet.flush()
        await other_fleet.flush()
    other.events.add("acme")
    await other_fleet.flush()
    found = values(counters(metrics, [await read_counters(link)]))
    assert found["scim_events_total", "acme"] == 4
    assert found["scim_commit_seconds_count", ""] == 2
    assert found["scim_commit_seconds_sum", ""] == pytest.approx(0.202)
    buckets = [v for (name, _), v in found.items() if name == "scim_commit_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 2


async def test_a_scrape_in_the_middle_of_an_addition_counts_nothing_twice(link: Link) -> None:
    metrics, fleet = process(link, "acme")
    for _ in range(5):
        metrics.events.add("acme")
    await asyncio.gather(*(fleet.flush() for _ in range(4)))
    assert values(counters(metrics, [await read_counters(link)]))["scim_events_total", "acme"] == 5


async def test_a_restart_is_no_reset(link: Link) -> None:
    for _ in range(3):
        metrics, fleet = process(link, "acme")
        metrics.events.add("acme")
        await fleet.flush()
    assert values(counters(metrics, [await read_counters(link)]))["scim_events_total", "acme"] == 3


async def test_what_redis_did_not_take_is_added_later(link: Link, own_redis: RedisServer) -> None:
    metrics, fleet = process(link, "acme")
    metrics.events.add("acme")
    own_redis.stop()
    with pytest.raises(DirectoryUnavailable):
        await fleet.flush()
    own_redis.start()
    await fleet.flush()
    assert values(counters(metrics, [await read_counters(link)]))["scim_events_total", "acme"] == 1


async def test_a_tenant_that_is_gone_from_the_file_is_shown_no_more(link: Link) -> None:
    metrics, fleet = process(link, "acme", "bolt")
    metrics.events.add("acme")
    metrics.events.add("bolt")
    await fleet.flush()
    metrics.show(["acme"])
    found = values(counters(metrics, [await read_counters(link)]))
    assert [labels for name, labels in found if name == "scim_events_total"] == ["acme"]


async def test_ten_thousand_tenants_are_one_series(link: Link) -> None:
    tenants = [f"t{n}" for n in range(10_000)]
    metrics, fleet = process(link, *tenants)
    for name in tenants:
        metrics.events.add(metrics.tenant(name))
    await fleet.flush()
    found = values(counters(metrics, [await read_counters(link)]))
    assert found["scim_events_total", "*"] == 10_000
    assert len([name for name, _ in found if name == "scim_events_total"]) == 1


@pytest.mark.parametrize(("count", "label"), [(MOST_TENANTS, "t0"), (MOST_TENANTS + 1, "*")])
def test_few_tenants_have_labels_of_their_own(count: int, label: str) -> None:
    assert Metrics([f"t{n}" for n in range(count)]).tenant("t0") == label


class Dates(Clock):
    def __init__(self, times: Iterator[int]) -> None:
        self._times = times

    def now_ms(self) -> int:
        return next(self._times)


async def test_a_process_that_is_not_heard_of_any_more_is_not_counted(link: Link) -> None:
    now_ms = time.time_ns() // 10**6
    later_ms = now_ms + round(ALIVE_S * 1000) + 1
    clock = Dates(iter([now_ms, now_ms, later_ms]))
    worker, gone = (Fleet(alone(link), Metrics(), "worker", clock) for _ in range(2))
    await worker.flush()
    await gone.flush()
    assert await read_living(link, now_ms) == {"receiver": 0, "worker": 2}
    await worker.flush()
    assert await read_living(link, later_ms) == {"receiver": 0, "worker": 1}
