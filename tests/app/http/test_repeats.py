"""A client that got no answer repeats its request, perhaps to another receiver: no 409 for it.

The receivers are processes of their own, killed with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout

from app.child import die_with
from app.directory import tokens
from app.directory.keys import Keys
from app.directory.link import Link, connect
from app.directory.unanswered import KEPT_MS, forget_old
from app.sandbox.ports import choose_ports

if TYPE_CHECKING:
    from tests.conftest import RedisServer

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
user_name = "acme__{{userName}}"
"""
KEYS = Keys("acme")
FATAL = b"fatal"
ANA = {"userName": "fatal@acme.example", "active": True}
TEAM = {"displayName": "fatal", "members": [{"value": "x"}]}
BULK = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
    "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": f"b{n}", "data": {"userName": f"fatal{n}"}}
        for n in range(3)
    ],
}


@dataclass(slots=True)
class Receiver:
    """A process; `wire`: what its commands to Redis go through."""

    process: asyncio.subprocess.Process
    base: str
    headers: Mapping[str, str]
    session: ClientSession
    wire: Wire

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the body; (0, None) where the connection ends instead."""
        try:
            async with self.session.request(
                method, self.base + path, json=body, headers=self.headers
            ) as response:
                return response.status, await response.json(content_type=None)
        except ClientConnectionError:
            return 0, None

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@dataclass(slots=True)
class Wire:
    """A forwarder to Redis. From the first command on that holds `fatal` no reply comes back."""

    to: int
    port: int = 0
    fatal: bytes = b"\0"

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        withheld = False

        async def replies() -> None:
            while chunk := await there.read(65536):
                if not withheld:
                    writer.write(chunk)

        answering = asyncio.create_task(replies())
        try:
            while chunk := await reader.read(65536):
                withheld = withheld or self.fatal in chunk
                back.write(chunk)
        except OSError:
            pass
        finally:
            answering.cancel()
            back.close()
            writer.close()


@dataclass(slots=True)
class Site:
    """Receivers of one tenant on one Redis, which the test may kill."""

    stack: AsyncExitStack
    redis: RedisServer
    folder: Path
    token: str
    link: Link
    session: ClientSession

    async def receiver(self) -> Receiver:
        number = len(list(self.folder.iterdir()))
        wire = Wire(self.redis.port)
        server = await asyncio.start_server(wire.forward, "127.0.0.1", 0)
        self.stack.callback(server.close)
        wire.port = server.sockets[0].getsockname()[1]
        file, log = self.folder / f"{number}.toml", self.folder / f"{number}.log"
        file.write_text(FILE.format(redis=f"redis://127.0.0.1:{wire.port}/0"))
        port = choose_ports(["receiver"], {}, random.Random())["receiver"]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app.cli.main", "receiver", "--config", str(file)),
                *("--port", str(port)),
                stdout=output,
                stderr=output,
                preexec_fn=die_with(os.getpid()),
            )
        self.stack.push_async_callback(ended, process)
        headers = {"Authorization": f"Bearer {self.token}"}
        base = f"http://127.0.0.1:{port}/scim/acme/v2"
        made = Receiver(process, base, headers, self.session, wire)
        async with asyncio.timeout(30):
            while (await made.send("GET", "/Users?count=0"))[0] != 200:
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        warm = {"userName": f"warm{number}"}  # its scripts are loaded, its token is known
        assert (await made.send("POST", "/Users", warm))[0] == 201
        await self.until_told()
        return made

    async def unanswered(self) -> int:
        return int(await self.link.redis.hlen(KEYS.unanswered))  # type: ignore[misc]

    async def until_told(self) -> None:
        async with asyncio.timeout(10):
            while await self.unanswered():  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)


async def ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
async def site(tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Site]:
    folder = tmp_path / "receivers"
    folder.mkdir()
    link = connect(own_redis.url)
    token = (await tokens.create(link, "acme", now_ms=0)).token
    timeout = ClientTimeout(total=30)
    async with AsyncExitStack() as stack, ClientSession(timeout=timeout) as session:
        yield Site(stack, own_redis, folder, token, link, session)
    await link.close()


CREATIONS = {"a user": ("/Users", ANA), "a group": ("/Groups", TEAM), "in bulk": ("/Bulk", BULK)}


def created(path: str, reply: tuple[int, Any]) -> list[str]:
    """Return the ids, or locations, of what the answer says was created."""
    status, body = reply
    if path != "/Bulk":
        assert status == 201, body
        return [body["id"]]
    assert status == 200
    assert [o["status"] for o in body["Operations"]] == ["201"] * 3, body
    return [o["location"].rpartition("/")[2] for o in body["Operations"]]


def refused(path: str, reply: tuple[int, Any]) -> bool:
    if path != "/Bulk":
        return reply[0] == 409
    return [o["status"] for o in reply[1]["Operations"]] == ["409"] * 3


@pytest.mark.parametrize(("path", "body"), CREATIONS.values(), ids=CREATIONS.keys())
async def test_a_creation_that_a_killed_receiver_never_answered_is_found_by_its_repeat(
    site: Site, path: str, body: Any
) -> None:
    """SIGKILL after the commit, before its reply; the repeat goes to another process."""
    second, first = await site.receiver(), await site.receiver()
    first.wire.fatal = FATAL
    before = int(await site.link.redis.get(KEYS.seq) or 0)
    sent = asyncio.create_task(first.send("POST", path, body))
    async with asyncio.timeout(20):
        while int(await site.link.redis.get(KEYS.seq) or 0) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await first.kill()
    assert (await sent)[0] == 0
    ids = created(path, await second.send("POST", path, body))
    for number, held in enumerate(ids):
        kind = "Groups" if path == "/Groups" else "Users"
        assert (await second.send("GET", f"/{kind}/{held}"))[0] == 200, number
    await site.until_told()
    assert refused(path, await second.send("POST", path, body)), "it has been answered by now"
    other = {**body, "externalId": "another"}
    if path != "/Bulk":
        assert refused(path, await second.send("POST", path, other))
    assert int(await site.link.redis.get(KEYS.seq)) == before + len(ids)


async def test_a_creation_that_was_answered_is_a_conflict_for_every_receiver(site: Site) -> None:
    """Also at once, to another process, and when the first one is dead by then."""
    receivers = [await site.receiver() for _ in range(2)]
    for turn in range(20):
        body = ANA | {"userName": f"ana{turn}"}
        assert (await receivers[turn % 2].send("POST", "/Users", body))[0] == 201
        assert (await receivers[1 - turn % 2].send("POST", "/Users", body))[0] == 409
        assert (await receivers[turn % 2].send("POST", "/Users", body))[0] == 409
    await site.until_told()
    await receivers[0].kill()
    for turn in range(20):
        body = ANA | {"userName": f"ana{turn}"}
        assert (await receivers[1].send("POST", "/Users", body))[0] == 409


async def test_of_two_that_are_sent_at_once_one_is_a_conflict(site: Site) -> None:
    one, two = await site.receiver(), await site.receiver()
    for turn in range(20):
        body = ANA | {"userName": f"ana{turn}"}
        replies = await asyncio.gather(
            *(receiver.send("POST", "/Users", body) for receiver in (one, two, one, two))
        )
        assert sorted(status for status, _ in replies) == [201, 409, 409, 409]


async def test_what_nobody_repeats_is_forgotten_after_an_hour(site: Site) -> None:
    second, first = await site.receiver(), await site.receiver()
    first.wire.fatal = FATAL
    sent = asyncio.create_task(first.send("POST", "/Users", ANA))
    async with asyncio.timeout(20):
        while not await site.unanswered():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    await first.kill()
    await sent
    redis = site.link.redis
    ((digest, entry),) = (await redis.hgetall(KEYS.unanswered)).items()  # type: ignore[misc]
    made, at_ms = entry.decode().split()
    await forget_old(site.link, ["acme"], int(at_ms) + KEPT_MS)
    assert await site.unanswered() == 1
    old = f"{made} {int(at_ms) - KEPT_MS - 1000}"
    await redis.hset(KEYS.unanswered, digest, old)  # type: ignore[misc]
    assert (await second.send("POST", "/Users", ANA))[0] == 409
    await forget_old(site.link, ["acme"], int(at_ms))
    assert await site.unanswered() == 0
