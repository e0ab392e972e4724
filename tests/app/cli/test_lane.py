from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from arq.connections import ArqRedis

from app.directory.directory import Directory, Origin
from app.directory.lanes import Acknowledgement, LaneStore, Letter
from app.directory.link import Link
from app.wake import JOB, QUEUE

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cli
    from tests.conftest import RedisServer

LEASE_MS = 30_000


async def change(link: Link, tenant: str, user_name: str) -> int:
    """Commit one event and return its seq."""
    document = {"schemas": [], "userName": user_name}
    origin = Origin(request_id="r", token_id="t", digest=user_name)
    made = await Directory(link, tenant, ("main", "second")).create("user", document, origin)
    assert made.seq is not None
    return made.seq


async def take(store: LaneStore) -> int:
    """Take the lane as a worker does; return the epoch."""
    held = await store.acquire(LEASE_MS)
    assert held is not None
    return held.epoch


def batch(cursor: int, **letters: Letter) -> Acknowledgement:
    return Acknowledgement(cursor=cursor, letters=letters)


def letter(**fields: object) -> Letter:
    usual = {
        "id": "",
        "resource_type": "User",
        "resource_id": "x",
        "name": "ana",
        "seq_first": 1,
        "seq_last": 1,
        "code": 493,
        "error": "taken",
        "attempts": 1,
        "first_ms": 1,
        "last_ms": 1,
    }
    return msgspec.convert(usual | fields, Letter)


async def woken(redis: RedisServer, tenant: str) -> list[str]:
    """Return the targets of the tenant's lanes for which a wake-up waits."""
    client = ArqRedis.from_url(redis.url)
    try:
        jobs = await client.queued_jobs(queue_name=QUEUE)
    finally:
        await client.aclose()
    return [job.args[1] for job in jobs if job.function == JOB and job.args[0] == tenant]


def test_the_lanes_are_those_of_the_configuration(cli: Cli) -> None:
    rows = cli("lane", "list", "--json").json
    lanes = [(row["tenant"], row["target"]) for row in rows]
    assert lanes == [(t, g) for t in (cli.tenant, cli.other) for g in ("main", "second")]
    assert rows[0] == {
        "tenant": cli.tenant,
        "target": "main",
        "state": "idle",
        "last_seq": 0,
        "applied_seq": 0,
        "lag_seconds": 0.0,
        "dead_letters": 0,
        "last_error": None,
        "revocation_since": None,
        "held": 0,
        "next_attempt_at": None,
        "since": None,
    }


async def test_a_list_shows_how_far_each_lane_is(cli: Cli, link: Link) -> None:
    for number in range(3):
        await change(link, cli.tenant, f"user-{number}")
    store = LaneStore(link, cli.tenant, "main")
    epoch = await take(store)
    assert await store.acknowledge(epoch, batch(2, x=letter()))
    main, second = cli("lane", "list", "--tenant", cli.tenant, "--json").json
    assert (main["last_seq"], main["applied_seq"], main["dead_letters"]) == (3, 2, 1)
    assert (second["last_seq"], second["applied_seq"], second["dead_letters"]) == (3, 0, 0)
    assert 0 <= main["lag_seconds"] <= second["lag_seconds"]
    assert main["since"].endswith("Z")


async def test_a_lane_that_waits_for_its_target_says_why_and_until_when(
    cli: Cli, link: Link
) -> None:
    store = LaneStore(link, cli.tenant, "main")
    epoch = await take(store)
    await store.report(epoch, "Connection refused", 60_000, 3)
    (row,) = cli("lane", "list", "--tenant", cli.tenant, "--target", "main", "--json").json
    assert (row["state"], row["last_error"]) == ("backing-off", "Connection refused")
    due = datetime.fromisoformat(row["next_attempt_at"]).timestamp()
    assert due == pytest.approx(time.time() + 60, abs=5)


def test_the_table_has_the_lanes_asked_for(cli: Cli) -> None:
    lines = cli("lane", "list", "--tenant", cli.tenant, "--target", "second").out.splitlines()
    assert [line.split()[:3] for line in lines if cli.tenant in line] == [
        [cli.tenant, "second", "idle"]
    ]
    assert "main" not in "".join(lines)


