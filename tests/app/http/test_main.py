"""The receiver as a process: how it starts, rereads its file, speaks, and ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientConnectionError, ClientSession

from app.directory import tokens
from app.directory.link import connect

if TYPE_CHECKING:
    from tests.conftest import RedisServer

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
marker_role = "one"
user_name = "acme__{{userName}}"
"""
SECOND = """
[tenants.globex]
targets = ["main"]
marker_role = "two"
user_name = "{tenant}__{userName}"
"""
DEADLINE_S = 20


@dataclass(slots=True)
class Process:
    """A running `clickhouse-scim receiver`; `lines` are those of its log so far."""

    process: asyncio.subprocess.Process
    root: str
    session: ClientSession
    log: Path
    file: Path

    def reread(self, text: str | None) -> None:
        """Change the file, or take it away, and send SIGHUP."""
        if text is None:
            self.file.unlink()
        else:
            self.file.write_text(text)
        self.process.send_signal(signal.SIGHUP)

    def lines(self) -> list[dict[str, Any]]:
        said = self.log.read_text().splitlines()
        return [json.loads(line) for line in said if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    async def status(self, path: str, token: str = "", **given: Any) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self.session.request(
                given.pop("method", "GET"), self.root + path, headers=headers, **given
            ) as response:
                return response.status
        except ClientConnectionError:
            return 0

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await holds():
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)

    async def until_said(self, event: str, times: int = 1) -> dict[str, Any]:
        async def holds() -> bool:
            return len(self.said(event)) >= times

        await self.until(holds)
        return self.said(event)[-1]

    async def ends(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


@asynccontextmanager
async def receiver(file: Path, *options: str) -> AsyncIterator[Process]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = file.parent / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli.main", "receiver", "--config", str(file)),
            *("--port", str(port), *options),
            stdout=output,
            stderr=output,
        )
    async with ClientSession() as session:
        try:
            yield Process(process, f"http://127.0.0.1:{port}", session, log, file)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def file(tmp_path: Path, own_redis: RedisServer) -> Path:
    path = tmp_path / "clickhouse-scim.toml"
    path.write_text(FILE.format(redis=own_redis.url))
    return path


async def new_token(redis: RedisServer, tenant: str = "acme") -> str:
    link = connect(redis.url)
    made = await tokens.create(link, tenant, now_ms=0)
    await link.close()
    return made.token


async def configure(redis: RedisServer, name: str, value: str) -> None:
    link = connect(redis.url)
    await link.redis.config_set(name, value)
    await link.close()


VOLATILE = {
    "no append-only file": ("appendonly", "no", "appendonly yes"),
    "written too late": ("appendfsync", "everysec", "appendfsync always"),
    "evicting": ("maxmemory-policy", "allkeys-lru", "maxmemory-policy noeviction"),
}


@pytest.mark.parametrize(("name", "value", "advice"), VOLATILE.values(), ids=VOLATILE.keys())
async def test_a_volatile_redis_is_refused_in_one_line_that_names_the_setting(
    file: Path, own_redis: RedisServer, name: str, value: str, advice: str
) -> None:
    await configure(own_redis, name, value)
    async with receiver(file) as process:
        assert await process.ends() == 1
        said = process.log.read_text()
        assert said.count("\n") == 1, said
        assert advice in said
        assert "--allow-volatile-redis" in said


async def test_a_volatile_redis_is_taken_where_that_is_asked_for(
    file: Path, own_redis: RedisServer
) -> None:
    await configure(own_redis, "appendonly", "no")
    token = await new_token(own_redis)
    async with receiver(file, "--allow-volatile-redis") as process:
        await process.until_said("receiver.started")
        assert await process.status("/readyz") == 200
        assert await process.status("/scim/acme/v2/Users", token) == 200


async def test_without_redis_it_waits_with_its_port_open(
    file: Path, own_redis: RedisServer
) -> None:
    token = await new_token(own_redis)
    own_redis.stop()
    async with receiver(file) as process:
        await process.until_said("redis.awaited")
        assert await process.status("/healthz") == 200
        assert await process.status("/readyz") == 503
        assert await process.status("/scim/acme/v2/Users", token) == 503
        await asyncio.to_thread(own_redis.start)

        async def serves() -> bool:
            return await process.status("/scim/acme/v2/Users", token) == 200

        await process.until(serves)
        assert len(process.said("redis.awaited")) == 1
        process.process.send_signal(signal.SIGTERM)
        assert await process.ends() == 0


async def test_a_redis_that_comes_late_and_is_volatile_is_refused_as_well(
    tmp_path: Path, own_redis: RedisServer, file: Path
) -> None:
    await configure(own_redis, "appendonly", "no")
    own_redis.stop()
    async with receiver(file) as process:
        await process.until_said("redis.awaited")
        volatile = replace(own_redis, settings=("--appendonly", "no"))
        await asyncio.to_thread(volatile.start)
        assert await process.ends() == 1
        assert "appendonly yes" in process.log.read_text().splitlines()[-1]


