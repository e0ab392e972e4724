"""Agents, validity that ends, and pushed passwords: from SCIM to somebody who logs in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from app.sandbox.session import Refused, log_in

if TYPE_CHECKING:
    from tests.e2e.conftest import World

    Worlds = Callable[..., AbstractAsyncContextManager[World]]

AGENT = "urn:ietf:params:scim:schemas:core:2.0:Agent"
VALIDITY = "urn:clickhouse-scim:params:scim:schemas:extension:clickhouse:2.0:Validity"
CONFIG = """
[targets.main]
[tenants.acme]
targets = ["main"]
default_roles = ["employee"]
authentication = { method = "METHOD" }
[[tenants.acme.groups]]
group = "Data"
roles = ["reader"]
[tenants.acme.roles.employee]
[tenants.acme.roles.reader]
grants = ["SELECT ON analytics.*"]
"""


def configuration(folder: Path, method: str) -> tuple[str, str]:
    path = folder / "mine.toml"
    path.write_text(CONFIG.replace("METHOD", method))
    return "--config", str(path)


async def gets_in(world: World, name: str, password: str = "") -> bool:
    address = urlsplit(world.url())
    where = f"{address.hostname}:{address.port}"
    try:
        async with log_in(
            f"clickhouse://{quote(name)}:{quote(password)}@{where}/default"
        ) as window:
            await window.rows("SELECT 1")
    except Refused as refused:
        if refused.code not in {516, 720}:
            raise
        return False
    return True


async def roles(world: World, name: str) -> set[str]:
    """Return the roles of a user beside the marker; raises if there is no such user."""
    rows = await world.sql(
        "SELECT granted_role_name FROM system.role_grants"
        f" WHERE user_name = '{name}' AND granted_role_name != 'scim_managed'"
    )
    return {role for (role,) in rows}


async def test_a_pushed_password_lets_in_and_is_found_nowhere(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with worlds(*configuration(tmp_path, "password")) as world:
        ana = await world.idp.create_user("ana", password="Fir5t-s3cret")
        await world.idle()
        assert await gets_in(world, "ana", "Fir5t-s3cret")
        assert not await gets_in(world, "ana", "wrong")
        assert not await gets_in(world, "ana")

        await world.idp.patch(f"/Users/{ana}", "replace", "password", "Sec0nd-s3cret")
        await world.idle()
        assert not await gets_in(world, "ana", "Fir5t-s3cret")
        assert await gets_in(world, "ana", "Sec0nd-s3cret")

        await world.idp.set_active(ana, active=False)
        await world.idle()
        assert not await gets_in(world, "ana", "Sec0nd-s3cret")
        await world.idp.set_active(ana, active=True)
        await world.idle()
        assert await gets_in(world, "ana", "Sec0nd-s3cret")

        shown = await world.idp.send("GET", f"/Users/{ana}?attributes=password,userName")
        assert "password" not in shown.json
        await world.link.redis.config_set("rdbcompression", "no")
        async for key in world.link.redis.scan_iter("*"):
            assert b"s3cret" not in await world.link.redis.dump(key), key
        logs = list(world.folder.rglob("*.log"))
        assert any("lane.drained" in log.read_text(errors="replace") for log in logs)
        for log in logs:
            assert "s3cret" not in log.read_text(errors="replace"), log

        await world.idp.patch(f"/Users/{ana}", "remove", "password")
        await world.idle()
        assert not await gets_in(world, "ana", "Sec0nd-s3cret")


async def test_an_agent_has_a_password_as_a_person_has(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds(*configuration(tmp_path, "password")) as world:
        body = {"schemas": [AGENT], "name": "etl-bot", "active": True, "password": "B0t-s3cret"}
        agent = await world.idp.write("POST", "/Agents", body)
        assert "password" not in agent
        await world.idle()
        assert await gets_in(world, "etl-bot", "B0t-s3cret")
        assert not await gets_in(world, "etl-bot", "wrong")
        await world.idp.patch(f"/Agents/{agent['id']}", "replace", "password", "Other-s3cret")
        await world.idle()
        assert await gets_in(world, "etl-bot", "Other-s3cret")
        assert not await gets_in(world, "etl-bot", "B0t-s3cret")


async def test_somebody_without_a_password_can_not_get_in(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds(*configuration(tmp_path, "password")) as world:
        await world.idp.create_user("ana")
        await world.idle()
        assert await roles(world, "ana") == {"employee"}
        assert not await gets_in(world, "ana")


async def test_an_agent_is_given_what_its_groups_give_until_its_validity_ends(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with worlds(*configuration(tmp_path, "no_password")) as world:
        body = {"schemas": [AGENT], "name": "etl-bot", "active": True}
        agent = (await world.idp.write("POST", "/Agents", body))["id"]
        await world.idp.create_group("Data", [agent])
        await world.idle()
        assert await roles(world, "etl-bot") == {"employee", "reader"}
        assert await gets_in(world, "etl-bot")

        ends = time.time() + 4
        until = datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z")
        await world.idp.patch(f"/Agents/{agent}", "replace", f"{VALIDITY}:validUntil", until)
        await world.idle()
        if time.time() < ends - 1:
            assert await gets_in(world, "etl-bot")
        async with asyncio.timeout(30):
            while await roles(world, "etl-bot"):  # noqa: ASYNC110 - only the target knows
                await asyncio.sleep(0.05)
        assert time.time() >= ends - 1
        assert not await gets_in(world, "etl-bot")

        await world.idp.patch(f"/Agents/{agent}", "remove", f"{VALIDITY}:validUntil")
        await world.idle()
        assert await roles(world, "etl-bot") == {"employee", "reader"}
        assert await gets_in(world, "etl-bot")

        await world.idp.write("DELETE", f"/Agents/{agent}")
        await world.idle()
        assert not await gets_in(world, "etl-bot")
        assert await world.leftovers() == {}


async def test_an_agent_and_a_person_of_one_name_do_not_meet(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with worlds(*configuration(tmp_path, "no_password")) as world:
        ana = await world.idp.create_user("ana")
        await world.idp.create_group("Data", [ana])
        await world.idle()
        body = {"schemas": [AGENT], "name": "ana"}
        agent = (await world.idp.write("POST", "/Agents", body))["id"]
        assert (await world.idle()).dead_letters == 1
        (letter,) = await world.sandbox.command_json("deadletter", "list")
        assert letter["resource_id"] == agent
        assert await roles(world, "ana") == {"employee", "reader"}

        await world.idp.write("DELETE", f"/Agents/{agent}")
        assert (await world.idle()).dead_letters == 0
        assert await roles(world, "ana") == {"employee", "reader"}
        assert await gets_in(world, "ana")


async def test_what_a_provider_sends_beside_the_rfcs_is_reported(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with worlds(*configuration(tmp_path, "no_password")) as world:
        body = {"userName": "ana", "active": "True", "shoeSize": 44}
        user = (await world.idp.write("POST", "/Users", body))["id"]
        await world.idp.patch(f"/Users/{user}", "Replace", "active", "False")
        await world.idp.send("GET", "/Users?filter=userName%20eq%20ana")
        seen: dict[str, int] = {}
        async with asyncio.timeout(30):
            while len(seen) < 5:
                await asyncio.sleep(0.5)
                rows = await world.sandbox.command_json("quirks", "acme")
                seen = {row["quirk"]: row["count"] for row in rows}
        assert seen == {
            "boolean-as-text": 2,
            "op-in-capitals": 1,
            "schemas-missing": 1,
            "unknown-attribute": 1,
            "value-without-quotes": 1,
        }
