"""Quirks are counted per tenant, and the figures stay few."""

from __future__ import annotations

import uuid

from app.directory.link import Link
from app.directory.quirks import QuirkLog, Seen
from app.scim.quirks import Quirk


async def test_what_several_receivers_count_adds_up(link: Link) -> None:
    tenant = uuid.uuid4().hex
    first, second = QuirkLog(link, tenant), QuirkLog(link, tenant)
    await first.add({Quirk.BOOLEAN_AS_TEXT: 2, Quirk.OLD_SCHEMA: 1}, 1_000)
    await second.add({Quirk.BOOLEAN_AS_TEXT: 3}, 2_000)
    assert await first.read() == [
        Seen(Quirk.BOOLEAN_AS_TEXT, 5, 2_000),
        Seen(Quirk.OLD_SCHEMA, 1, 1_000),
    ]


async def test_tenants_are_counted_apart_and_nothing_is_nothing(link: Link) -> None:
    one, other = QuirkLog(link, uuid.uuid4().hex), QuirkLog(link, uuid.uuid4().hex)
    await one.add({Quirk.OLD_SCHEMA: 1}, 1)
    await other.add({}, 1)
    assert await other.read() == []


async def test_a_quirk_of_another_version_is_left_out(link: Link) -> None:
    tenant = uuid.uuid4().hex
    pipe = link.redis.pipeline()
    pipe.hset(f"scim:{{{tenant}}}:quirks", "of-tomorrow", "7")
    await pipe.execute()
    assert await QuirkLog(link, tenant).read() == []
