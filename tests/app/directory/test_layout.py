"""The number of the layout in Redis: noted, brought forward, and never taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.cli.options import this_program
from app.directory.layout import KEY, LAYOUT, admit_layout
from app.directory.link import Link, connect
from app.errors import LaterLayout

if TYPE_CHECKING:
    from tests.conftest import RedisServer

FILE = """
[redis]
url = "{redis}"
[receiver]
port = 0
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


@pytest.fixture
async def link(own_redis: RedisServer) -> AsyncIterator[Link]:
    made = connect(own_redis.url)
    yield made
    await made.close()


async def layout_of(link: Link) -> int:
    return int(await link.redis.get(KEY))


async def test_a_new_redis_gets_the_number_of_this_version(link: Link) -> None:
    await admit_layout(link)
    await admit_layout(link)
    assert await layout_of(link) == LAYOUT


async def test_an_older_layout_is_brought_forward_step_by_step_once(link: Link) -> None:
    done: list[int] = []

    async def step(number: int) -> None:
        done.append(number)

    steps = {n: (lambda _, n=n: step(n)) for n in (1, 2)}
    await admit_layout(link, layout=1)
    for _ in range(2):
        await admit_layout(link, layout=3, steps=steps)
    assert done == [1, 2]
    assert await layout_of(link) == 3


async def test_a_step_that_failed_is_done_again(link: Link) -> None:
    async def fails(_: Link) -> None:
        raise RuntimeError

    async def works(_: Link) -> None:
        pass

    await admit_layout(link, layout=1)
    with pytest.raises(RuntimeError):
        await admit_layout(link, layout=2, steps={1: fails})
    assert await layout_of(link) == 1
    await admit_layout(link, layout=2, steps={1: works})
    assert await layout_of(link) == 2


async def test_a_later_layout_is_left_alone(link: Link) -> None:
    await link.redis.set(KEY, LAYOUT + 1)
    with pytest.raises(LaterLayout, match="of a later version"):
        await admit_layout(link)
    assert await layout_of(link) == LAYOUT + 1


@pytest.mark.parametrize("program", ["receiver", "worker"])
async def test_neither_program_starts_on_the_data_of_a_later_version(
    link: Link, own_redis: RedisServer, tmp_path: Path, program: str
) -> None:
    await link.redis.set(KEY, LAYOUT + 1)
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=own_redis.url)
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *this_program(program, "--config", str(file)), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert said.decode().splitlines()[-1].startswith("the data in Redis is of a later version")