async def test_no_worker_gets_a_paused_lane_until_it_is_resumed(
    cli: Cli, link: Link, redis_server: RedisServer
) -> None:
    store = LaneStore(link, cli.tenant, "main")
    ran = cli("lane", "pause", cli.tenant, "main")
    assert (ran.code, ran.err) == (0, "")
    assert f"`clickhouse-scim lane resume {cli.tenant} main`" in ran.out
    assert await store.acquire(LEASE_MS) is None
    states = [row["state"] for row in cli("lane", "list", "--tenant", cli.tenant, "--json").json]
    assert states == ["paused", "idle"]
    (row,) = cli("lane", "resume", cli.tenant, "main", "--json").json
    assert row["state"] == "idle"
    assert await woken(redis_server, cli.tenant) == ["main"]
    assert await store.acquire(LEASE_MS) is not None


async def test_a_blocked_lane_goes_on_only_when_it_is_confirmed(
    cli: Cli, link: Link, redis_server: RedisServer
) -> None:
    store = LaneStore(link, cli.tenant, "main")
    epoch = await take(store)
    loss = '["ana",1,2]'
    await store.acknowledge(epoch, Acknowledgement(cursor=0, held={"a": loss, "b": loss}))
    await store.block(epoch, "held: 2 users would lose access in one go")
    await store.settle(epoch)
    (row,) = cli("lane", "list", "--tenant", cli.tenant, "--target", "main", "--json").json
    assert (row["state"], row["held"]) == ("blocked", 2)
    assert row["last_error"] == "held: 2 users would lose access in one go"
    ran = cli("lane", "resume", cli.tenant, "main")
    assert (ran.code, ran.out) == (1, "")
    assert "held: 2 users" in ran.err
    assert await woken(redis_server, cli.tenant) == []
    (row,) = cli("lane", "resume", cli.tenant, "main", "--confirm", "--json").json
    assert (row["state"], row["held"], row["last_error"]) == ("idle", 0, None)
    assert await woken(redis_server, cli.tenant) == ["main"]
    assert (await store.asked(10))[0].keys() == {"a", "b"}


async def test_a_resync_is_asked_for_and_somebody_is_woken(
    cli: Cli, link: Link, redis_server: RedisServer
) -> None:
    ran = cli("lane", "resync", cli.tenant, "second")
    assert ran.out == f"{cli.tenant}/second goes through the whole directory\n"
    assert (await LaneStore(link, cli.tenant, "second").asked(1))[1] != ""
    assert (await LaneStore(link, cli.tenant, "main").asked(1))[1] == ""
    assert await woken(redis_server, cli.tenant) == ["second"]


def test_a_resync_of_a_paused_lane_says_that_it_waits(cli: Cli) -> None:
    cli("lane", "pause", cli.tenant, "main")
    assert "it is paused" in cli("lane", "resync", cli.tenant, "main").out


async def test_all_stands_for_all_lanes_or_those_of_a_tenant(cli: Cli, link: Link) -> None:
    rows = cli("lane", "pause", cli.tenant, "--all", "--json").json
    assert [(row["tenant"], row["target"]) for row in rows] == [
        (cli.tenant, "main"),
        (cli.tenant, "second"),
    ]
    assert await LaneStore(link, cli.other, "main").acquire(LEASE_MS) is not None
    assert len(cli("lane", "resync", "--all").out.splitlines()) == 4


WRONG = {
    "no lane": ((), "name TENANT and TARGET, or give --all"),
    "no target": (("TENANT",), "name TENANT and TARGET, or give --all"),
    "both": (("TENANT", "main", "--all"), "--all stands in place of TARGET"),
    "another target": (("TENANT", "mian"), "has no target 'mian'; did you mean main?"),
    "no such target": (("TENANT", "zzz"), "has no target 'zzz'; the configuration has: main, sec"),
    "another tenant": (("nobody-at-all", "main"), "there is no tenant 'nobody-at-all'"),
}


@pytest.mark.parametrize("order", ["pause", "resume", "resync"])
@pytest.mark.parametrize(("arguments", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_lane_that_there_is_not_is_wrong_usage(
    order: str, arguments: tuple[str, ...], why: str, cli: Cli
) -> None:
    ran = cli("lane", order, *(cli.tenant if one == "TENANT" else one for one in arguments))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err


def test_a_list_of_what_there_is_not_is_wrong_usage(cli: Cli) -> None:
    assert cli("lane", "list", "--tenant", "zzz").code == 2
    ran = cli("lane", "list", "--target", "mian")
    assert (ran.code, "did you mean main?" in ran.err) == (2, True)
