"""What operators, leavers and neighbours live through, from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.sandbox.cast import Expected
from app.sandbox.session import Refused, log_in

if TYPE_CHECKING:
    from tests.e2e.conftest import World

    Worlds = Callable[..., AbstractAsyncContextManager[World]]

EMPLOYEE, ANALYST = frozenset({"employee"}), frozenset({"analyst", "employee"})

CONFIG = """
[targets.main]
[tenants.acme]
targets = ["main"]
default_roles = ["employee"]
authentication = { method = "no_password" }
[[tenants.acme.groups]]
group = "Data"
roles = ["ROLE"]
[tenants.acme.roles.employee]
grants = ["SELECT ON calendar.*"]
[tenants.acme.roles.reader]
grants = ["SELECT ON analytics.*"]
[tenants.acme.roles.writer]
grants = ["INSERT ON analytics.*"]
"""


def held(*roles: str) -> Expected:
    return Expected("open", frozenset(roles))


async def eventually(world: World, wanted: dict[str, Expected], deadline_s: float = 30.0) -> None:
    """Wait until the target holds just this for the tenant."""
    seen: dict[str, Expected] = {}
    try:
        async with asyncio.timeout(deadline_s):
            while seen != wanted:
                await asyncio.sleep(0.05)
                seen = await world.access()
    except TimeoutError:
        assert seen == wanted


async def test_a_changed_role_map_reaches_everybody_and_a_broken_one_nobody(
    worlds: Worlds, tmp_path: Path
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG.replace("ROLE", "reader"))
    async with worlds("--config", str(config)) as world:
        ana, _ = [await world.idp.create_user(name) for name in ("ana", "bo")]
        await world.idp.create_group("Data", [ana])
        await world.idle()
        assert await world.access() == {"ana": held("employee", "reader"), "bo": held("employee")}

        supervisor = world.pids()["supervisor"]
        config.write_text(CONFIG.replace("ROLE", "writer"))
        os.kill(supervisor, signal.SIGHUP)
        changed = {"ana": held("employee", "writer"), "bo": held("employee")}
        await eventually(world, changed)

        config.write_text(CONFIG.replace("ROLE", "scim_managed"))
        os.kill(supervisor, signal.SIGHUP)
        log = tmp_path / "sandbox.log"
        async with asyncio.timeout(20):
            while "configuration refused: tenants.acme.groups" not in log.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # another process writes it
        await world.idp.create_user("cy")
        await world.idle()
        assert await world.access() == changed | {"cy": held("employee")}


async def test_tenants_on_one_target_do_not_meet(worlds: Worlds) -> None:
    async with worlds("--tenants", "acme,globex") as world:
        acme, globex = world.idps["acme"], world.idps["globex"]
        users = {idp.base_url: await idp.create_user("ana@x.example") for idp in (acme, globex)}
        await acme.create_group("Data Analysts", [users[acme.base_url]])
        await asyncio.gather(world.idle("acme"), world.idle("globex"))
        assert await world.access("acme") == {"acme__ana@x.example": held("analyst", "employee")}
        assert await world.access("globex") == {"globex__ana@x.example": held("employee")}

        await acme.set_active(users[acme.base_url], active=False)
        await world.idle("acme")
        assert await world.access("globex") == {"globex__ana@x.example": held("employee")}

        stranger = type(acme)(world.http, globex.base_url, acme.token)
        nobody = type(acme)(world.http, globex.base_url.replace("globex", "nobody"), acme.token)
        path = f"/Users/{users[globex.base_url]}"
        refused, unknown = await stranger.send("GET", path), await nobody.send("GET", path)
        assert (refused.status, refused.json) == (401, unknown.json)
        assert unknown.status == 401


async def test_a_worker_that_was_stopped_for_longer_than_its_lease_does_no_harm(
    worlds: Worlds,
) -> None:
    async with worlds("--workers", "2") as world:
        people = [await world.idp.create_user(f"user-{number}") for number in range(40)]
        await world.idp.create_group("Data Analysts", people)
        stopped = world.pids()["worker"][0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            for user in people[::2]:
                await world.idp.set_active(user, active=False)
            await world.idle(deadline_s=20.0)
        finally:
            os.kill(stopped, signal.SIGCONT)
        await world.idp.set_active(people[0], active=True)
        await world.idle()
        wanted = {
            f"user-{number}": held("analyst", "employee")
            if number % 2 or number == 0
            else Expected("locked", frozenset())
            for number in range(40)
        }
        assert await world.access() == wanted
        assert await world.leftovers() == {}


async def test_a_leaver_loses_the_open_session_the_running_query_and_the_way_in(
    world: World,
) -> None:
    await world.sql("CREATE DATABASE analytics")
    await world.sql("CREATE TABLE analytics.facts (x UInt8) ENGINE = MergeTree ORDER BY x")
    ana = await world.idp.create_user("ana")
    await world.idp.create_group("Data Analysts", [ana])
    await world.idle()
    forever = "SELECT sleepEachRow(0.1) FROM numbers(3000) SETTINGS max_block_size = 1"
    async with log_in(world.url(), "ana") as window, log_in(world.url(), "ana") as busy:
        assert await window.rows("SELECT count() FROM analytics.facts") == [(0,)]
        running = asyncio.create_task(busy.rows(forever))
        in_processes = "SELECT count() FROM system.processes WHERE user = 'ana'"
        async with asyncio.timeout(20):
            while await world.sql(in_processes) == [(0,)]:  # noqa: ASYNC110 - only the target knows
                await asyncio.sleep(0.02)
        await world.idp.set_active(ana, active=False)
        await world.idle()
        with pytest.raises(Refused) as denied:
            await window.rows("SELECT count() FROM analytics.facts")
        assert denied.value.code == 497
        with pytest.raises(Refused) as killed:
            await running
        assert killed.value.code == 394
    with pytest.raises(Refused) as refused:
        async with log_in(world.url(), "ana") as window:
            await window.rows("SELECT 1")
    assert refused.value.code == 516


async def test_a_dead_letter_is_told_and_replayed(world: World) -> None:
    await world.sql("CREATE USER ana IDENTIFIED WITH no_password")
    ana = await world.idp.create_user("ana")
    await world.idp.create_user("bo")
    await world.idp.create_user("default")
    await world.idle()
    assert await world.access() == {"bo": held("employee")}
    letters = await world.sandbox.command_json("deadletter", "list")
    assert {letter["name"]: letter["code"] for letter in letters} == {"ana": 493, "default": None}
    (letter,) = [letter for letter in letters if letter["name"] == "ana"]
    assert (letter["resource_id"], letter["attempts"]) == (ana, 1)
    assert "ana" in letter["error"]

    again = await world.sandbox.command("deadletter", "replay", letter["id"])
    assert again.code == 1
    await world.sql("DROP USER ana")
    through = await world.sandbox.command("deadletter", "replay", letter["id"])
    assert (through.code, through.stderr) == (0, "")
    assert await world.access() == {"ana": held("employee"), "bo": held("employee")}
    assert (await world.sandbox.command("deadletter", "replay", "--all")).code == 1


LITERAL = (
    "o'hara",
    "`; DROP USER default; --",
    'say "hi"\\n',
    "zoë.brûlé@acme.example",
    "名前",
    "%(user)s {name} $1",
    "a b",
    "x" * 256,
)
IMPOSSIBLE = ("", "a\0b", "line\nbreak", "\x07", "x" * 257)


async def test_an_odd_name_arrives_literally_or_is_refused(world: World) -> None:
    users = [await world.idp.create_user(name) for name in LITERAL]
    last = world.idp.last_seq
    for name in IMPOSSIBLE:
        answer = await world.idp.send("POST", "/Users", {"userName": name})
        assert (answer.status, answer.json["scimType"]) == (400, "invalidValue")
        assert "userName" in answer.json["detail"]
    assert (await world.idle()).last_seq == last
    assert await world.access() == {name: held("employee") for name in LITERAL}
    for user in users:
        await world.idp.delete_user(user)
    await world.idle()
    assert await world.access() == {}
