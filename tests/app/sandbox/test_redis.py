from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.child import Child
from app.sandbox.ports import choose_ports
from app.sandbox.redis import answers, find_redis, redis_program
from app.sandbox.store import SandboxError


def fake_server(folder: Path, says: str) -> None:
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)


VERSIONS = {
    "new enough": ("echo 'Redis server v=7.0.15 sha=00000000:0 malloc=x'", True),
    "newer": ("echo 'Redis server v=8.2.3 sha=0'", True),
    "too old": ("echo 'Redis server v=6.2.14 sha=0'", False),
    "tells nothing": ("exit 1", False),
}


@pytest.mark.parametrize(("says", "taken"), VERSIONS.values(), ids=VERSIONS.keys())
def test_the_redis_on_path_is_taken_from_7_0_on(
    says: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(tmp_path, says)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    try:
        found = find_redis()
    except SandboxError:
        found = ""
    assert (found == str(tmp_path / "redis-server")) == taken


async def test_redis_keeps_what_it_acknowledged_through_a_kill(tmp_path: Path) -> None:
    port = choose_ports(["redis"], {}, random.Random())["redis"]
    program = redis_program(find_redis(), port, tmp_path, tmp_path / "log")
    child = Child(program, say=lambda _: None)
    assert not await answers(port)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.run())
        try:
            await until_answers(port)
            async with Redis(port=port) as client:
                await client.set("a", "1")
                policy = await client.config_get("maxmemory-policy")
                fsync = await client.config_get("appendfsync")
            assert policy | fsync == {"maxmemory-policy": "noeviction", "appendfsync": "always"}
            child.send(signal.SIGKILL)
            await until_answers(port)
            async with Redis(port=port) as client:
                assert await client.get("a") == b"1"
        finally:
            await child.stop()


async def until_answers(port: int) -> None:
    async with asyncio.timeout(10):
        while not await answers(port):  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.01)
