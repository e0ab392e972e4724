"""A list of Redis that has changed: nobody starts who would take a tenant for a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import structlog.testing

from app.cli.main import main
from app.clock import Clock
from app.config.redis import RedisSettings
from app.directory.admission import admit, admitted_later
from app.directory.directory import Directory, Origin
from app.directory.keys import Keys
from app.directory.moving import move_all
from app.directory.places import tenants_on
from app.directory.shards import Shards, connect_all
from app.errors import DirectoryUnavailable, Misplaced, VolatileRedis
from app.metrics.declared import Metrics
from app.metrics.fleet import Fleet
from tests.conftest import RedisServer, start_redis

ORIGIN = Origin(request_id="r", token_id="t", digest="d")
TENANTS = [f"t{n}" for n in range(12)]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RedisServer]]:
    started = []
    for n in range(3):
        folder = tmp_path / f"redis{n}"
        folder.mkdir()
        started.append(start_redis(folder))
    yield started
    for server in started:
        server.stop()


class Lists:
    """Shards of some of the servers, all closed in the end."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        self._servers, self._made = servers, list[Shards]()

    def of(self, *numbers: int) -> Shards:
        urls = tuple(self._servers[n].url for n in numbers)
        made = connect_all(RedisSettings(urls=urls))
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.close()


@pytest.fixture
async def lists(servers: list[RedisServer]) -> AsyncIterator[Lists]:
    made = Lists(servers)
    yield made
    await made.close()


async def fill(shards: Shards) -> None:
    for tenant in TENANTS:
        directory = Directory(shards.of(tenant), tenant, ["main"])
        await directory.create("user", {"userName": "ana"}, ORIGIN)


async def everything(shards: Shards) -> dict[str, dict[bytes, bytes]]:
    """Return what each tenant has at its place."""
    found = {}
    for tenant in TENANTS:
        redis = shards.of(tenant).redis
        keys = [key async for key in redis.scan_iter(match=f"{Keys(tenant).prefix}*", count=1000)]
        found[tenant] = {key: await redis.dump(key) for key in sorted(keys)}
    return found


async def admit_all(shards: Shards) -> None:
    for link in shards.links.values():
        await admit(shards, link)


async def test_the_same_list_is_admitted_again_while_one_of_it_is_away(
    lists: Lists, servers: list[RedisServer]
) -> None:
    shards = lists.of(0, 1)
    await admit_all(shards)
    await fill(shards)
    servers[1].stop()
    again = lists.of(1, 0)
    well, away = (again.links[f"127.0.0.1:{server.port}/0"] for server in servers[:2])
    await admit(again, well)
    with pytest.raises(DirectoryUnavailable):
        await admit(again, away)


async def test_a_new_list_is_not_admitted_before_all_of_it_were_seen(
    lists: Lists, servers: list[RedisServer]
) -> None:
    servers[1].stop()
    shards = lists.of(0, 1)
    with pytest.raises(DirectoryUnavailable):
        await admit(shards, shards.links[f"127.0.0.1:{servers[0].port}/0"])


async def test_one_that_is_refused_stays_closed_for_the_sake_of_others_and_ends_a_program_alone(
    lists: Lists, servers: list[RedisServer]
) -> None:
    shards = lists.of(0, 1)
    well, ill = (shards.links[f"127.0.0.1:{server.port}/0"] for server in servers[:2])
    await ill.redis.config_set("appendonly", "no")
    with pytest.raises(VolatileRedis):
        await admitted_later(shards, ill, ())
    with structlog.testing.capture_logs() as said:
        waiting = asyncio.create_task(admitted_later(shards, ill, {well}))
        async with asyncio.timeout(30):
            while not said:  # noqa: ASYNC110 - a line of the log
                await asyncio.sleep(0.01)
    assert (said[0]["event"], said[0]["redis"]) == ("redis.refused", ill.name)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_redis_more_is_admitted_once_the_tenants_are_moved(lists: Lists) -> None:
    before = lists.of(0)
    await admit_all(before)
    await fill(before)
    kept, after = await everything(before), lists.of(0, 1, 2)
    with pytest.raises(Misplaced, match="directory move"):
        await admit_all(after)
    rows = await move_all(after, None, ())
    assert {row.tenant for row in rows} == {
        t for t in TENANTS if after.of(t).name != before.of(t).name
    }
    await admit_all(after)
    assert await everything(after) == kept
    assert sum([len(await tenants_on(link)) for link in after.links.values()]) == len(TENANTS)
    with pytest.raises(Misplaced, match=r"not in \[redis\] any more"):
        await admit_all(before)
    assert await move_all(after, None, ()) == []


