"""Facts wait in Redis, within a bound, until the ledger takes them."""

from __future__ import annotations

import uuid

import pytest

from app.config.ledger import LedgerSettings
from app.directory.facts import AdminAction, Facts, parse_fact
from app.directory.keys import LEDGER, Keys
from app.directory.link import Link

BOUND = 1000


def ledger() -> LedgerSettings:
    return LedgerSettings(url="clickhouse://ledger@127.0.0.1:9000/scim", max_backlog=BOUND)


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex}"


def action(number: int) -> AdminAction:
    return AdminAction(
        id=str(number), action="lane.paused", actor="ana", subject="x", detail="{}", at_ms=number
    )


async def test_what_is_recorded_comes_back_in_order(link: Link, name: str) -> None:
    facts = Facts(link, ledger())
    await facts.record(name, [action(1), action(2)])
    await facts.record(name, [action(3)])
    entries = await link.redis.xrange(Keys(name).facts)
    assert [parse_fact(fields[b"fact"]) for _, fields in entries] == [action(n) for n in (1, 2, 3)]


async def test_without_a_ledger_nothing_is_kept(link: Link, name: str) -> None:
    facts = Facts(link, None)
    await facts.record(name, [action(1)])
    assert not facts.are_kept
    assert not await link.redis.exists(Keys(name).facts)


async def test_what_is_beyond_the_bound_is_counted_and_not_kept(link: Link, name: str) -> None:
    facts = Facts(link, ledger())
    await facts.record(name, [action(n) for n in range(BOUND + 5)])
    assert await link.redis.xlen(Keys(name).facts) == BOUND
    lane = Keys(name).lane("lane", LEDGER)
    assert int(await link.redis.hget(lane, "dropped") or 0) == 5  # type: ignore[misc]


@pytest.mark.parametrize("url", ["clickhouse://l@h:9000/scim", "clickhouse://l@h/scim"])
def test_a_url_has_its_parts(url: str) -> None:
    settings = LedgerSettings(url=url, secure=True)
    assert (settings.user, settings.database) == ("l", "scim")
    assert (settings.host.name, settings.host.port) == ("h", 9000)
