"""What is too much is refused with a time to come back; what takes access away goes last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import TooManyRequests
from app.http.pressure import revokes
from tests.conftest import start_redis

if TYPE_CHECKING:
    from tests.app.http.conftest import Reply, Running, Service
    from tests.conftest import RedisServer

REMOVE: dict[str, Any] = {"Operations": [{"op": "Remove", "path": "members"}]}
DEACTIVATE: dict[str, Any] = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
ADD: dict[str, Any] = {"Operations": [{"op": "add", "path": "members", "value": [{"value": "x"}]}]}


@pytest.mark.parametrize(
    ("method", "body", "is_one"),
    [
        ("DELETE", b"", True),
        ("PATCH", b'{"Operations":[{"op":"Remove","path":"members"}]}', True),
        ("PATCH", b'{"Operations":[{"op":"Replace","path":"active","value":"False"}]}', True),
        ("PATCH", b'{"Operations":[{"op":"replace","value":{"active": false}}]}', True),
        ("PUT", b'{"userName":"ana","active":false}', True),
        ("PUT", b'{"userName":"ana","active":true}', False),
        ("PATCH", b'{"Operations":[{"op":"add","path":"members","value":[]}]}', False),
        ("POST", b'{"userName":"ana","active":false}', False),
        ("GET", b"", False),
    ],
)
def test_what_takes_access_away_is_recognised(method: str, body: bytes, *, is_one: bool) -> None:
    assert revokes(method, body) is is_one


@pytest.fixture
async def limited(
    running: Running, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[Service]:
    """A tenant may send five requests at once and then hardly any."""
    limits = "[limits]\nrequests_per_second = 1\nburst = 5\n"
    async with running(tmp_path / "c.toml", redis_server.url, limits) as service:
        yield service


def told_to_wait(reply: Reply, status: int) -> bool:
    return reply.refuses(status) and 1 <= int(reply.headers["Retry-After"]) <= 60


async def test_a_tenant_over_its_rate_is_told_when_to_come_back_and_others_are_not(
    limited: Service,
) -> None:
    replies = [await limited.scim("GET", "/Users") for _ in range(8)]
    assert [reply.status for reply in replies[:5]] == [200] * 5
    assert told_to_wait(replies[-1], 429)
    assert (await limited.other("GET", "/Users")).status == 200


async def test_a_tenant_over_its_rate_can_still_take_access_away(limited: Service) -> None:
    ana = await limited.scim.user("ana")
    team = await limited.scim.group("team", ana)
    while (await limited.scim("GET", "/Users")).status == 200:
        pass
    assert told_to_wait(await limited.scim("PATCH", f"/Groups/{team}", ADD), 429)
    assert (await limited.scim("PATCH", f"/Groups/{team}", REMOVE)).status == 204
    assert (await limited.scim("PATCH", f"/Users/{ana}", DEACTIVATE)).status == 200
    assert (await limited.scim("DELETE", f"/Users/{ana}")).status == 204


async def test_a_put_of_a_group_that_brings_nobody_in_goes_on_like_a_removal(
    limited: Service,
) -> None:
    """What Okta's own apps send for each change of membership: the directory tells which it is."""
    ana, bo = await limited.scim.user("ana"), await limited.scim.user("bo")
    team = await limited.scim.group("team", ana)
    while (await limited.scim("GET", "/Users")).status == 200:
        pass

    def put(*members: str) -> dict[str, Any]:
        return {"displayName": "team", "members": [{"value": one} for one in members]}

    assert told_to_wait(await limited.scim("PUT", f"/Groups/{team}", put(ana, bo)), 429)
    assert (await limited.scim("PUT", f"/Groups/{team}", put(ana))).status == 200
    assert (await limited.scim("PUT", f"/Groups/{team}", put())).status == 200
    assert told_to_wait(await limited.scim("PUT", f"/Groups/{team}", put(ana)), 429)


async def test_a_quarter_of_the_room_is_for_revocations(service: Service) -> None:
    pressure, settings = service.receiver.pressure, service.receiver.settings
    limits = settings.limits.model_copy(update={"max_in_flight": 8})
    settings = settings.model_copy(update={"limits": limits})

    async def admitted(tenant: str, *, revoking: bool) -> bool:
        try:
            await pressure.admit(tenant, settings, revoking=revoking, reads=False)
        except TooManyRequests:
            return False
        return True

    entered = [pressure.entered(name, limits) for name in ("a", "b", "c", "a", "b", "c")]
    for one in entered:
        one.__enter__()
    assert await admitted("a", revoking=False)
    with pressure.entered("c", limits):
        assert not await admitted("c", revoking=False)
        assert await admitted("c", revoking=True)
        with (
            pressure.entered("d", limits),
            pytest.raises(TooManyRequests),
            pressure.entered("e", limits),
        ):
            pytest.fail("there was room for a ninth")
    for one in entered:
        one.__exit__(None, None, None)


async def test_one_tenant_gets_half_of_the_room(service: Service) -> None:
    pressure, settings = service.receiver.pressure, service.receiver.settings
    limits = settings.limits.model_copy(update={"max_in_flight": 8})
    settings = settings.model_copy(update={"limits": limits})
    entered = [pressure.entered("a", limits) for _ in range(5)]
    for one in entered:
        one.__enter__()
    with pytest.raises(TooManyRequests):
        await pressure.admit("a", settings, revoking=False, reads=True)
    await pressure.admit("b", settings, revoking=False, reads=True)
    for one in entered:
        one.__exit__(None, None, None)


async def test_a_redis_that_is_nearly_full_takes_only_what_takes_access_away(
    running: Running, own_redis: RedisServer, tmp_path: Path
) -> None:
    url = f'{own_redis.url}"\nmax_memory_share = 0.001  # "'  # the key after the URL in the file
    async with running(tmp_path / "c.toml", url) as service:
        ana = await service.scim.user("ana")
        await service.link.redis.config_set("maxmemory", "100mb")
        while not any(service.receiver.pressure.memory.values()):  # noqa: ASYNC110 - it looks once a second
            await asyncio.sleep(0.05)
        assert told_to_wait(await service.scim("POST", "/Users", {"userName": "bo"}), 503)
        assert (await service.scim("GET", f"/Users/{ana}")).status == 200
        assert (await service.scim("PATCH", f"/Users/{ana}", DEACTIVATE)).status == 200
        assert (await service.scim("DELETE", f"/Users/{ana}")).status == 204


async def until_a_replica_follows(service: Service) -> None:
    async with asyncio.timeout(30):
        while True:
            told = await service.link.redis.info("replication")
            if any(
                part.get("state") == "online" for part in told.values() if isinstance(part, dict)
            ):
                return
            await asyncio.sleep(0.05)


async def test_a_change_is_answered_once_a_replica_has_it(
    running: Running, own_redis: RedisServer, tmp_path: Path
) -> None:
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = start_redis(folder, "--replicaof", f"127.0.0.1 {own_redis.port}")
    url = f'{own_redis.url}"\nwait_replicas = 1  # "'  # the key that follows the URL in the file
    try:
        async with running(tmp_path / "c.toml", url) as service:
            await until_a_replica_follows(service)
            assert (await service.scim("POST", "/Users", {"userName": "ana"})).status == 201
            replica.stop()
            answer = await service.scim("POST", "/Users", {"userName": "bo"})
            assert told_to_wait(answer, 503)
            replica.start()
            await until_a_replica_follows(service)
            again = await service.scim("POST", "/Users", {"userName": "bo"})
            assert again.status == 201, "the repeat finds its own write"
    finally:
        replica.stop()
