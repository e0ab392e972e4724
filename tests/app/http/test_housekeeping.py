"""What receivers do beside requests: members that never came, leftovers of those that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from app.directory.directory import Origin
from app.directory.events import read
from app.directory.keys import Keys
from app.directory.staging import Stage, unsettled
from app.http.housekeeping import tidy

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

DAY_MS = 86_400_000


async def age(scim: Client, days: float) -> None:
    """Have all that wait do so for longer."""
    redis, key = scim.link.redis, Keys(scim.tenant).pending
    for entry, since in await redis.zrange(key, 0, -1, withscores=True):
        await redis.zadd(key, {entry: since - days * DAY_MS})


async def test_a_member_that_never_comes_is_taken_out_with_a_warning(scim: Client) -> None:
    ana = await scim.user("ana")
    team = await scim.group("Team", ana, "never", "not either")
    await tidy(scim.receiver, scim.link)
    assert len(await scim.members(team)) == 3
    await age(scim, 91)
    add = {"op": "add", "path": "members", "value": [{"value": "fresh"}]}
    await scim("PATCH", f"/Groups/{team}", {"Operations": [add]})
    version = (await scim("GET", f"/Groups/{team}")).json["meta"]["version"]
    with capture_logs() as lines:
        await tidy(scim.receiver, scim.link)
    assert await scim.members(team) == [ana, "fresh"]
    aged = [line for line in lines if line["event"] == "members.aged_out"]
    assert [(a["log_level"], a["group"], a["members"]) for a in aged] == [("warning", team, 2)]
    assert "never" not in repr(lines)
    event = (await read(scim.link, Keys(scim.tenant), 3, 9))[-1]
    assert (event.op, event.id, event.name) == ("updated", team, "Team")
    assert set(event.removed) == {"never", "not either"}
    assert event.request_id.startswith("aged-out-")
    assert (await scim("GET", f"/Groups/{team}")).json["meta"]["version"] != version
    with capture_logs() as lines:
        await tidy(scim.receiver, scim.link)
    assert lines == []
    assert await scim.last_seq() == event.seq


async def test_who_arrives_in_time_stays(scim: Client) -> None:
    directory = scim.receiver.tenants[scim.tenant].directory
    team = await scim.group("Team", "late")
    await age(scim, 91)
    asked = Origin(request_id="r", token_id="t", digest="d")
    await directory.create("user", {"userName": "late"}, asked, resource_id="late")
    await tidy(scim.receiver, scim.link)
    assert await scim.members(team) == ["late"]


@pytest.mark.parametrize("days", [0, 365])
async def test_how_long_they_are_kept_is_a_setting(scim: Client, days: float) -> None:
    team = await scim.group("Team", "never")
    await age(scim, 364)
    receiver = scim.receiver
    limits = receiver.settings.limits.model_copy(update={"pending_days": days})
    receiver.settings = receiver.settings.model_copy(update={"limits": limits})
    await tidy(receiver, scim.link)
    assert await scim.members(team) == ["never"]


async def test_what_a_dead_receiver_left_of_a_large_change_is_cleaned_up(scim: Client) -> None:
    link, keys = scim.link, Keys(scim.tenant)
    team = await scim.group("Team", "a")
    stage = Stage(link, keys, team)
    await stage.begin()
    await stage.bring_to([f"b{n}" for n in range(2000)], {"a": 1}, hold=True)
    await tidy(scim.receiver, scim.link)
    assert await unsettled(link, [scim.tenant]) == [(scim.tenant, team)], "its writer may be alive"
    await link.redis.hset(keys.unsettled, team, f"{stage.token} 1 1 0 0 0")  # type: ignore[misc]
    await tidy(scim.receiver, scim.link)
    assert await unsettled(link, [scim.tenant]) == []
    names = [k.decode() async for k in link.redis.scan_iter(f"{keys.prefix}*", 10_000)]
    assert sorted(n for n in names if "memberof" in n) == [keys.member_of("a")]
    assert await scim.members(team) == ["a"]
