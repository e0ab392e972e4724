"""Redis dies, hangs, fills up and comes back: no 2xx is lost, and all else is a 503."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool

from app.directory import answered
from app.directory.events import read
from app.directory.keys import Keys
from app.wake import JOB, QUEUE

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Reply, Running, Service
    from tests.conftest import RedisServer


def unavailable(reply: Reply) -> bool:
    """Whether it is a 503 that says when to come again, in whole seconds: Okta reads no date."""
    assert reply.refuses(503)
    return int(reply.headers["Retry-After"]) >= 1


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what has no event; the caller has the deadline."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def until_serves(scim: Client) -> None:
    async with asyncio.timeout(10):
        while (await scim("GET", "/Users?count=0")).status != 200:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def test_every_2xx_survives_a_kill_and_every_repeat_finds_its_own_write(
    frail: Service, own_redis: RedisServer
) -> None:
    """Writers that repeat what was answered 503, as identity providers do, over three kills."""
    scim = frail.scim
    made: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    done = asyncio.Event()

    async def write(name: str) -> None:
        while True:
            reply = await scim("POST", "/Users", {"userName": name})
            statuses[reply.status] += 1
            if reply.status == 201:
                made[name] = reply.id
                return
            assert unavailable(reply)
            await asyncio.sleep(0.01)

    async def writer(number: int) -> None:
        for turn in range(1000):
            await write(f"user-{number}-{turn}")
            if done.is_set():
                return

    async def kills() -> None:
        for kill in range(1, 4):
            await until(lambda: len(made) >= 60 * kill)  # noqa: B023 - awaited here
            await asyncio.to_thread(own_redis.stop)
            refused = statuses[503] + 10
            await until(lambda: statuses[503] >= refused)  # noqa: B023
            await asyncio.to_thread(own_redis.start)
        enough = len(made) + 20
        await until(lambda: len(made) >= enough)
        done.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(writer(number))
        tasks.create_task(kills())
    assert set(statuses) == {201, 503}
    directory = frail.receiver.tenants[scim.tenant].directory
    for name, user_id in made.items():
        assert await directory.find("user", "userName", name) == [user_id]
    assert await directory.count("user") == len(made)
    events = await read(frail.link, Keys(scim.tenant), 0, 10_000)
    assert [event.seq for event in events] == list(range(1, len(made) + 1))
    assert {event.name: event.id for event in events} == made


async def test_without_redis_everything_is_a_503_until_it_is_back(
    frail: Service, own_redis: RedisServer
) -> None:
    scim = frail.scim
    ana = await scim.user("ana")
    own_redis.stop()
    for method, path, body in (
        ("GET", f"/Users/{ana}", None),
        ("GET", "/Users?filter=userName+eq+ana", None),
        ("POST", "/Users", {"userName": "bo"}),
        ("PUT", f"/Users/{ana}", {"userName": "ana", "active": False}),
        ("PATCH", f"/Users/{ana}", {"Operations": [{"op": "add", "value": {"active": False}}]}),
        ("DELETE", f"/Users/{ana}", None),
    ):
        assert unavailable(await scim(method, path, body))
    stranger = scim.with_token("Bearer chscim_000000000000_" + "0" * 64)
    assert unavailable(await stranger("GET", "/Users"))
    assert (await scim("GET", "//healthz")).status == 200
    ready = await scim("GET", "//readyz")
    assert (ready.status, b"Redis" in ready.raw) == (503, True)
    own_redis.start()
    await until_serves(scim)
    assert (await scim("GET", "//readyz")).status == 200
    assert (await scim("GET", f"/Users/{ana}")).json["userName"] == "ana"
    assert await scim.last_seq() == 1


async def test_a_redis_that_hangs_is_not_waited_for(
    frail: Service, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answered, "ANSWER_S", 0.2)
    scim = frail.scim
    await scim.user("ana")
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        started = asyncio.get_running_loop().time()
        replies = await asyncio.gather(
            *(scim("POST", "/Users", {"userName": f"user{n}"}) for n in range(100))
        )
        assert asyncio.get_running_loop().time() < started + 5
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    assert all(map(unavailable, replies))
    monkeypatch.setattr(answered, "ANSWER_S", 3.0)
    await until_serves(scim)
    # What reached Redis before it hung may have happened: the repeat finds it.
    for n in range(100):
        assert (await scim("POST", "/Users", {"userName": f"user{n}"})).status == 201
    assert (await scim("GET", "/Users?count=0")).json["totalResults"] == 101


async def test_a_replica_takes_no_writes_and_says_so(frail: Service) -> None:
    scim, redis = frail.scim, frail.link.redis
    await redis.replicaof("127.0.0.1", "1")
    assert unavailable(await scim("POST", "/Users", {"userName": "ana"}))
    assert (await scim("GET", "//readyz")).status == 503
    await redis.replicaof("NO", "ONE")
    await scim.user("ana")
    assert (await scim("GET", "//readyz")).status == 200


async def test_a_full_redis_takes_no_writes_but_still_takes_access_away(frail: Service) -> None:
    scim, redis = frail.scim, frail.link.redis
    ana, bo = await scim.user("ana"), await scim.user("bo")
    team = await scim.group("Team", ana, bo)
    await redis.config_set("maxmemory", "1mb")
    assert unavailable(await scim("POST", "/Users", {"userName": "cy"}))
    assert (await scim("GET", "//readyz")).status == 503
    assert (await scim("GET", f"/Users/{ana}")).status == 200
    deleted = await scim("DELETE", f"/Users/{ana}")
    assert (deleted.status, deleted.seq) == (204, 4)
    assert await scim.members(team) == [bo]
    await redis.config_set("maxmemory", "0")
    assert await scim.user("cy")
    assert await scim.last_seq() == 5


async def test_a_busy_redis_is_a_503(frail: Service, own_redis: RedisServer) -> None:
    scim = frail.scim
    await scim.user("ana")
    redis = frail.link.redis
    await redis.config_set("busy-reply-threshold", "10")
    _, writer = await asyncio.open_connection("127.0.0.1", own_redis.port)
    writer.write(b"EVAL 'while true do end' 0\r\n")
    async with asyncio.timeout(10):
        names = (f"bo{n}" for n in count())
        while (reply := await scim("POST", "/Users", {"userName": next(names)})).status == 201:
            pass
    assert unavailable(reply)
    await redis.script_kill()
    writer.close()
    await writer.wait_closed()
    await until_serves(scim)
    assert (await scim("POST", "/Users", {"userName": "bo"})).status == 201


async def test_scripts_that_redis_forgot_are_loaded_again(frail: Service) -> None:
    await frail.scim.user("ana")
    await frail.link.redis.script_flush()
    await frail.scim.user("bo")
    assert await frail.scim.last_seq() == 2


class Wire:
    """A forwarder to Redis that can lose the reply to a commit: the connection ends instead."""

    def __init__(self, to: int) -> None:
        self.loses_replies = False
        self.to, self.port = to, 0

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        lost = False
        try:
            async with asyncio.TaskGroup() as tasks:

                async def replies() -> None:
                    while chunk := await there.read(65536):
                        if lost:
                            break
                        writer.write(chunk)
                    writer.close()

                tasks.create_task(replies())
                while chunk := await reader.read(65536):
                    lost = lost or (self.loses_replies and b"EVALSHA" in chunk)
                    back.write(chunk)
                back.close()
        except* OSError:
            pass
        finally:
            writer.close()
            back.close()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    wire = Wire(port)
    server = await asyncio.start_server(wire.forward, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    async with server:
        yield wire
        server.close()


async def test_a_post_whose_reply_was_lost_finds_its_own_write(
    own_redis: RedisServer, tmp_path: Path, running: Running
) -> None:
    async with (
        wire_to(own_redis.port) as wire,
        running(tmp_path / "file.toml", f"redis://127.0.0.1:{wire.port}/0") as service,
    ):
        scim = service.scim
        ana = await scim.user("ana")
        body = {"displayName": "Team", "externalId": "g", "members": [{"value": ana}]}
        wire.loses_replies = True
        assert unavailable(await scim("POST", "/Users", {"userName": "bo"}))
        assert unavailable(await scim("POST", "/Groups", body))
        wire.loses_replies = False
        await until_serves(scim)
        assert await scim.last_seq() == 3  # both happened
        # Another request is no repeat, whatever else it has in common with the first.
        other = await scim("POST", "/Users", {"userName": "BO"})
        assert other.refuses(409, "uniqueness")
        repeat = await scim("POST", "/Groups", body)
        assert (repeat.status, repeat.seq) == (201, 3)
        assert [m["value"] for m in repeat.json["members"]] == [ana]
        assert repeat.headers["Location"].endswith(repeat.id)
        assert (await scim("POST", "/Users", {"userName": "bo"})).seq == 3
        # It is told once: the next one is a duplicate.
        assert (await scim("POST", "/Groups", body)).refuses(409, "uniqueness")
        assert await scim.last_seq() == 3


async def test_a_repeat_takes_nobody_elses_write_for_its_own(
    frail: Service, own_redis: RedisServer
) -> None:
    scim = frail.scim
    await scim.user("ana")
    body = {"displayName": "Team", "members": [{"value": "a"}]}
    own_redis.stop()
    assert unavailable(await scim("POST", "/Groups", body))  # and it did not happen
    await asyncio.to_thread(own_redis.start)
    await until_serves(scim)
    await scim.group("Team")
    assert (await scim("POST", "/Groups", body)).refuses(409, "uniqueness")


async def test_a_write_wakes_the_lane_that_it_made_dirty(frail: Service) -> None:
    scim = frail.scim
    await scim.user("ana")
    await scim.user("bo")  # its lane is dirty already
    (url,) = frail.receiver.settings.redis.places
    redis = ArqRedis(ConnectionPool.from_url(url))
    async with asyncio.timeout(10):
        while not (jobs := await redis.queued_jobs(queue_name=QUEUE)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await redis.connection_pool.disconnect()
    assert [(job.function, job.args) for job in jobs] == [(JOB, (scim.tenant, "main"))]


async def test_a_change_whose_reply_was_lost_may_be_repeated(
    own_redis: RedisServer, tmp_path: Path, running: Running
) -> None:
    async with (
        wire_to(own_redis.port) as wire,
        running(tmp_path / "file.toml", f"redis://127.0.0.1:{wire.port}/0") as service,
    ):
        scim = service.scim
        ana = await scim.user("ana")
        off = {"Operations": [{"op": "replace", "value": {"active": False}}]}
        wire.loses_replies = True
        assert unavailable(await scim("PATCH", f"/Users/{ana}", off))
        wire.loses_replies = False
        await until_serves(scim)
        again = await scim("PATCH", f"/Users/{ana}", off)
        assert (again.status, again.seq, again.json["active"]) == (200, 2, False)
