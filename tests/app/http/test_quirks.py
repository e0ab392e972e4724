"""Quirks are counted beside the requests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from app.clock import Clock
from app.directory.link import Link, connect
from app.directory.quirks import QuirkLog, Seen
from app.directory.shards import alone
from app.http.quirks import QuirkCounter
from app.scim.quirks import Quirk

if TYPE_CHECKING:
    from tests.conftest import RedisServer


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    made = connect(redis_server.url)
    yield made
    await made.close()


async def counts(link: Link, tenant: str) -> dict[Quirk, int]:
    seen: list[Seen] = await QuirkLog(link, tenant).read()
    return {one.quirk: one.count for one in seen}


async def test_requests_are_counted_and_written_together(link: Link) -> None:
    counter, one, other = QuirkCounter(alone(link), Clock()), uuid.uuid4().hex, uuid.uuid4().hex
    counter.note(one, {Quirk.BOOLEAN_AS_TEXT, Quirk.OLD_SCHEMA})
    counter.note(one, {Quirk.BOOLEAN_AS_TEXT})
    counter.note(other, ())
    assert await counts(link, one) == {}
    await counter.flush()
    await counter.flush()
    assert await counts(link, one) == {Quirk.BOOLEAN_AS_TEXT: 2, Quirk.OLD_SCHEMA: 1}
    assert await counts(link, other) == {}


async def test_what_is_left_is_written_when_the_receiver_ends(link: Link) -> None:
    counter, tenant = QuirkCounter(alone(link), Clock()), uuid.uuid4().hex
    running = asyncio.create_task(counter.run())
    await asyncio.sleep(0)
    counter.note(tenant, {Quirk.OP_IN_CAPITALS})
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert await counts(link, tenant) == {Quirk.OP_IN_CAPITALS: 1}


async def test_nothing_is_lost_while_redis_is_away(link: Link) -> None:
    tenant, away = uuid.uuid4().hex, connect("redis://127.0.0.1:1")
    counter = QuirkCounter(alone(away), Clock())
    counter.note(tenant, {Quirk.OP_IN_CAPITALS})
    await counter.flush()
    counter.note(tenant, {Quirk.OP_IN_CAPITALS})
    counter._shards = alone(link)
    await counter.flush()
    await away.close()
    assert await counts(link, tenant) == {Quirk.OP_IN_CAPITALS: 2}