async def test_sighup_takes_a_good_file_and_leaves_a_broken_one(
    file: Path, own_redis: RedisServer
) -> None:
    good = FILE.format(redis=own_redis.url)
    acme, globex = await new_token(own_redis), await new_token(own_redis, "globex")
    async with receiver(file) as process:
        await process.until_said("receiver.started")
        assert await process.status("/scim/globex/v2/Users", globex) == 401
        process.reread(good + SECOND + "[limits]\nmax_body_bytes = 1024\n")
        await process.until_said("config.reread")
        assert await process.status("/scim/globex/v2/Users", globex) == 200
        process.session.headers["Content-Type"] = "application/json"
        body = {"method": "POST", "data": b" " * 1025}
        assert await process.status("/scim/acme/v2/Users", acme, **body) == 413
        for broken in ("[redis", good + "[tenants.acme2]\ntargets = ['nowhere']\n", "", None):
            refusals = len(process.said("config.refused"))
            process.reread(broken)
            refused = await process.until_said("config.refused", refusals + 1)
            assert refused["key"]
            assert refused["reason"]
            assert await process.status("/scim/globex/v2/Users", globex) == 200
        process.reread(good)
        await process.until_said("config.reread", 2)
        assert await process.status("/scim/globex/v2/Users", globex) == 401
        assert await process.status("/scim/acme/v2/Users", acme) == 200


async def test_sigterm_ends_it_with_0_also_in_the_middle_of_requests(
    file: Path, own_redis: RedisServer
) -> None:
    token = await new_token(own_redis)
    async with receiver(file) as process:
        await process.until_said("receiver.started")
        statuses: list[int] = []

        async def write(number: int) -> None:
            for turn in range(10_000):
                body = json.dumps({"userName": f"user-{number}-{turn}"})
                status = await process.status(
                    "/scim/acme/v2/Users", token, method="POST", data=body.encode()
                )
                statuses.append(status)
                if status == 0:
                    return

        process.session.headers["Content-Type"] = "application/json"
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(write(number))
            while len(statuses) < 50:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            process.process.send_signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert set(statuses) <= {201, 0}
        assert process.lines()[-1]["event"] == "receiver.stopped"
        # What was answered was committed, and at most what was under way beside it.
        link = connect(own_redis.url)
        committed = await link.redis.zcard("scim:{acme}:users")
        await link.close()
        assert statuses.count(201) <= committed <= statuses.count(201) + 4


async def test_a_port_that_is_taken_is_one_line(file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with receiver(file, "--port", str(taken.getsockname()[1])) as process:
            assert await process.ends() == 1
            said = process.log.read_text()
            assert said.count("\n") == 1, said
            assert "Traceback" not in said


async def test_no_secret_and_no_attribute_is_ever_logged(
    file: Path, own_redis: RedisServer
) -> None:
    token = await new_token(own_redis)
    planted = {"password": "Tr0ub4dor", "userName": "PlantedName", "title": "PlantedTitle"}
    async with receiver(file) as process:
        await process.until_said("receiver.started")
        process.session.headers["Content-Type"] = "application/scim+json"
        users = "/scim/acme/v2/Users"
        body = json.dumps(planted).encode()
        assert await process.status(users, token, method="POST", data=body) == 201
        assert await process.status(users, token, method="POST", data=body) == 409
        assert await process.status(users, token, method="POST", data=body[:-1]) == 400
        assert await process.status(f"{users}?filter=userName+eq+PlantedName", token) == 200
        assert await process.status(f"{users}/PlantedName", token) == 404
        assert await process.status(users, token + "0") == 401
        host, port = process.root.removeprefix("http://").split(":")
        head = f"{users} HTTP/1.1\r\nHost: x\r\nAuthorization"
        for raw in (
            f"GET {head}: Bearer {token}\x00\r\n\r\n",
            f"GET {head} : Bearer {token}\r\n\r\n",
            f"Bearer {token} Tr0ub4dor\r\n\r\n",
            f"POST {head}: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\nTr0ub4dor\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(raw.encode())
            async with asyncio.timeout(DEADLINE_S):
                await reader.read(1000)
            writer.close()
            await writer.wait_closed()
        own_redis.stop()
        assert await process.status(users, token, method="POST", data=body) == 503
        process.process.send_signal(signal.SIGTERM)
        assert await process.ends() == 0
        said = process.log.read_text()
        assert "request.answered" in said
        secret = token.rpartition("_")[2]
        for never in (secret, token, *planted.values()):
            assert never not in said
        assert "Traceback" not in said
