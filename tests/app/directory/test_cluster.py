"""The directory on a Redis Cluster: slots that move, nodes that die, commits that are whole."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from app.directory import tokens
from app.directory.directory import Directory, Origin
from app.directory.events import read
from app.directory.keys import Keys
from app.directory.lanes import LaneStore, dirty_lanes, read_statuses
from app.directory.link import Link, check_durable, connect
from app.directory.staging import LARGE
from app.errors import DirectoryUnavailable, VolatileRedis
from app.scim.members import MemberChange
from tests.conftest import RedisServer
from tests.fleets import Cluster, a_cluster, ask, until

ORIGIN = Origin(request_id="r", token_id="t", digest="d")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
async def link(cluster: Cluster) -> AsyncIterator[Link]:
    made = connect(cluster.url)
    yield made
    await made.close()


def slot_of(tenant: str) -> int:
    return int(key_slot(Keys(tenant).seq.encode()))


def tenant_on(cluster: Cluster, server: RedisServer) -> str:
    """Return a new tenant whose slot that server had at first."""
    while True:
        tenant = f"t-{uuid.uuid4().hex[:12]}"
        if cluster.owner(slot_of(tenant)) is server:
            return tenant


async def create(link: Link, tenant: str, name: str) -> str:
    directory = Directory(link, tenant, ["main"])
    return (await directory.create("user", {"userName": name}, ORIGIN)).id


def keys_at(server: RedisServer, tenant: str) -> set[str]:
    found = ask(server.port, "KEYS", f"scim:{{{tenant}}}:*")
    return set(found.split("\n")) if found else set()


async def test_tenants_lie_on_all_nodes_and_are_read_together(cluster: Cluster, link: Link) -> None:
    tenants = [tenant_on(cluster, server) for server in cluster.primaries for _ in range(2)]
    for tenant in tenants:
        await create(link, tenant, "ana")
        await tokens.create(link, tenant, now_ms=1)
    for tenant in tenants:
        at = [server for server in cluster.primaries if keys_at(server, tenant)]
        assert at == [cluster.owner(slot_of(tenant))]
    lanes = [(tenant, "main") for tenant in tenants]
    statuses = await read_statuses(link, lanes)
    assert {lane: status.last_seq for lane, status in statuses.items()} == dict.fromkeys(lanes, 1)
    assert set(await dirty_lanes(link, tenants)) == set(lanes)
    assert {t: len(its) for t, its in (await tokens.read_tokens(link, tenants)).items()} == (
        dict.fromkeys(tenants, 1)
    )


async def test_what_takes_several_steps_works_as_on_one_redis(cluster: Cluster, link: Link) -> None:
    tenant = tenant_on(cluster, cluster.primaries[1])
    directory, store = Directory(link, tenant, ["main"]), LaneStore(link, tenant, "main")
    everybody = tuple(f"m{n}" for n in range(LARGE + 200))
    group = await directory.create("group", {"displayName": "All"}, ORIGIN, members=everybody)
    before = await directory.get("group", group.id)
    assert before is not None
    await directory.update(
        "group", before, before.document, ORIGIN, members=MemberChange(remove=everybody[:50])
    )
    assert await directory.member_count(group.id) == LARGE + 150
    await store.pause()
    assert await store.acquire(1000) is None
    await store.resume()
    held = await store.acquire(1000)
    assert held is not None
    assert await store.release(held.epoch)
    made = await tokens.create(link, tenant, now_ms=1)
    assert await tokens.end_at(link, tenant, made.id, 5)
    assert await tokens.revoke(link, tenant, made.id)


async def test_a_slot_that_has_moved_is_followed_and_nothing_is_done_twice(
    cluster: Cluster, link: Link
) -> None:
    here, there = cluster.primaries[0], cluster.primaries[2]
    tenant = tenant_on(cluster, here)
    await create(link, tenant, "ana")
    await asyncio.to_thread(cluster.begin_move, slot_of(tenant), there)
    await asyncio.to_thread(cluster.end_move, slot_of(tenant), there)
    assert (await read_statuses(link, [(tenant, "main")]))[tenant, "main"].last_seq == 1
    await create(link, tenant, "bo")
    assert keys_at(here, tenant) == set()
    assert [event.seq for event in await read(link, Keys(tenant), 0, 10)] == [1, 2]


async def test_a_transaction_follows_a_slot_too(cluster: Cluster, link: Link) -> None:
    here, there = cluster.primaries[0], cluster.primaries[1]
    tenant = tenant_on(cluster, here)
    await create(link, tenant, "ana")
    await asyncio.to_thread(cluster.begin_move, slot_of(tenant), there)
    await asyncio.to_thread(cluster.end_move, slot_of(tenant), there)
    store = LaneStore(link, tenant, "main")
    await store.pause()
    assert (await store.status()).state == "paused"


async def test_while_a_slot_is_moved_key_by_key_a_commit_is_refused_and_never_half_done(
    cluster: Cluster, link: Link
) -> None:
    """A script that begins on a node which lacks some of the keys would stop in the middle."""
    here, there = cluster.primaries[1], cluster.primaries[2]
    tenant = tenant_on(cluster, here)
    ana = await create(link, tenant, "ana")
    before = keys_at(here, tenant)
    await asyncio.to_thread(cluster.begin_move, slot_of(tenant), there)
    with pytest.raises(DirectoryUnavailable, match="being moved"):
        await create(link, tenant, "bo")
    with pytest.raises(DirectoryUnavailable, match="being moved"):
        await LaneStore(link, tenant, "main").acquire(1000)
    some = next(key for key in before if key.endswith(":users:userName"))
    ask(here.port, "MIGRATE", "127.0.0.1", str(there.port), some, "0", "5000")
    with pytest.raises(DirectoryUnavailable, match="being moved"):
        await create(link, tenant, "ana")
    assert keys_at(here, tenant) | keys_at(there, tenant) == before
    await asyncio.to_thread(cluster.end_move, slot_of(tenant), there)
    directory = Directory(link, tenant, ["main"])
    assert await directory.find("user", "userName", "ana") == [ana]
    await create(link, tenant, "bo")
    assert await directory.last_seq() == 2


async def test_a_node_that_does_not_keep_what_it_acknowledges_is_named(
    cluster: Cluster, link: Link
) -> None:
    await check_durable(link)
    port = cluster.primaries[2].port
    ask(port, "CONFIG", "SET", "appendfsync", "everysec")
    try:
        with pytest.raises(VolatileRedis, match=rf"127\.0\.0\.1:{port} acknowledges before"):
            await check_durable(link)
    finally:
        ask(port, "CONFIG", "SET", "appendfsync", "always")


async def test_a_dead_cluster_is_said_at_once() -> None:
    link = connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(DirectoryUnavailable, match="no node of the cluster answers"):
        await create(link, "acme", "ana")
    await link.close()


async def test_a_replica_takes_over_with_everything_that_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A primary is killed under writes; those of its tenants fail until the cluster has agreed."""
    with a_cluster(tmp_path_factory.mktemp("failover"), replicas=True) as cluster:
        link, dies = connect(cluster.url, wait_replicas=1), cluster.primaries[0]
        await check_durable(link)
        tenant, acknowledged = tenant_on(cluster, dies), list[str]()

        async def write(part: int) -> None:
            """Go on until something fails."""
            for n in range(5000):
                try:
                    await create(link, tenant, f"u{part}-{n}")
                except DirectoryUnavailable:
                    return
                acknowledged.append(f"u{part}-{n}")

        writing = asyncio.gather(*map(write, range(4)))
        while len(acknowledged) < 100:  # noqa: ASYNC110 - it takes some milliseconds
            await asyncio.sleep(0.01)
        await asyncio.to_thread(dies.stop)
        await writing
        until(
            lambda: "role:master" in ask(cluster.replicas[0].port, "INFO", "replication"),
            "nobody takes over",
        )
        await asyncio.to_thread(dies.start)  # as the replica that commits wait for
        async with asyncio.timeout(PATIENCE_S):
            for n in range(1000):
                try:
                    await create(link, tenant, f"last-{n}")
                except DirectoryUnavailable:
                    await asyncio.sleep(0.1)
                else:
                    break
        directory = Directory(link, tenant, ["main"])
        for name in acknowledged:
            assert await directory.find("user", "userName", name), name
        seqs = [event.seq for event in await read(link, Keys(tenant), 0, 10_000)]
        assert seqs == list(range(1, await directory.last_seq() + 1))
        await link.close()
