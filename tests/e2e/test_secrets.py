"""Secrets have one way in and none out: planted ones show in no log, metric, table or process."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from app.cli.main import main
from app.directory import tokens
from app.directory.keys import LEDGER, Keys

if TYPE_CHECKING:
    import pytest

    from tests.e2e.conftest import World

    Worlds = Callable[..., AbstractAsyncContextManager[World]]

CONFIG = """
[targets.main]
[tenants.acme]
targets = ["main"]
default_roles = ["employee"]
authentication = { method = "password" }
[tenants.acme.roles.employee]
"""
KEPT = {"tokens", "secrets"}  # a hash has to be somewhere
TABLES = (
    "events",
    "statements",
    "access",
    "receipts",
    "drift",
    "admin_actions",
    "dead_letters",
)


async def test_a_planted_secret_is_found_nowhere(
    worlds: Worlds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG)
    async with worlds("--config", str(config)) as world:
        planted = await plant(world)
        await world.idle()
        await until_written(world)
        held = await world.link.redis.hvals(Keys("acme").secrets)  # type: ignore[misc]
        planted |= {part for raw in held for part in raw.decode().split(":") if len(part) > 20}
        assert len(planted) >= 10

        for place, text in [
            *logs(world),
            *processes(world),
            ("/metrics", await metrics(world)),
            ("commands", await commands(world, capsys)),
            *[found async for found in redis(world)],
            *[found async for found in ledger(world)],
        ]:
            for secret in planted:
                assert secret not in text, (place, secret[:6])


async def plant(world: World) -> set[str]:
    """Send every kind of secret by every way in, good and bad. Return what was sent, and hashes."""
    token = world.sandbox.line.scim["acme"].token
    idp, link = world.idp, world.link
    extra = await tokens.create(link, "acme", now_ms=0, scopes=["read"])
    await tokens.revoke(link, "acme", extra.id)
    stranger = f"chscim_{'0' * 12}_{secrets.token_hex(32)}"
    passwords = [f"planted-{secrets.token_hex(8)}" for _ in range(6)]
    ana = await idp.create_user("ana", password=passwords[0])
    await idp.patch(f"/Users/{ana}", "replace", "password", passwords[1])
    base = world.sandbox.line.scim["acme"].base_url
    async with aiohttp.ClientSession() as http:
        for good in (f"Bearer {token}",):
            for body in (
                f'{{"userName": "bo", "password": "{passwords[2]}"',  # no JSON
                f'{{"userName": "ana", "password": "{passwords[3]}"}}',  # taken
                f'{{"userName": 7, "password": "{passwords[4]}"}}',  # refused
                f'{{"userName": "cy", "password": ["{passwords[5]}"]}}',
            ):
                headers = {"Authorization": good, "Content-Type": "application/scim+json"}
                async with http.post(f"{base}/Users", data=body, headers=headers) as reply:
                    assert 400 <= reply.status < 500
                    told = await reply.text()
                    assert not any(password in told for password in passwords)
        for bad in (f"Bearer {stranger}", f"Bearer {extra.token}", f"Digest {token}", token):
            async with http.get(f"{base}/Users", headers={"Authorization": bad}) as reply:
                assert reply.status == 401
                assert token not in await reply.text()
    secret_parts = {one.rpartition("_")[2] for one in (token, stranger, extra.token)}
    hashes = {hashlib.sha256(one.encode()).hexdigest() for one in secret_parts}
    return {*passwords, *secret_parts, *hashes}


async def until_written(world: World) -> None:
    redis, keys = world.link.redis, Keys("acme")
    async with asyncio.timeout(30):
        while True:
            cursor = await redis.hget(keys.lane("lane", LEDGER), "cursor")  # type: ignore[misc]
            if cursor == await redis.get(keys.seq) and not await redis.xlen(keys.facts):
                return
            await asyncio.sleep(0.05)


def logs(world: World) -> Iterable[tuple[str, str]]:
    found = [(str(log), log.read_text(errors="replace")) for log in world.folder.rglob("*.log")]
    assert any("request.answered" in text for _, text in found)
    return found


def processes(world: World) -> Iterable[tuple[str, str]]:
    """Return how every process of this machine was called, those of the sandbox among them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((str(file), file.read_text(errors="replace")))
        except OSError:
            continue  # it has ended meanwhile
    assert any(str(world.folder) in text for _, text in found)
    return found


async def metrics(world: World) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(world.sandbox.line.metrics) as reply,
    ):
        return await reply.text()


async def commands(world: World, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    config = ["--config", world.sandbox.line.config]
    for words in (["token", "list", "acme"], ["audit", "events"], ["audit", "statements"]):
        assert await asyncio.to_thread(main, [*words, "--json", *config]) == 0
    said = capsys.readouterr()
    assert "ana" in said.out
    return said.out + said.err


async def redis(world: World) -> AsyncIterator[tuple[str, str]]:
    await world.link.redis.config_set("rdbcompression", "no")
    async for key in world.link.redis.scan_iter("*"):
        name = key.decode().rpartition("}:")[2]
        if name not in KEPT:
            yield name, (await world.link.redis.dump(key)).decode("latin-1")


async def ledger(world: World) -> AsyncIterator[tuple[str, str]]:
    for table in TABLES:
        rows = await world.sql(f"SELECT toString(tuple(*)) FROM scim.{table}")
        yield table, "\n".join(text for (text,) in rows)
    ((events,),) = await world.sql("SELECT count() FROM scim.events")
    assert events
