"""Checking each tenant's chain, row by row, against what Redis says the last hash is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from app.cli.ledgers import require_ledger, told_plainly
from app.directory.shards import connect_all
from app.errors import DirectoryUnavailable
from workers.ledger.chain import Break, Verification
from workers.ledger.progress import LedgerLane, Progress
from workers.ledger.rows import EVENT_COLUMNS, parse_event
from workers.ledger.store import READ_S, Store

if TYPE_CHECKING:
    from app.config.ledger import LedgerSettings
    from app.config.settings import Settings

_MOST = 100  # problems that are told of one tenant


def verified(
    settings: Settings, tenants: Sequence[str], told: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Return a row for each tenant: whether its chain holds, and what is wrong with it.

    `told`: is told how many events have been checked.
    """
    ledger = require_ledger(settings)
    with told_plainly(ledger):
        return asyncio.run(_verified(settings, ledger, tenants, told))


async def _verified(
    settings: Settings,
    ledger: LedgerSettings,
    tenants: Sequence[str],
    told: Callable[[int], None],
) -> list[dict[str, Any]]:
    store = Store(ledger, seconds=READ_S)
    try:
        heads = await _heads(settings, tenants)
        rows: list[dict[str, Any]] = []
        for tenant in tenants:
            before = sum(row["events"] for row in rows)
            done = partial(_add, told, before)
            rows.append(await _one(store, ledger, tenant, heads.get(tenant), done))
        return rows
    finally:
        await store.close()


def _add(told: Callable[[int], None], before: int, count: int) -> None:
    told(before + count)


async def _heads(settings: Settings, tenants: Sequence[str]) -> dict[str, Progress]:
    """Return how far Redis says each ledger is, before the ledger is read: it may only grow."""
    shards = connect_all(settings.redis)
    try:
        return {t: await LedgerLane(shards.of(t), t, ()).progress() for t in tenants}
    except DirectoryUnavailable as error:
        click.echo(f"the last hash is not compared: {error}", err=True)
        return {}
    finally:
        await shards.close()


async def _one(
    store: Store,
    ledger: LedgerSettings,
    tenant: str,
    head: Progress | None,
    told: Callable[[int], None],
) -> dict[str, Any]:
    verification, problems = Verification(aged=ledger.events_days > 0), list[Break]()
    hash_there = ""
    async for page in store.events(tenant, EVENT_COLUMNS):
        events = [parse_event(row) for row in page]
        problems += verification.check(events)
        told(verification.checked)
        if head is not None:
            hash_there = next((e.hash for e in events if e.seq == head.cursor), hash_there)
    if head is not None and head.cursor:
        if verification.seq < head.cursor:
            reason = f"the last events are missing: Redis knows of {head.cursor}"
            problems.append(Break(verification.seq + 1, reason))
        elif hash_there != head.head:
            reason = "it has another hash than Redis remembers"
            problems.append(Break(head.cursor, reason))
    return {
        "tenant": tenant,
        "ok": not problems,
        "first_seq": verification.first,
        "last_seq": verification.seq,
        "events": verification.checked,
        "erased": verification.erased,
        "hash": verification.hash,
        "problems": [{"seq": one.seq, "reason": one.reason} for one in problems[:_MOST]],
    }
