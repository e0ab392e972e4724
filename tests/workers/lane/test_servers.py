"""Servers that were found in a target's cluster have lanes of their own."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from app.clock import Clock
from app.config.target import Host
from app.directory.lanes import LaneStore
from app.directory.servers import (
    FORGOTTEN_AFTER_MS,
    note_servers,
    read_servers,
    settings_with_servers,
)
from app.directory.shards import alone
from workers import sweep as sweeping
from workers.drainer import Drainer
from workers.sweep import tend

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

NOW = 1_800_000_000_000
B, C = Host("b", 9000), Host("c", 9000)


def cluster(world: World, *hosts: str, method: str = "no_password") -> None:
    """Have the target be one of a cluster."""
    target = {"storage": "on_cluster", "cluster": "main", "hosts": list(hosts)}
    world.raw["targets"]["main"] |= target
    world.configure(authentication={"method": method})


async def test_what_a_worker_found_everybody_knows_until_it_was_away_for_an_hour(
    world: World,
) -> None:
    cluster(world, "a", method="kerberos")
    await note_servers(alone(world.link), world.settings, {"main": [B]}, NOW)
    later = NOW + FORGOTTEN_AFTER_MS // 2
    await note_servers(alone(world.link), world.settings, {"main": [C]}, later)
    assert await read_servers(alone(world.link), world.settings, later) == {"main": (B, C)}
    extended = await settings_with_servers(alone(world.link), world.settings, later)
    names = ("main@a:9000", "main@b:9000", "main@c:9000")
    assert extended.tenants[world.tenant].targets == names
    later = NOW + FORGOTTEN_AFTER_MS
    assert await read_servers(alone(world.link), world.settings, later) == {"main": (C,)}


async def test_a_lane_that_no_receiver_knew_of_is_found_to_be_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "TEND_S", 0.05)
    ((name, port),) = world.admin.endpoint.hosts
    cluster(world, "127.0.0.1:9")
    store = LaneStore(world.link, world.tenant, f"main@{name}:{port}")

    async def has_all() -> bool:
        status = await store.status()
        return (status.applied_seq, status.state) == (status.last_seq, "idle")

    async with asyncio.TaskGroup() as tasks:
        drainer = Drainer(
            alone(world.link), world.settings, clock=Clock(), rng=random.Random(1), tasks=tasks
        )
        loop = tasks.create_task(tend(drainer, world.link))
        await drainer.join({"main": (Host(name, port),)})
        await world.user("ana")  # by a directory that marks another lane
        await world.until(has_all)
        assert await world.held() == {"ana": {"employee"}}
        await world.user("bo")
        await world.until(has_all)
        loop.cancel()
    await drainer.close()
    assert await world.held() == {"ana": {"employee"}, "bo": {"employee"}}