async def test_a_redis_less_is_admitted_once_it_was_emptied(
    lists: Lists, servers: list[RedisServer]
) -> None:
    before = lists.of(0, 1, 2)
    await admit_all(before)
    await fill(before)
    kept, after = await everything(before), lists.of(0, 1)
    with pytest.raises(Misplaced, match=str(servers[2].port)):
        await admit_all(after)
    with pytest.raises(Misplaced, match=str(servers[2].port)):
        await move_all(after, None, ())
    gone = before.links[f"127.0.0.1:{servers[2].port}/0"]
    await move_all(after, gone, ())
    assert await tenants_on(gone) == set()
    await admit_all(after)
    assert await everything(after) == kept


async def test_a_redis_that_is_lost_for_good_is_let_go_by_its_name(
    lists: Lists, servers: list[RedisServer]
) -> None:
    await admit_all(lists.of(0, 1))
    servers[1].stop()
    after = lists.of(0)
    with pytest.raises(Misplaced):
        await admit_all(after)
    await move_all(after, None, [f"127.0.0.1:{servers[1].port}/0"])
    await admit_all(after)


@pytest.mark.parametrize("crash", ["while copying", "before deleting"])
async def test_a_move_that_was_interrupted_goes_on(
    lists: Lists, servers: list[RedisServer], crash: str
) -> None:
    before, after = lists.of(0), lists.of(0, 1)
    await fill(before)
    kept = await everything(before)
    goes = next(t for t in TENANTS if after.of(t).name != before.of(t).name)
    keys, old, new = Keys(goes), before.of(goes).redis, after.of(goes).redis
    if crash == "while copying":
        await new.set(keys.moving, "1")
        await new.set(keys.seq, "0")  # the copy is not whole, and does not count
    else:
        await move_all(after, None, ())
        await old.set(keys.moved, "1")
        await old.set(keys.seq, "0")  # what is left of the old one does not count
    await move_all(after, None, ())
    assert await everything(after) == kept
    assert goes not in await tenants_on(before.of(goes))


async def test_a_tenant_that_is_on_two_is_nobodys_guess(lists: Lists) -> None:
    before, after = lists.of(0), lists.of(0, 1)
    await fill(before)
    goes = next(t for t in TENANTS if after.of(t).name != before.of(t).name)
    await Directory(after.of(goes), goes, []).create("user", {"userName": "bo"}, ORIGIN)
    with pytest.raises(Misplaced, match=f"tenant {goes} is on"):
        await move_all(after, None, ())


async def test_no_tenant_is_moved_to_a_redis_that_would_forget_it(
    lists: Lists, servers: list[RedisServer]
) -> None:
    after = lists.of(0, 1)
    await after.links[f"127.0.0.1:{servers[1].port}/0"].redis.config_set("appendonly", "no")
    with pytest.raises(VolatileRedis, match=str(servers[1].port)):
        await move_all(after, None, ())
    with pytest.raises(VolatileRedis, match=str(servers[1].port)):
        await admit_all(after)


async def test_one_redis_may_be_renamed(lists: Lists, servers: list[RedisServer]) -> None:
    shards = lists.of(0)
    await move_all(shards, None, ())
    renamed = connect_all(RedisSettings(url=servers[0].url.replace("127.0.0.1", "localhost")))
    await admit(renamed, *renamed.links.values())
    await renamed.close()


FILE = """
[redis]
urls = ["{first}", "{second}"]
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


async def test_the_command_waits_until_nobody_works_and_tells_what_it_did(
    lists: Lists, servers: list[RedisServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lists.of(0)
    await fill(before)
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(FILE.format(first=servers[0].url, second=servers[1].url))
    fleet = Fleet(before, Metrics(), "receiver", Clock())
    await fleet.flush()

    async def run(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["directory", "move", *words, "--config", str(file)])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = await run()
    assert (code, "1 receiver worked on" in said) == (1, True)
    await before.of("acme").redis.delete("{clickhouse-scim}:processes")
    code, said = await run("--json")
    assert (code, said.startswith("[{")) == (0, True), said
    assert await run() == (0, "every tenant is in its place\n")
    assert (await run("--from", "http://x"))[0] == 2
