"""Writing the ledger: one lane a tenant, in blocks, each of them exactly once.

Before a block is sent, Redis is told where it ends. After a crash the next holder of the lane sends
the block up to the same end: the same rows with the same token, which ClickHouse drops if it has
them. So a worker, Redis and the ledger may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.clock import Clock
from app.config.ledger import LedgerSettings
from app.config.settings import Settings
from app.directory.events import Entry
from app.directory.facts import AdminAction, Fact, parse_fact
from app.directory.keys import KINDS
from app.directory.lanes import Held
from app.directory.link import Link
from app.directory.reader import Reader
from app.errors import DirectoryUnavailable, LeaseLost, TargetError
from app.rounds import Rounds
from workers.lease import Lease
from workers.ledger.progress import LedgerLane, Progress, backlogs, stated_at
from workers.ledger.rows import (
    EVENT_COLUMNS,
    TABLES,
    chain,
    columns,
    event,
    event_row,
    fact_row,
)
from workers.ledger.store import Store

BLOCK_EVENTS, BLOCK_FACTS = 2000, 5000
_PAGE = 200
_BLOCK_BYTES = 8 << 20
_SLICE_S = 5.0  # after so long a tenant gives way to others
_AT_ONCE = 4  # tenants
_TENANTS = 500  # in one pipeline
_ASKED_A_SECOND = 500  # tenants, besides the lively ones
_FIRST_S, _LONGEST_S = 0.25, 30.0
_RELEASE_S = 1.0
_UNUSED_S = 5.0  # between looks whether there is a ledger by now
_DAY_MS = 86_400_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Desk:
    """What the lanes of all tenants to one ledger share. There is a `[ledger]` in `settings`."""

    link: Link
    store: Store
    settings: Settings
    clock: Clock
    rng: random.Random


async def write_ledger(
    link: Link,
    current: Callable[[], Settings],
    lively: Callable[[], Collection[str]],
    clock: Clock,
    rng: random.Random,
    *,
    tenants: Callable[[], Sequence[str]],
) -> None:
    """Write what waits, tenant by tenant, until cancelled. `current`: the settings of the moment;
    without a ledger in them nothing is done. `tenants`: those of them that lie there. `lively`: the
    tenants to which something happens; of very many others each waits for its turn.
    """
    rounds = Rounds[str]()
    kept: LedgerSettings | None = None
    async with contextlib.AsyncExitStack() as opened:
        store: Store | None = None
        while True:
            settings = current()
            if settings.ledger != kept:
                await opened.aclose()
                kept = settings.ledger
                store = Store(kept) if kept is not None else None
                if store is not None:
                    opened.push_async_callback(store.close)
            if store is not None and kept is not None:
                most = max(1, round(_ASKED_A_SECOND * kept.flush_seconds))
                everybody = tenants()
                known = frozenset(everybody)
                here = [tenant for tenant in lively() if tenant in known]
                due = rounds.turn(everybody, here, most)
                await _write_due(Desk(link, store, settings, clock, rng), due)
            pause_s = kept.flush_seconds if kept is not None else _UNUSED_S
            await asyncio.sleep(pause_s * rng.uniform(0.75, 1.25))


async def _write_due(desk: Desk, tenants: Sequence[str]) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def drain(tenant: str) -> None:
        async with slots:
            await Writer(desk, tenant).drain()

    try:
        due = await _due(desk.link, tenants)
    except DirectoryUnavailable as error:
        log.warning("redis.awaited", error=str(error))
        return
    async with asyncio.TaskGroup() as tasks:
        for tenant in due:
            tasks.create_task(drain(tenant), name=f"ledger {tenant}")


async def _due(link: Link, tenants: Sequence[str]) -> list[str]:
    due = []
    for start in range(0, len(tenants), _TENANTS):
        found = await backlogs(link, tenants[start : start + _TENANTS])
        due += [tenant for tenant, backlog in found.items() if not backlog.is_empty]
    return due


class Writer:
    """One tenant's lane to the ledger, for as long as it takes to drain it once."""

    def __init__(self, desk: Desk, tenant: str) -> None:
        self._lane = LedgerLane(desk.link, tenant, desk.settings.tenants[tenant].targets)
        self._reader = Reader(desk.link, tenant)
        self._store, self._worker = desk.store, desk.settings.worker
        self._clock, self._rng = desk.clock, desk.rng
        self._days = desk.settings.ledger.events_days if desk.settings.ledger else 0

    async def drain(self) -> None:
        """Take the lane and write what waits. Raises nothing but CancelledError."""
        lane, sent_at = self._lane.store, self._clock.monotonic()
        try:
            held = await lane.acquire(round(self._worker.lease_seconds * 1000))
        except DirectoryUnavailable as error:
            self._tell("ledger.not_taken", error)
            return
        if held is None:
            return
        lease = Lease(
            lane, held.epoch, self._worker.lease_seconds, sent_at=sent_at, clock=self._clock
        )
        try:
            async with lease.kept():
                await self._write(lease)
            await lane.release(held.epoch)
        except LeaseLost as error:
            self._tell("ledger.left", error)
        except (TargetError, DirectoryUnavailable) as error:
            await self._back_off(held, error)
        except asyncio.CancelledError:
            with contextlib.suppress(DirectoryUnavailable, TimeoutError):
                async with asyncio.timeout(_RELEASE_S):
                    await lane.release(held.epoch)
            raise
        except Exception as error:
            # A bug of ours: the lane stays visible as backing off, the other tenants go on.
            log.exception("ledger.failed", tenant=self._lane.tenant)
            await self._back_off(held, error)

    async def _write(self, lease: Lease) -> None:
        started, progress = self._clock.monotonic(), await self._lane.progress()
        events = facts = 0
        while self._clock.monotonic() - started < _SLICE_S:
            progress, written = await self._write_events(lease, progress)
            progress, recorded = await self._write_facts(lease, progress)
            events, facts = events + written, facts + recorded
            if not written and not recorded and await self._is_told(lease, progress):
                break
            progress = await self._lane.progress()
        if events or facts:
            log.info(
                "ledger.written",
                tenant=self._lane.tenant,
                seq=progress.cursor,
                events=events,
                facts=facts,
                duration_s=round(self._clock.monotonic() - started, 4),
            )

    async def _note(self, lease: Lease, facts: str = "", **fields: str | int | None) -> None:
        lease.check()
        lease.require(await self._lane.note(lease.epoch, fields, facts=facts))

    async def _write_events(self, lease: Lease, progress: Progress) -> tuple[Progress, int]:
        entries = await self._block(progress)
        if not entries:
            return progress, 0
        rows = chain(progress.head, (event(self._lane.tenant, *entry) for entry in entries))
        first, last = rows[0].seq, rows[-1]
        if not progress.block:
            await self._note(lease, block=last.seq)
        lease.check()
        await self._store.insert(
            "events",
            EVENT_COLUMNS,
            [event_row(row) for row in rows],
            token=f"{self._lane.tenant}/{first}-{last.seq}",
        )
        # Whoever made these had no ledger to tell, or the log was trimmed without it: what is
        # there is told anew.
        is_whole = first == progress.cursor + 1 and all(b"asker" in fields for _, fields in entries)
        stated = progress.stated
        if is_whole and not progress.cursor and not stated:
            stated = stated_at(self._clock.now_ms())
        elif not is_whole:
            stated = ""
        await self._note(lease, cursor=last.seq, head=last.hash, block=None, stated=stated or None)
        return await self._lane.progress(), len(rows)

    async def _block(self, progress: Progress) -> list[Entry]:
        """Return the entries of the next block, or of the one that was perhaps sent already."""
        block: list[Entry] = []
        size, after, until = 0, progress.cursor, progress.block or None
        while until is not None or (len(block) < BLOCK_EVENTS and size < _BLOCK_BYTES):
            page = await self._lane.events(after, until, _PAGE)
            block += page
            size += sum(len(value) for _, fields in page for value in fields.values())
            if len(page) < _PAGE:
                break
            after = int(page[-1][0].partition(b"-")[0])
        return block

    async def _write_facts(self, lease: Lease, progress: Progress) -> tuple[Progress, int]:
        found = await self._lane.facts(progress.facts_block, BLOCK_FACTS)
        tables: defaultdict[type[Fact], list[tuple[Any, ...]]] = defaultdict(list)
        if found:
            first, last = found[0][0], found[-1][0]
            if not progress.facts_block:
                await self._note(lease, facts_block=last)
            for _, raw in found:
                fact = parse_fact(raw)
                tables[type(fact)].append(fact_row(self._lane.tenant, fact))
            for kind, rows in tables.items():
                lease.check()
                token = f"{self._lane.tenant}/{TABLES[kind]}/{first}-{last}"
                await self._store.insert(TABLES[kind], columns(kind), rows, token=token)
            await self._note(lease, facts=last, facts_block=None)
        elif progress.facts_block:  # written and trimmed, and then the answer was lost
            await self._note(lease, facts_block=None)
        if progress.dropped > progress.missed:
            await self._tell_of_missing(lease, progress)
        return await self._lane.progress(), len(found)

    async def _tell_of_missing(self, lease: Lease, progress: Progress) -> None:
        """Write a row that says how many facts were not kept while the ledger was down."""
        missing = AdminAction(
            id=f"missed/{progress.dropped}",
            action="facts.missed",
            actor="ledger",
            subject=self._lane.tenant,
            detail=f'{{"count": {progress.dropped - progress.missed}}}',
            at_ms=self._clock.now_ms(),
        )
        rows = [fact_row(self._lane.tenant, missing)]
        lease.check()
        await self._store.insert(
            "admin_actions", columns(AdminAction), rows, token=f"{self._lane.tenant}/{missing.id}"
        )
        await self._note(lease, missed=progress.dropped)

    async def _is_told(self, lease: Lease, progress: Progress) -> bool:
        """Tell the ledger of what was there before it, a part of it; True when that is done.

        Where events age out, everything is told again before half of that time is over.
        """
        if progress.stated_ms:
            age_ms = self._clock.now_ms() - progress.stated_ms
            if not self._days or age_ms < self._days * _DAY_MS / 2:
                return True
        kinds = list(KINDS)
        began = "" if progress.stated_ms else progress.stated
        name, _, seq = began.partition(":")
        kind = kinds[0] if not began else next(k for k in kinds if k == name)
        found = await self._reader.created_after(kind, int(seq or 0), _PAGE)
        for resource_id, _ in found:
            lease.check()
            await self._lane.state(kind, resource_id)
        if len(found) == _PAGE:
            reached = f"{kind}:{found[-1][1]}"
        elif kind != kinds[-1]:
            reached = f"{kinds[kinds.index(kind) + 1]}:0"
        else:
            reached = stated_at(self._clock.now_ms())
            log.info("ledger.told", tenant=self._lane.tenant)
        await self._note(lease, stated=reached)
        return False

    async def _back_off(self, held: Held, error: Exception) -> None:
        """Let the ledger be for a while: exponential, with full jitter. Nobody waits for it."""
        attempts = held.attempts + 1
        pause_s = self._rng.uniform(0.05, min(_LONGEST_S, _FIRST_S * 2 ** min(attempts, 16)))
        self._tell("ledger.backing_off", error, attempts=attempts, pause_s=round(pause_s, 2))
        text = f"{type(error).__name__}: {error}"[:1000]
        with contextlib.suppress(DirectoryUnavailable):
            await self._lane.store.report(held.epoch, text, round(pause_s * 1000), attempts)

    def _tell(self, name: str, error: Exception, **more: object) -> None:
        log.warning(name, tenant=self._lane.tenant, error=str(error)[:500], **more)
